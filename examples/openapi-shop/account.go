package main

import (
	"context"

	"github.com/heddle-go/heddle/webv4"
)

type (
	getToken struct {
		_        struct{} `route:"POST /token" quota:"ip=600/h" replies:"200,401" id:"getToken" tags:"account" summary:"Sign in" doc:"Answers with an access token for an hour."`
		Name     string   `form:"name" required:"true" maxLength:"50" example:"ada"`
		Password string   `form:"password" required:"true" maxLength:"100" example:"lovelace"`
	}
	token struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in" doc:"in seconds"`
	}
	me struct {
		_ struct{} `route:"GET /me" auth:"user" id:"me" tags:"account" summary:"Who calls"`
	}
	caller struct {
		ID     string   `json:"id"`
		App    string   `json:"app"`
		Scopes []string `json:"scopes"`
		IP     string   `json:"ip"`
	}
	rateLimits struct {
		_ struct{} `route:"GET /account/rate_limit_status" auth:"user" quota:"none" id:"rateLimitStatus" tags:"account" summary:"How often the caller may still call" doc:"Costs nothing."`
	}
)

func (s *shop) account(v1 *webv4.API) {
	webv4.Handle(v1, func(ctx context.Context, in *getToken) (*token, error) {
		p, err := signIn(ctx, in.Name, in.Password)
		if err != nil {
			return nil, err
		}
		text, err := s.tokens.issue(p)
		return &token{text, "Bearer", int(tokenLife.Seconds())}, err
	})
	webv4.Handle(v1, func(ctx context.Context, _ *me) (*caller, error) {
		p, _ := webv4.PrincipalFrom(ctx)
		return &caller{p.ID, p.App, p.Scopes, webv4.ClientIP(ctx)}, nil
	})
	webv4.Handle(v1, func(ctx context.Context, _ *rateLimits) (*webv4.RateLimitStatus, error) {
		return s.api.RateLimitStatus(ctx)
	})
}

type platformShow struct {
	_  struct{} `route:"GET /products/show.json" select:"fields" replies:"200,404" id:"platformShow" tags:"platform" summary:"One product" doc:"With .xml instead of .json it answers in XML. Errors are the platform's: request, error_code and error."`
	ID int64    `query:"id" required:"true" min:"1" example:"1"`
}

// platform registers what is in the style of the platform's interface 2.
func (s *shop) platform(v2 *webv4.API) {
	webv4.Handle(v2, func(_ context.Context, in *platformShow) (*product, error) {
		p, err := s.store.get(in.ID)
		return &p, failure(err)
	})
}
