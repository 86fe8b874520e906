package webv4_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

type secured struct {
	_    struct{} `route:"POST /secured.json" auth:"user"`
	Text string   `form:"text"`
}

type leveled struct {
	_ struct{} `route:"GET /leveled" auth:"user" level:"2"`
}

func schemeAPI(t testing.TB, auth webv4.Authenticator) *webv4.API {
	a := newAPI(t, &webv4.Options{Authenticator: auth, MaxBody: 1 << 20})
	webv4.Handle(a, func(ctx context.Context, in *secured) (*in2, error) {
		p, _ := webv4.PrincipalFrom(ctx)
		return &in2{p.ID + in.Text}, nil
	})
	webv4.Handle(a, func(context.Context, *leveled) (*empty, error) { return nil, nil })
	return a
}

func TestAPIKeys(t *testing.T) {
	a := schemeAPI(t, webv4.NewAPIKeys("x-api-key", map[string]webv4.Principal{"k1": {ID: "1", Level: 1}, "k2": {ID: "2", Level: 2}}))
	do(t, a, "POST /secured.json", "", "X-Api-Key: k1").is(t, 200, `{"p":"1"}`)
	do(t, a, "POST /secured.json", "").fails(t, 401, webv4.CodeTokenMissing, "")
	do(t, a, "POST /secured.json", "", "X-Api-Key: k3").fails(t, 401, webv4.CodeTokenInvalid, "")
	do(t, a, "GET /leveled", "", "X-Api-Key: k1").fails(t, 403, webv4.CodeAppPermission, "")
	do(t, a, "GET /leveled", "", "X-Api-Key: k2").is(t, 200, "{}")
}

func TestBasicAndFirstOf(t *testing.T) {
	basic := &webv4.Basic{Check: func(_ context.Context, name, password string) (webv4.Principal, error) {
		if !webv4.SecretsEqual(name+":"+password, "ada:s3cret") {
			return webv4.Principal{}, errors.New("wrong")
		}
		return webv4.Principal{ID: name}, nil
	}}
	a := schemeAPI(t, webv4.FirstOf(webv4.NewAPIKeys("X-Api-Key", map[string]webv4.Principal{"k": {ID: "k"}}), basic, &webv4.ClientCert{
		Check: func(c *x509.Certificate) (webv4.Principal, error) {
			return webv4.Principal{ID: c.Subject.CommonName}, nil
		},
	}))
	auth := func(name, password string) string {
		r, _ := http.NewRequest("GET", "/", nil)
		r.SetBasicAuth(name, password)
		return "Authorization: " + r.Header.Get("Authorization")
	}
	do(t, a, "POST /secured.json", "", auth("ada", "s3cret")).is(t, 200, `{"p":"ada"}`)
	do(t, a, "POST /secured.json", "", auth("ada", "")).fails(t, 401, webv4.CodeTokenInvalid, "")
	do(t, a, "POST /secured.json", "", "X-Api-Key: k").is(t, 200, `{"p":"k"}`)
	do(t, a, "POST /secured.json", "", "X-Api-Key: x", auth("ada", "s3cret")).fails(t, 401, webv4.CodeTokenInvalid, "")
	do(t, a, "POST /secured.json", "", "Authorization: Basic !").fails(t, 401, webv4.CodeTokenMissing, "")
	// A certificate counts if it has been verified.
	for verified, want := range map[bool]int{true: 200, false: 401} {
		r := httptest.NewRequest("POST", "/secured.json", nil)
		cert := &x509.Certificate{}
		cert.Subject.CommonName = "cn"
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
		if verified {
			r.TLS.VerifiedChains = [][]*x509.Certificate{{cert}}
		}
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("verified %v: %d", verified, w.Code)
		}
	}
}

func TestHMAC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret := []byte("secret")
		a := schemeAPI(t, webv4.NewHMAC(0, func(key string) ([]byte, webv4.Principal, bool) {
			return secret, webv4.Principal{ID: key}, key == "app"
		}))
		send := func(r *http.Request) answer {
			w := httptest.NewRecorder()
			a.ServeHTTP(w, r)
			return answer{w.Code, w.Body.String(), w.Header()}
		}
		request := func(body string) *http.Request {
			r := httptest.NewRequest("POST", "http://api.example/secured.json?a=1", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			return r
		}
		again := func(r *http.Request, body string) *http.Request {
			c := request(body)
			c.Header = r.Header.Clone()
			return c
		}
		signed := func(key, secret, body string) *http.Request {
			r := request(body)
			webv4.SignHMAC(r, key, []byte(secret), []byte(body))
			return r
		}
		r := signed("app", "secret", "text=hi")
		send(r).is(t, 200, `{"p":"apphi"}`)
		send(again(r, "text=hi")).fails(t, 401, webv4.CodeNonceUsed, "")
		send(signed("app", "wrong", "text=hi")).fails(t, 401, webv4.CodeSignature, "")
		send(signed("nobody", "secret", "text=hi")).fails(t, 401, webv4.CodeSignature, "")
		send(request("text=hi")).fails(t, 401, webv4.CodeTokenMissing, "")
		// Nothing that is signed can be another.
		for name, change := range map[string]func(*http.Request){
			"method": func(r *http.Request) { r.Method = "PUT" },
			"host":   func(r *http.Request) { r.Host = "other" },
			"query":  func(r *http.Request) { r.URL.RawQuery = "a=2" },
			"nonce": func(r *http.Request) {
				r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "nonce=", "nonce=X", 1))
			},
			"extra": func(r *http.Request) { r.Header.Set("Authorization", r.Header.Get("Authorization")+", x=y") },
			"twice": func(r *http.Request) { r.Header.Set("Authorization", r.Header.Get("Authorization")+", key=app") },
			"hex":   func(r *http.Request) { r.Header.Set("Authorization", r.Header.Get("Authorization")+"zz") },
		} {
			r := signed("app", "secret", "text=hi")
			change(r)
			if got := send(r); got.status != 401 && name != "method" || got.status == 200 {
				t.Errorf("%s changed: %d %s", name, got.status, got.body)
			}
		}
		r = signed("app", "secret", "text=hi")
		send(again(r, "text=ho")).fails(t, 401, webv4.CodeSignature, "")
		r = signed("app", "secret", "text=hi")
		time.Sleep(5*time.Minute + 2*time.Second)
		send(r).fails(t, 401, webv4.CodeTimestamp, "")
		// A nonce is remembered as long as its request would do, and no longer.
		r = signed("app", "secret", "text=hi")
		send(r).is(t, 200, `{"p":"apphi"}`)
		for range 4 {
			time.Sleep(70 * time.Second)
			send(again(r, "text=hi")).fails(t, 401, webv4.CodeNonceUsed, "")
		}
		time.Sleep(time.Hour)
		send(again(r, "text=hi")).fails(t, 401, webv4.CodeTimestamp, "")
	})
}

// The body's signature holds for multipart forms too, to the last byte.
func TestHMACMultipart(t *testing.T) {
	a := newAPI(t, &webv4.Options{Authenticator: webv4.NewHMAC(time.Minute, func(string) ([]byte, webv4.Principal, bool) {
		return []byte("s"), webv4.Principal{ID: "1"}, true
	})})
	type in struct {
		_    struct{}    `route:"POST /m" auth:"user"`
		File *webv4.File `file:"f"`
	}
	webv4.Handle(a, func(context.Context, *in) (*empty, error) { return nil, nil })
	body, kind := multi([2]string{"f=x", "content"})
	for text, status := range map[string]int{body: 200, strings.Replace(body, "content", "CONTENT", 1): 401, body + "more": 401} {
		r := httptest.NewRequest("POST", "/m", strings.NewReader(text))
		r.Header.Set("Content-Type", strings.TrimPrefix(kind, "Content-Type: "))
		webv4.SignHMAC(r, "k", []byte("s"), []byte(body))
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("%d, want %d: %s", w.Code, status, w.Body)
		}
	}
}

func FuzzHMACHeader(f *testing.F) {
	r := httptest.NewRequest("GET", "/", nil)
	webv4.SignHMAC(r, "k", []byte("s"), nil)
	f.Add(r.Header.Get("Authorization"))
	f.Add("HMAC-SHA256 key=,time=,nonce=,body=,signature=")
	h := webv4.NewHMAC(0, func(string) ([]byte, webv4.Principal, bool) { return nil, webv4.Principal{}, false })
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"] = []string{header}
		if _, err := h.Authenticate(r); err == nil {
			t.Fatalf("%q passed", header)
		}
	})
}
