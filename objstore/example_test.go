package objstore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/heddle-go/heddle/objstore"
)

type Picture struct {
	Width, Height int
}

// dir is a place for an example's library.
func dir() (name string, remove func()) {
	tmp, err := os.MkdirTemp("", "objstore")
	if err != nil {
		log.Fatal(err)
	}
	return filepath.Join(tmp, "lib"), func() { os.RemoveAll(tmp) }
}

func Example() {
	dir, remove := dir()
	defer remove()
	ctx := context.Background()

	lib, _ := objstore.Open(dir, nil)
	defer lib.Close()
	pictures, _ := objstore.NewCollection(lib, objstore.Type[Picture]{Number: 1042, Name: "image"})
	upload, _ := pictures.Upload(ctx, "original", strings.NewReader("GIF89a…"), &objstore.UploadOptions{Type: "image/gif"})
	picture := &objstore.Object[Picture]{Value: Picture{Width: 640, Height: 480}}
	picture.DisplayName, picture.Contents = "A loom", []objstore.ContentInfo{upload}
	err := pictures.Create(ctx, picture) // durable, with its content
	again, _ := pictures.Get(ctx, picture.ID)
	fmt.Println(again.DisplayName, again.Value, again.Contents[0].Size, err)
	// Output: A loom {640 480} 9 <nil>
}

func ExampleCollection_Update() {
	dir, remove := dir()
	defer remove()
	ctx := context.Background()
	lib, err := objstore.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer lib.Close()
	pictures, err := objstore.NewCollection(lib, objstore.Type[Picture]{Number: 1042, Name: "image"})
	if err != nil {
		log.Fatal(err)
	}

	picture := &objstore.Object[Picture]{}
	if err := pictures.Create(ctx, picture); err != nil {
		log.Fatal(err)
	}
	stale := *picture
	picture.Value.Width = 800
	fmt.Println(pictures.Update(ctx, picture), picture.Version)
	stale.Value.Width = 1024
	err = pictures.Update(ctx, &stale)
	fmt.Println(strings.HasPrefix(err.Error(), "objstore: version conflict: it has version 2, not 1: image 1042:"))
	// Output:
	// <nil> 2
	// true
}

func ExampleLibrary_OpenContent() {
	dir, remove := dir()
	defer remove()
	ctx := context.Background()
	lib, err := objstore.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer lib.Close()
	articles, err := objstore.NewCollection(lib, objstore.Type[[]byte]{Number: 1022, Name: "article"})
	if err != nil {
		log.Fatal(err)
	}
	text, err := articles.Upload(ctx, "text", strings.NewReader("Over and under."), nil)
	if err != nil {
		log.Fatal(err)
	}
	article := &objstore.Object[[]byte]{Meta: objstore.Meta{Contents: []objstore.ContentInfo{text}}}
	if err := articles.Create(ctx, article); err != nil {
		log.Fatal(err)
	}

	r, err := lib.OpenContent(ctx, article.Content("text"))
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Seek(-6, io.SeekEnd); err != nil {
		log.Fatal(err)
	}
	b, err := io.ReadAll(r)
	fmt.Printf("%s %v\n", b, err)
	// Output: under. <nil>
}

func ExampleObject_json() {
	obj := objstore.Object[Picture]{Value: Picture{Width: 640, Height: 480}}
	obj.ID = objstore.ID{Type: 1042, Number: 4404101091169383}
	obj.Type, obj.Version = "image", 1
	obj.DisplayName, obj.Tags = "A loom", []string{"weaving"}
	obj.Author = &objstore.Person{ID: "1642088277", DisplayName: "Ada"}
	b, err := json.MarshalIndent(obj, "", "  ")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(b))
	// Output:
	// {
	//   "id": "1042:4404101091169383",
	//   "object_type": "image",
	//   "version": 1,
	//   "state": "active",
	//   "display_name": "A loom",
	//   "author": {
	//     "id": "1642088277",
	//     "display_name": "Ada"
	//   },
	//   "tags": [
	//     "weaving"
	//   ],
	//   "value": {
	//     "Width": 640,
	//     "Height": 480
	//   }
	// }
}

func ExampleCollection_Find() {
	dir, remove := dir()
	defer remove()
	ctx := context.Background()
	lib, err := objstore.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer lib.Close()
	pictures, err := objstore.NewCollection(lib, objstore.Type[Picture]{
		Number: 1042, Name: "image",
		Indexes: []objstore.Index[Picture]{
			{Name: "tags"},
			{Name: "width", Keys: func(p *objstore.Object[Picture]) []string {
				return []string{objstore.SortKey(int64(p.Value.Width))}
			}},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	for width, tag := range map[int]string{640: "loom", 800: "loom", 1024: "shuttle"} {
		picture := &objstore.Object[Picture]{Value: Picture{Width: width}}
		picture.Tags = []string{tag}
		if err := pictures.Create(ctx, picture); err != nil {
			log.Fatal(err)
		}
	}

	looms := 0
	for _, err := range pictures.Find(ctx, "tags", "loom", nil) {
		if err != nil {
			log.Fatal(err)
		}
		looms++
	}
	fmt.Println(looms, "looms")
	for picture, err := range pictures.FindRange(ctx, "width", objstore.SortKey(700), "", nil) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(picture.Value.Width, picture.Tags)
	}
	// Output:
	// 2 looms
	// 800 [loom]
	// 1024 [shuttle]
}

func ExampleType_upgrade() {
	dir, remove := dir()
	defer remove()
	ctx := context.Background()
	lib, err := objstore.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer lib.Close()

	// What the program was like before: sizes were text, in MessagePack.
	type old struct{ Size string }
	before, err := objstore.NewCollection(lib, objstore.Type[old]{Number: 1042, Name: "image", Codec: objstore.Msgpack{}})
	if err != nil {
		log.Fatal(err)
	}
	picture := &objstore.Object[old]{Value: old{Size: "640x480"}}
	if err := before.Create(ctx, picture); err != nil {
		log.Fatal(err)
	}

	now, err := objstore.NewCollection(lib, objstore.Type[Picture]{
		Number: 1042, Name: "image", Schema: 1,
		Upgrade: func(schema uint32, codec objstore.Codec, data []byte, p *Picture) error {
			var was old
			if err := codec.Decode(data, &was); err != nil {
				return err
			}
			_, err := fmt.Sscanf(was.Size, "%dx%d", &p.Width, &p.Height)
			return err
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	again, err := now.Get(ctx, picture.ID)
	fmt.Println(again.Value, err)
	// Output: {640 480} <nil>
}
