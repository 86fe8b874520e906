package motan

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/heddle-go/heddle/watchman"
)

// service is what a server offers under one name.
type service struct {
	methods  map[string]*serverMethod
	limit    *rate.Limiter // nil: none
	switched *watchman.Switch
}

type serverMethod struct {
	service  *service
	names    [2]string // service and method
	op       *watchman.Operation
	limit    *rate.Limiter // nil: none
	switched *watchman.Switch
	inFlight atomic.Int64
	answers  atomic.Int64 // about how many bytes its answers have lately, 0 if they are small
	pace     pace

	request func() any // what the argument is decoded into: a pointer, Args or *Raw
	call    func(ctx context.Context, req any) (any, error)
	invoke  Invoker // call with the interceptors; nil if there are none
}

// Handle offers fn as a method of a service. Req and Resp must be types that the
// serializers in use can carry, or [Raw]; a nil answer without an error is void.
// fn runs on many goroutines at once; its context ends with the caller's deadline.
// An error that is, or wraps, an [*Error] reaches the caller with its code and
// type; any other is a business error with CodeBusiness. It panics if the method is
// there already, if the server is serving, if an interceptor returns nil, or if a type
// cannot travel at all.
func Handle[Req, Resp any](s *Server, service, method string, fn func(context.Context, *Req) (*Resp, error)) {
	for _, t := range []reflect.Type{reflect.TypeFor[Req](), reflect.TypeFor[Resp]()} {
		if err := canTravel(t); err != nil {
			panic(fmt.Sprintf("motan: Handle %s/%s: %v", service, method, err))
		}
	}
	if fn == nil {
		panic(fmt.Sprintf("motan: Handle %s/%s: no function", service, method))
	}
	s.offer(service, method, &serverMethod{
		request: func() any { return new(Req) },
		call: func(ctx context.Context, req any) (any, error) {
			q, ok := req.(*Req)
			if !ok {
				return nil, &Error{Code: CodeInternal, Type: Service, Message: fmt.Sprintf("an interceptor passed on %T, want %T", req, q)}
			}
			resp, err := fn(ctx, q)
			if err != nil || resp == nil {
				return nil, err
			}
			return resp, nil
		},
	})
}

// Register offers the exported methods of provider that look like
//
//	func (p *Echo) Hello(ctx context.Context, name string) (string, error)
//	func (p *Echo) Join(ctx context.Context, a string, b int64) (*Joined, error)
//	func (p *Echo) Ping(ctx context.Context) error
//
// as methods of a service: any number of arguments behind the context and one
// result or none before the error. They are called by their names with the first
// letter in lower case, as Java has them, and as they are. What is said of Handle
// holds for each of them; a call costs some 300 ns more. It panics if there is no
// such method, or for the reasons for which Handle does.
func (s *Server) Register(service string, provider any) {
	if provider == nil {
		panic(fmt.Sprintf("motan: Register %s: no provider", service))
	}
	v := reflect.ValueOf(provider)
	found := 0
	for i := range v.NumMethod() {
		m := v.Type().Method(i)
		sm := reflected(v.Method(i))
		if sm == nil {
			continue
		}
		t := m.Type
		for j := 2; j < t.NumIn(); j++ { // 0 is the receiver, 1 the context
			if err := canTravel(t.In(j)); err != nil {
				panic(fmt.Sprintf("motan: Register %s: argument %d of %s: %v", service, j-1, m.Name, err))
			}
		}
		if t.NumOut() == 2 {
			if err := canTravel(t.Out(0)); err != nil {
				panic(fmt.Sprintf("motan: Register %s: result of %s: %v", service, m.Name, err))
			}
		}
		s.offer(service, lowerFirst(m.Name), sm)
		found++
	}
	if found == 0 {
		panic(fmt.Sprintf("motan: Register %s: %T has no method that can be called", service, provider))
	}
}

var (
	contextType = reflect.TypeFor[context.Context]()
	errorType   = reflect.TypeFor[error]()
)

// reflected makes a method of a function, nil if the function does not fit.
func reflected(fn reflect.Value) *serverMethod {
	t := fn.Type()
	if t.IsVariadic() || t.NumIn() < 1 || t.In(0) != contextType || t.NumOut() < 1 || t.NumOut() > 2 || t.Out(t.NumOut()-1) != errorType {
		return nil
	}
	args := make([]reflect.Type, t.NumIn()-1)
	for i := range args {
		args[i] = t.In(i + 1)
	}
	m := &serverMethod{}
	if len(args) == 1 {
		m.request = func() any { return newOf(args[0]).Interface() }
	} else {
		m.request = func() any {
			a := make(Args, len(args))
			for i, t := range args {
				a[i] = newOf(t).Interface()
			}
			return a
		}
	}
	m.call = func(ctx context.Context, req any) (any, error) {
		given, ok := req.(Args)
		if !ok {
			given = Args{req}
		}
		if len(given) != len(args) {
			return nil, &Error{Code: CodeInternal, Type: Service, Message: fmt.Sprintf("an interceptor passed on %d arguments, want %d", len(given), len(args))}
		}
		in := make([]reflect.Value, 1, len(args)+1)
		in[0] = reflect.ValueOf(ctx)
		for i, a := range given {
			v := reflect.ValueOf(a)
			if args[i].Kind() != reflect.Pointer {
				if v.Kind() != reflect.Pointer || v.IsNil() {
					return nil, &Error{Code: CodeInternal, Type: Service, Message: fmt.Sprintf("an interceptor passed on %T", a)}
				}
				v = v.Elem()
			}
			if !v.IsValid() || !v.Type().AssignableTo(args[i]) {
				return nil, &Error{Code: CodeInternal, Type: Service, Message: fmt.Sprintf("an interceptor passed on %T, want %s", a, args[i])}
			}
			in = append(in, v)
		}
		out := fn.Call(in)
		if err, _ := out[len(out)-1].Interface().(error); err != nil || len(out) == 1 {
			return nil, err
		}
		if r := out[0]; r.Kind() == reflect.Pointer && r.IsNil() {
			return nil, nil
		}
		return out[0].Interface(), nil
	}
	return m
}

// newOf returns a pointer to decode an argument of type t into: t itself if it is
// one.
func newOf(t reflect.Type) reflect.Value {
	if t.Kind() == reflect.Pointer {
		return reflect.New(t.Elem())
	}
	return reflect.New(t)
}

// canTravel reports why values of a type can be no argument or answer. Types that
// only some serialization carries pass: which one is used is known with the call.
func canTravel(t reflect.Type) error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[Raw]() || t == reflect.TypeFor[Args]() || message(reflect.New(t).Interface()) != nil {
		return nil
	}
	_, err := codecOf(t)
	return err
}

// offer adds a method.
func (s *Server) offer(serviceName, method string, m *serverMethod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	svc := s.services[serviceName]
	switch {
	case s.serving:
		panic(fmt.Sprintf("motan: Handle %s/%s: the server is serving", serviceName, method))
	case serviceName == "" || method == "" || strings.Contains(serviceName+method, "\n"):
		panic(fmt.Sprintf("motan: Handle %q/%q: want a service and a method", serviceName, method))
	case svc == nil:
		svc = &service{
			methods: make(map[string]*serverMethod), limit: s.limiter(serviceName),
			switched: s.opt.Watchman.Switch(serviceName, false),
		}
		s.services[serviceName] = svc
	case svc.methods[method] != nil:
		panic(fmt.Sprintf("motan: Handle %s/%s: registered twice", serviceName, method))
	}
	full := serviceName + "/" + method
	m.service, m.names = svc, [2]string{serviceName, method}
	m.op = s.opt.Watchman.Operation(watchman.Server, full)
	m.limit, m.switched = s.limiter(full), s.opt.Watchman.Switch(full, false)
	if len(s.opt.Interceptors) > 0 {
		var err error
		if m.invoke, err = chain(s.opt.Interceptors, func(ctx context.Context, x *Exchange) (err error) {
			x.Response, err = m.call(ctx, x.Request)
			return err
		}); err != nil {
			panic(fmt.Sprintf("motan: Handle %s: %v", full, err))
		}
	}
	svc.methods[method] = m
	s.methods++
}

// limiter returns what bounds the rate of a service or method, nil for no bound.
func (s *Server) limiter(name string) *rate.Limiter {
	r, ok := s.opt.Rates[name]
	if !ok {
		return nil
	}
	if r.Burst == 0 {
		r.Burst = int(math.Ceil(min(r.PerSecond, math.MaxInt32)))
	}
	return rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst)
}

func lowerFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToLower(r)) + s[n:]
}

// find looks a method up, the second time with its first letter in lower case, as
// Java does. The messages about what is missing are part of the protocol: clients
// act on them.
func (s *Server) find(m *callMeta) (*serverMethod, error) {
	svc := s.services[string(m.service)]
	if svc == nil {
		if m.framework {
			if string(m.service) == metaService && string(m.method) == metaMethod {
				return s.meta, nil
			}
			return nil, &Error{Code: CodeUnsupported, Type: Service, Message: "service not support"}
		}
		return nil, &Error{Code: CodeNotFound, Type: Service, Message: notOffered + string(m.service)}
	}
	if method := svc.methods[string(m.method)]; method != nil {
		return method, nil
	}
	if len(m.method) > 0 {
		if method := svc.methods[lowerFirst(string(m.method))]; method != nil {
			return method, nil
		}
	}
	return nil, &Error{Code: CodeInternal, Type: Service, Message: "method " + string(m.method) + unknownMethod}
}
