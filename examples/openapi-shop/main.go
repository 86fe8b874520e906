// Openapi-shop is a small shop's interface with everything that package webv4
// has: every way to know who calls, quotas, degradation step by step, overload
// protection, uploads and downloads, server-sent events, pages, batches,
// idempotency keys and both kinds of errors. It keeps all in memory.
//
//	go run ./examples/openapi-shop
//
// and http://127.0.0.1:8080/docs is a page from which a person tries it, made
// from the same declarations. http://127.0.0.1:8081/ degrades it. -h lists the
// flags; with -tls it serves HTTPS and knows client certificates. Ctrl-C finishes what is
// under way, a second one ends at once; wrong flags exit with 2, all else that fails with 1.
//
// # Looking around
//
//	curl -s 'localhost:8080/v1/products?count=2&fields=products.id,products.name,next_cursor'
//	curl -s localhost:8080/v1/products/1 -H 'Accept: application/xml'
//	curl -si 'localhost:8080/v1/products/1?brief=true'       # may be kept for 30 s
//	curl -si localhost:8080/v1/products/1 -H 'If-None-Match: "…the Etag of the reply before…"'
//	curl -s 'localhost:8080/2/products/show.json?id=99'      # the platform's errors
//	curl -s 'localhost:8080/2/products/show.xml?id=1'
//
// # Who calls
//
// Ada (password lovelace) buys, Grace (password hopper) runs the shop.
//
//	curl -s -d name=grace -d password=hopper localhost:8080/v1/token
//	curl -s localhost:8080/v1/me -H "Authorization: Bearer $TOKEN"
//	curl -s localhost:8080/v1/me -u ada:lovelace
//	curl -s localhost:8080/v1/me -H 'X-Api-Key: demo-key'
//	go run ./examples/openapi-shop -sign 'GET http://localhost:8080/v1/me'  # prints the header
//	go run ./examples/openapi-shop -tls .  # in the other's place; writes what follows reads
//	curl -s --cacert ca.pem --cert client.pem --key client-key.pem https://localhost:8080/v1/me
//
// # Buying and running it
//
//	curl -s -u ada:lovelace localhost:8080/v1/orders -H 'Idempotency-Key: 1' \
//	  -H 'Content-Type: application/json' -d '{"product":1,"quantity":2}'
//	curl -sN -u ada:lovelace localhost:8080/v1/orders/events
//	curl -s -u grace:hopper -F picture=@loom.png localhost:8080/v1/products/1/picture
//	curl -s -r 0-99 localhost:8080/v1/products/1/picture
//	curl -s -u grace:hopper -X PATCH localhost:8080/v1/products/1 \
//	  -H 'Content-Type: application/json' -d '{"price":1250,"note":null}'
//	curl -s -u ada:lovelace localhost:8080/v1/account/rate_limit_status
//
// # Degrading it
//
// On the page at :8081, or by its JSON: products can be trimmed, stale or shed,
// recommendations answer with a fallback, orders can be switched off.
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
	"syscall"
	"time"

	"github.com/heddle-go/heddle/webv4"
	"github.com/heddle-go/heddle/webv4/admin"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals) // before anybody hears of it: a second one ends the process
		cancel()
	}()
	os.Exit(status(run(ctx, os.Args[1:], os.Stdout, os.Stderr), os.Stderr))
}

// status tells what went wrong and is what the process exits with.
func status(err error, stderr io.Writer) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	fmt.Fprintln(stderr, "openapi-shop:", err)
	if _, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintln(stderr, "openapi-shop -h lists the flags")
		return 2
	}
	return 1
}

// usageError is an error about the flags.
type usageError struct{ error }

type config struct {
	addr, admin, certs, sign string
	drain                    time.Duration
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c config
	fs := flag.NewFlagSet("openapi-shop", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // an error is told once
	fs.StringVar(&c.addr, "addr", "127.0.0.1:8080", "`address` to serve at")
	fs.StringVar(&c.admin, "admin", "127.0.0.1:8081", "loopback `address` of the page for operators; empty for none")
	fs.StringVar(&c.certs, "tls", "", "serve HTTPS with certificates made for it, which are written to this `directory`")
	fs.StringVar(&c.sign, "sign", "", "print the header that signs a request, such as 'GET http://localhost:8080/v1/me', and end")
	fs.DurationVar(&c.drain, "drain", 0, "how long to say \"not ready\" before the end, for balancers to notice")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fs.SetOutput(stdout)
		fs.Usage()
		return err
	case err != nil:
		return usageError{err}
	case fs.NArg() > 0:
		return usageError{fmt.Errorf("unexpected argument %q", fs.Arg(0))}
	case c.drain < 0:
		return usageError{fmt.Errorf("-drain %v: want 0 or more", c.drain)}
	case c.sign != "":
		return printSignature(stdout, c.sign)
	}
	return c.serve(ctx, stdout, stderr)
}

// serve runs the shop until ctx is done; then what is under way is finished.
func (c *config) serve(ctx context.Context, stdout, stderr io.Writer) error {
	deny := &webv4.DenyList{}
	shop, err := newShop(deny, stderr)
	if err != nil {
		return err
	}
	page, err := admin.New(shop.api, &admin.Options{Deny: deny})
	if err != nil {
		return err
	}
	srv := shop.api.Server()
	srv.RegisterOnShutdown(shop.close)
	ln, err := net.Listen("tcp", c.addr)
	if err != nil {
		return err
	}
	defer ln.Close()
	done := make(chan error, 2)
	scheme := "http"
	if c.certs != "" {
		scheme = "https"
		if srv.TLSConfig, err = makeCerts(c.certs); err != nil {
			return err
		}
		go func() { done <- srv.ServeTLS(ln, "", "") }()
	} else {
		go func() { done <- srv.Serve(ln) }()
	}
	operators := &http.Server{Handler: page, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second}
	if c.admin != "" {
		adminLn, err := net.Listen("tcp", c.admin)
		if err != nil {
			return errors.Join(err, srv.Close())
		}
		go func() { done <- operators.Serve(adminLn) }()
		fmt.Fprintf(stdout, "operators on http://%s/\n", adminLn.Addr())
	}
	fmt.Fprintf(stdout, "shop on %s://%s/docs\n", scheme, ln.Addr())
	select {
	case err = <-done:
	case <-ctx.Done():
		shop.api.Drain()
		time.Sleep(c.drain)
	}
	finish, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(err, srv.Shutdown(finish), operators.Shutdown(finish), shop.api.Shutdown(finish))
}
