package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/heddle-go/heddle/webv4"
)

type (
	listProducts struct {
		_        struct{} `route:"GET /products" class:"low" degrade:"products=trim,stale:10m,shed" select:"fields" trim:"brief" etag:"true" id:"listProducts" tags:"products" summary:"What there is to buy" doc:"A page of products. Degraded it leaves out what is not needed, then answers as it did last, then not at all."`
		Text     string   `query:"q" maxLength:"100" doc:"only those whose name has this in it" example:"loom"`
		Category string   `query:"category" enum:"looms,tools,yarn"`
		Count    int      `query:"count" default:"20" min:"1" max:"100"`
		Cursor   string   `query:"cursor" maxLength:"4096" doc:"next_cursor of the page before"`
	}
	productPage struct {
		Products   []product `json:"products"`
		NextCursor string    `json:"next_cursor" doc:"empty on the last page"`
	}
	showProduct struct {
		_  struct{} `route:"GET /products/:id" degrade:"products=trim,stale:10m" select:"fields" trim:"brief" cache:"30s" etag:"true" replies:"200,404" id:"showProduct" tags:"products" summary:"One product"`
		ID int64    `path:"id" min:"1" example:"1"`
	}
	addProduct struct {
		_    struct{} `route:"POST /products" auth:"user" scopes:"products:write" idempotent:"24h" quota:"user=600/h" replies:"201,409,422" id:"addProduct" tags:"products" summary:"Add a product" doc:"For Grace."`
		Body struct {
			Name     string `json:"name" required:"true" minLength:"1" maxLength:"100" example:"bobbin"`
			Category string `json:"category" required:"true" enum:"looms,tools,yarn" example:"tools"`
			Price    int    `json:"price" required:"true" min:"1" max:"100000000" doc:"in cents" example:"350"`
			Stock    int    `json:"stock" min:"0" max:"1000000" example:"40"`
			Note     string `json:"note" maxLength:"1000"`
		} `body:"" required:"true"`
	}
	changeProduct struct {
		_    struct{} `route:"PATCH /products/:id" auth:"user" scopes:"products:write" quota:"user=600/h" replies:"200,404" id:"changeProduct" tags:"products" summary:"Change a product" doc:"What is absent stays as it is; a note that is null goes away."`
		ID   int64    `path:"id" min:"1" example:"1"`
		Body struct {
			Price webv4.Opt[int]    `json:"price" min:"1" max:"100000000" doc:"in cents"`
			Stock webv4.Opt[int]    `json:"stock" min:"0" max:"1000000"`
			Note  webv4.Opt[string] `json:"note" maxLength:"1000"`
		} `body:"" required:"true"`
	}
	removeProduct struct {
		_  struct{} `route:"DELETE /products/:id" auth:"user" scopes:"products:write" quota:"user=600/h" replies:"204,404" id:"removeProduct" tags:"products" summary:"Remove a product"`
		ID int64    `path:"id" min:"1"`
	}
	recommend struct {
		_  struct{} `route:"GET /recommendations" class:"low" degrade:"recommendations=fallback" breaker:"50%/10s" timeout:"1s" id:"recommend" tags:"products" summary:"What others buy" doc:"Degraded it recommends what is always right."`
		ID int64    `query:"to" min:"0" doc:"a product to start from" example:"1"`
	}
	recommendation struct {
		Products []product `json:"products"`
		Why      string    `json:"why"`
	}
)

func (s *shop) products(v1 *webv4.API) {
	webv4.Handle(v1, s.listProducts)
	webv4.Handle(v1, func(_ context.Context, in *showProduct) (*product, error) {
		p, err := s.store.get(in.ID)
		return &p, failure(err)
	})
	webv4.Handle(v1, s.addProduct)
	webv4.Handle(v1, s.changeProduct)
	webv4.Handle(v1, func(ctx context.Context, in *removeProduct) (*none, error) {
		if err := s.store.remove(in.ID); err != nil {
			return nil, failure(err)
		}
		webv4.SetStatus(ctx, http.StatusNoContent)
		return nil, nil
	})
	webv4.Handle(v1, func(_ context.Context, in *recommend) (*recommendation, error) {
		list, _ := s.store.list(in.ID, 3, "", "")
		return &recommendation{list, "what comes next"}, nil
	})
	webv4.Fallback(v1, func(context.Context, *recommend) (*recommendation, error) {
		list, _ := s.store.list(0, 1, "tools", "")
		return &recommendation{list, "always right"}, nil
	})
}

func (s *shop) listProducts(ctx context.Context, in *listProducts) (*productPage, error) {
	var after int64
	if err := s.cursors.Decode(ctx, in.Cursor, &after); err != nil {
		return nil, err
	}
	list, more := s.store.list(after, in.Count, in.Category, in.Text)
	page := &productPage{Products: list}
	if more {
		var err error
		if page.NextCursor, err = s.cursors.Encode(ctx, list[len(list)-1].ID); err != nil {
			return nil, err
		}
	}
	return page, nil
}

func (s *shop) addProduct(ctx context.Context, in *addProduct) (*product, error) {
	b := &in.Body
	p := product{Name: b.Name, Category: b.Category, Price: b.Price, Stock: b.Stock}
	if b.Note != "" {
		p.Note = &b.Note
	}
	p, err := s.store.add(p)
	if err != nil {
		return nil, failure(err)
	}
	webv4.SetStatus(ctx, http.StatusCreated)
	webv4.Header(ctx).Set("Location", fmt.Sprintf("/v1/products/%d", p.ID))
	return &p, nil
}

func (s *shop) changeProduct(_ context.Context, in *changeProduct) (*product, error) {
	b := &in.Body
	p, err := s.store.change(in.ID, func(p *product) {
		p.Price, p.Stock = b.Price.Or(p.Price), b.Stock.Or(p.Stock)
		if b.Note.Set {
			p.Note = nil
			if !b.Note.Null {
				p.Note = &b.Note.Value
			}
		}
	})
	return &p, failure(err)
}
