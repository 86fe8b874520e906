package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/heddle-go/heddle/objstore"
	"github.com/heddle-go/heddle/objstore/hbasestore"
	"github.com/heddle-go/heddle/objstore/s3content"
	"github.com/heddle-go/heddle/ssdcache"
)

// The values of the three types. What they share is standard metadata.
type (
	video   struct{}
	picture struct {
		Format string `json:"format"`
	}
	article struct {
		Words int `json:"words"`
	}
)

const (
	articleType = 1022
	videoType   = 1034
	pictureType = 1042

	// content is the name of an object's only content.
	content = "original"
	// urlTTL is how long an address in S3 is valid.
	urlTTL = time.Hour
)

// library is the three collections in one library.
type library struct {
	*objstore.Library
	cache    *ssdcache.Cache   // nil with a store
	hbase    *hbasestore.Store // nil without -hbase
	videos   *objstore.Collection[video]
	pictures *objstore.Collection[picture]
	articles *objstore.Collection[article]
	signed   bool   // contents have addresses of their own
	origin   string // of the page
}

// cacheSize is the disk for records that were read, in bytes.
const cacheSize = 64 << 20

// engines are where a library keeps what it does not keep in its directory.
type engines struct {
	s3    string // the URL of a bucket, for contents
	hbase string // gateways, separated by commas, for metadata
	table string // of HBase; empty means the default
}

func open(ctx context.Context, dir string, e engines) (_ *library, err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	l := &library{signed: e.s3 != ""}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	opts := &objstore.Options{Dedupe: true}
	if e.s3 != "" {
		if opts.Content, err = openBucket(ctx, e.s3); err != nil {
			return nil, err
		}
	}
	if e.hbase != "" {
		// Others may use the table, too, so that nothing is cached here.
		l.hbase, err = hbasestore.Open(ctx, strings.Split(e.hbase, ","), &hbasestore.Options{Table: e.table})
		if err != nil {
			return nil, err
		}
		opts.Store = l.hbase
	} else {
		if l.cache, err = ssdcache.Open(filepath.Join(dir, "cache"), cacheSize, nil); err != nil {
			return nil, err
		}
		opts.Cache = l.cache
	}
	if l.Library, err = objstore.Open(dir, opts); err != nil {
		return nil, err
	}
	return l, l.declare()
}

// Close closes the library, and then what is below it.
func (l *library) Close() (err error) {
	if l.Library != nil {
		err = l.Library.Close()
	}
	if l.cache != nil {
		err = errors.Join(err, l.cache.Close())
	}
	if l.hbase != nil {
		err = errors.Join(err, l.hbase.Close())
	}
	return err
}

func (l *library) declare() error {
	required := []string{"display_name", "contents"}
	var errs [3]error
	l.videos, errs[0] = objstore.NewCollection(l.Library, objstore.Type[video]{Number: videoType, Name: "video", Required: required})
	l.pictures, errs[1] = objstore.NewCollection(l.Library, objstore.Type[picture]{
		Number: pictureType, Name: "image", Required: append(required, "image"),
		Indexes: []objstore.Index[picture]{{Name: "format", Keys: func(p *objstore.Object[picture]) []string { return []string{p.Value.Format} }}},
	})
	l.articles, errs[2] = objstore.NewCollection(l.Library, objstore.Type[article]{
		Number: articleType, Name: "article", Codec: objstore.Msgpack{}, Required: append(required, "summary"), History: 10,
	})
	return errors.Join(errs[:]...)
}

// openBucket connects to a bucket, making it if there is none.
func openBucket(ctx context.Context, addr string) (*s3content.Bucket, error) {
	u, err := url.Parse(addr)
	if err != nil || u.Host == "" || u.User == nil || strings.Trim(u.Path, "/") == "" {
		return nil, errors.New("-s3 wants http://KEY:SECRET@HOST:PORT/BUCKET")
	}
	secret, _ := u.User.Password()
	client, err := minio.New(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(u.User.Username(), secret, ""), Secure: u.Scheme == "https",
	})
	if err != nil {
		return nil, err
	}
	name := strings.Trim(u.Path, "/")
	switch found, err := client.BucketExists(ctx, name); {
	case err != nil:
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	case !found:
		if err := client.MakeBucket(ctx, name, minio.MakeBucketOptions{}); err != nil {
			return nil, fmt.Errorf("bucket %s: %w", name, err)
		}
	}
	return s3content.New(client, name, &s3content.Options{Prefix: "objects/"})
}

// meta finds an object by its id, of whatever type.
func (l *library) meta(ctx context.Context, id objstore.ID) (*objstore.Meta, any, error) {
	switch id.Type {
	case videoType:
		return metaOf(l.videos.Get(ctx, id))
	case pictureType:
		return metaOf(l.pictures.Get(ctx, id))
	case articleType:
		return metaOf(l.articles.Get(ctx, id))
	}
	return nil, nil, fmt.Errorf("%w: no such type: %v", objstore.ErrNotFound, id)
}

func metaOf[T any](obj *objstore.Object[T], err error) (*objstore.Meta, any, error) {
	if err != nil {
		return nil, nil, err
	}
	return &obj.Meta, obj, nil
}

// find finds an object by the text of its id or by its short id, which does not
// say the type: numbers are unique across types.
func (l *library) find(ctx context.Context, text string) (*objstore.Meta, any, error) {
	if strings.Contains(text, ":") {
		id, err := objstore.ParseID(text)
		if err != nil {
			return nil, nil, err
		}
		return l.meta(ctx, id)
	}
	n, err := objstore.ParseShort(text)
	if err != nil {
		return nil, nil, err
	}
	for _, typ := range []uint32{pictureType, videoType, articleType} {
		meta, obj, err := l.meta(ctx, objstore.ID{Type: typ, Number: n})
		if !errors.Is(err, objstore.ErrNotFound) {
			return meta, obj, err
		}
	}
	return nil, nil, fmt.Errorf("%w: %s", objstore.ErrNotFound, text)
}

// address is where an object's content can be had: in the bucket, or from the page.
func (l *library) address(ctx context.Context, meta *objstore.Meta) (string, error) {
	if l.signed {
		return l.ContentURL(ctx, meta.Content(content), urlTTL)
	}
	return l.origin + "/content/" + meta.ID.String(), nil
}
