// Objects is a small library of videos, images and articles.
//
//	go run ./examples/objects picture.jpg film.mp4 notes.txt
//
// stores the files, or without any a picture and an article that it makes up,
// prints each object's JSON and the address of its content, reads it back by its
// id and by its short id, and shows everything on a page until Ctrl-C. -h lists
// the flags; -s3 keeps the contents in a bucket, -hbase the metadata in HBase.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program; it returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("objects", flag.ContinueOnError)
	fs.SetOutput(stderr)
	data := fs.String("data", "", "`directory` of the library; default: a fresh temporary one, removed at the end")
	addr := fs.String("addr", "127.0.0.1:0", "`address` of the page")
	s3 := fs.String("s3", "", "keep contents in S3: `http://KEY:SECRET@HOST:PORT/BUCKET`")
	hbase := fs.String("hbase", "", "keep metadata in HBase, through Thrift2 gateways: `HOST:PORT,…`")
	table := fs.String("table", "", "`table` of HBase; default: objstore")
	once := fs.Bool("once", false, "end when the files are stored and read back")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if err := serve(ctx, *data, *addr, engines{*s3, *hbase, *table}, *once, fs.Args(), stdout); err != nil {
		fmt.Fprintln(stderr, "objects:", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, data, addr string, e engines, once bool, files []string, out io.Writer) (err error) {
	if data == "" {
		tmp, err := os.MkdirTemp("", "objects")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		data = filepath.Join(tmp, "library")
	}
	lib, err := open(ctx, data, e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lib.Close()) }()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer ln.Close()
	lib.origin = "http://" + ln.Addr().String()

	if len(files) == 0 {
		err = lib.storeSamples(ctx, out)
	}
	for _, name := range files {
		err = errors.Join(err, lib.storeFile(ctx, name, out))
	}
	if err != nil || once {
		return err
	}
	srv := &http.Server{Handler: lib.pages(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	fmt.Fprintf(out, "\nlibrary in %s, page at %s/ until Ctrl-C\n", data, lib.origin)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return srv.Shutdown(ctx)
}
