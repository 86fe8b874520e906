package feed

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/objstore"
)

// mediaType is the type number of uploads: with it a status' own number makes
// the object's id, so that the web tier can tell from an id which node has it.
const mediaType = 1042

// original is the name of an upload's only content.
const original = "original"

// media is what an upload has besides the standard metadata.
type media struct {
	UID int64 `json:"uid"`
}

func openMedia(lib *objstore.Library) (*objstore.Collection[media], error) {
	return objstore.NewCollection(lib, objstore.Type[media]{Number: mediaType, Name: "image"})
}

// keep stores an upload and returns its object id once it is durable.
func (s *service) keep(ctx context.Context, st *Status, up *Upload) (string, error) {
	content, err := s.media.Upload(ctx, original, bytes.NewReader(up.Data), &objstore.UploadOptions{Type: up.Type})
	if err != nil {
		return "", err
	}
	obj := &objstore.Object[media]{Value: media{UID: st.UID}}
	obj.ID = objstore.ID{Type: mediaType, Number: st.ID}
	obj.DisplayName = up.Name
	obj.Contents = []objstore.ContentInfo{content}
	if err := s.media.Create(ctx, obj); err != nil {
		return "", err
	}
	return obj.ID.String(), nil
}

// fetch returns an upload of this node.
func (s *service) fetch(ctx context.Context, q *mediaRequest) (*Upload, error) {
	missing := &motan.Error{Code: codeNoSuchMedia, Type: motan.Business, Message: "no such media object"}
	id, err := objstore.ParseID(q.ID)
	if err != nil || id.Type != mediaType {
		return nil, missing
	}
	obj, err := s.media.Get(ctx, id)
	if errors.Is(err, objstore.ErrNotFound) {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	info := obj.Content(original)
	if info == nil || info.Size > maxMedia {
		return nil, missing
	}
	r, err := s.objects.OpenContent(ctx, info)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return &Upload{Name: obj.DisplayName, Type: info.Type, Data: data}, nil
}
