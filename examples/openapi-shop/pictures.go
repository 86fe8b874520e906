package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

type (
	putPicture struct {
		_    struct{}    `route:"POST /products/:id/picture" auth:"user" scopes:"products:write" quota:"user=60/h" replies:"200,404,409" id:"putPicture" tags:"pictures" summary:"Give a product its picture" doc:"A PNG, JPEG, GIF or WebP of up to 512 KiB. For Grace."`
		ID   int64       `path:"id" min:"1" example:"1"`
		File *webv4.File `file:"picture" required:"true" maxSize:"512KiB"`
	}
	pictureInfo struct {
		Type string `json:"type"`
		Size int    `json:"size"`
		ETag string `json:"etag"`
	}
	getPicture struct {
		_  struct{} `route:"GET /products/:id/picture" replies:"200,206,304,404,412,416" id:"getPicture" tags:"pictures" summary:"A product's picture" doc:"Whole, or in ranges."`
		ID int64    `path:"id" min:"1" example:"1"`
	}
)

func (s *shop) pictures(v1 *webv4.API) {
	webv4.Handle(v1, func(_ context.Context, in *putPicture) (*pictureInfo, error) {
		data, err := io.ReadAll(in.File)
		if err != nil {
			return nil, err
		}
		// By what it is, not by what its name or its sender says.
		kind := http.DetectContentType(data)
		if !strings.HasPrefix(kind, "image/") {
			return nil, webv4.Errorf(codePicture, "")
		}
		sum := sha256.Sum256(data)
		p := &picture{kind: kind, etag: fmt.Sprintf(`"%x"`, sum[:8]), data: data, at: time.Now()}
		if err := s.store.setPicture(in.ID, p); err != nil {
			return nil, failure(err)
		}
		return &pictureInfo{p.kind, len(data), p.etag}, nil
	})
	webv4.Handle(v1, func(_ context.Context, in *getPicture) (*webv4.Content, error) {
		p, err := s.store.picture(in.ID)
		if err != nil {
			return nil, failure(err)
		}
		return &webv4.Content{Type: p.kind, Modified: p.at, ETag: p.etag, Data: bytes.NewReader(p.data)}, nil
	})
}
