package ssdcache_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/heddle-go/heddle/ssdcache"
)

type user struct{ Name string }

// loadUser stands for a query to the database.
func loadUser(_ context.Context, id string) (user, error) {
	if id != "7" {
		return user{}, ssdcache.ErrNotFound
	}
	fmt.Println("one query")
	return user{Name: "Ann"}, nil
}

func Example() {
	dir, _ := os.MkdirTemp("", "ssdcache")
	defer os.RemoveAll(dir)
	cache, err := ssdcache.Open(filepath.Join(dir, "cache"), 64<<20, nil) // 64 MiB of disk
	if err != nil {
		panic(err)
	}
	defer cache.Close()
	users, _ := ssdcache.NewTiered(cache, loadUser, &ssdcache.TieredOptions{Name: "users", TTL: time.Hour})
	for range 3 {
		fmt.Println(users.Get(context.Background(), "7")) // memory, then SSD, then loadUser
	}
	// Output:
	// one query
	// {Ann} <nil>
	// {Ann} <nil>
	// {Ann} <nil>
}

// After the value has changed in the database, Invalidate it: a load that is
// still under way with the old value then leaves nothing behind.
func ExampleTiered_Invalidate() {
	cache, clean := temporary()
	defer clean()
	name := "Ann"
	names, _ := ssdcache.NewTiered(cache, func(context.Context, string) (string, error) { return name, nil }, nil)
	ctx := context.Background()
	fmt.Println(names.Get(ctx, "7"))
	name = "Anna"
	fmt.Println(names.Get(ctx, "7"))
	_ = names.Invalidate(ctx, "7")
	fmt.Println(names.Get(ctx, "7"))
	// Output:
	// Ann <nil>
	// Ann <nil>
	// Anna <nil>
}

// The cache by itself maps bytes to bytes.
func ExampleCache() {
	cache, clean := temporary()
	defer clean()
	_ = cache.Set([]byte("greeting"), []byte("hello"), time.Minute)
	value, err := cache.Get(nil, []byte("greeting"))
	fmt.Printf("%s %v\n", value, err)
	_ = cache.Delete([]byte("greeting"))
	_, err = cache.Get(nil, []byte("greeting"))
	fmt.Println(errors.Is(err, ssdcache.ErrNotFound))
	// Output:
	// hello <nil>
	// true
}

// What is in no tier is loaded with one call.
func ExampleTiered_GetMany() {
	cache, clean := temporary()
	defer clean()
	users, _ := ssdcache.NewTiered(cache, loadUser, nil)
	found, err := users.GetMany(context.Background(), []string{"7", "8", "9"},
		func(_ context.Context, ids []string) (map[string]user, error) {
			fmt.Println("SELECT … WHERE id IN", ids)
			return map[string]user{"7": {"Ann"}, "8": {"Bob"}}, nil
		})
	fmt.Println(found, err)
	// Output:
	// SELECT … WHERE id IN [7 8 9]
	// map[7:{Ann} 8:{Bob}] <nil>
}

// Keys that do not exist are answered without asking anybody.
func ExampleKeyFilter() {
	cache, clean := temporary()
	defer clean()
	known := ssdcache.NewKeyFilter(1000)
	known.Add("7") // at the start for every row, later before each INSERT
	users, _ := ssdcache.NewTiered(cache, loadUser, &ssdcache.TieredOptions{Keys: known})
	fmt.Println(users.Get(context.Background(), "7"))
	fmt.Println(users.Get(context.Background(), "made up"))
	// Output:
	// one query
	// {Ann} <nil>
	// {} ssdcache: not found
}

func temporary() (cache *ssdcache.Cache, clean func()) {
	dir, err := os.MkdirTemp("", "ssdcache")
	if err != nil {
		panic(err)
	}
	if cache, err = ssdcache.Open(filepath.Join(dir, "cache"), 64<<20, nil); err != nil {
		panic(err)
	}
	return cache, func() {
		_ = cache.Close()
		_ = os.RemoveAll(dir)
	}
}
