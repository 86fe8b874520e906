package watchman

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrRejected is wrapped by errors of work that was refused before it began: a
// limit, an open breaker, a closed switch. Such a call counts as rejected
// besides failed, because an objective must not take its own cure for the disease.
var ErrRejected = errors.New("rejected")

// isRejected is errors.Is(err, ErrRejected) for errors that may be hostile: it
// looks at the first maxChain wrapped ones of each and no deeper.
func isRejected(err error) bool {
	for i := 0; err != nil && i < maxChain; i++ {
		if err == ErrRejected {
			return true
		}
		if list, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range list.Unwrap() {
				if e == ErrRejected {
					return true
				}
			}
		}
		err = unwrap(err)
	}
	return false
}

// PanicError is a panic as an error.
type PanicError struct {
	Value any
	pcs   [maxFrames]uintptr
	n     int
}

// Recovered makes an error of what recover returned, nil of nil. Call it in
// the deferred function itself: it remembers where the panic was.
func Recovered(v any) error {
	if v == nil {
		return nil
	}
	e := &PanicError{Value: v}
	e.n = runtime.Callers(2, e.pcs[:])
	for i, pc := range e.pcs[:e.n] {
		if f := runtime.FuncForPC(pc - 1); f != nil && f.Name() == "runtime.gopanic" {
			e.n = copy(e.pcs[:], e.pcs[i+1:e.n]) // the deferred functions are not to blame
			break
		}
	}
	return e
}

// Error says "panic:" and the value.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap is the value if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

const (
	maxFrames      = 32
	maxErrorGroups = 512
	maxChain       = 8
	groupTraces    = 5 // traces remembered for a group
)

// ErrorGroup is a kind of error: all those of one operation whose types and
// origin are the same.
type ErrorGroup struct {
	Kind      Kind      `json:"kind"`
	Operation string    `json:"operation"`
	Chain     string    `json:"chain"` // the types, outermost first; of plain errors the text, digits as #
	Frame     string    `json:"frame"` // the first function outside this SDK and the standard library, "" if none
	Panic     bool      `json:"panic,omitempty"`
	Count     uint64    `json:"count"` // only grows
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	Release   string    `json:"release"`          // Options.Release when it was first seen
	Text      string    `json:"text"`             // of the newest, at most 1024 bytes; of refusals, of one in the last millisecond before it
	Stack     []string  `json:"stack,omitempty"`  // of the newest panic
	Traces    []TraceID `json:"traces,omitempty"` // of the newest, newest last, each once in a row
}

type errorKey struct {
	op    *Operation
	chain string
	frame string
}

// errorGroups counts errors by fingerprint. It is bounded: what comes after
// maxErrorGroups kinds shares one group an operation.
type errorGroups struct {
	mu     sync.Mutex
	groups map[errorKey]*errorGroup
	chains map[chainKey]string // of the errors that came lately
	frames map[uintptr]string  // resolved program counters; a program has only so many
}

type errorGroup struct {
	ErrorGroup
	read int64 // when Text was
}

// refusalsReadEvery is how long the text of a refusal stands for those that
// follow: under overload there are very many of them, and formatting costs more
// than refusing.
const refusalsReadEvery = int64(time.Millisecond)

// note files an error that ended s at a time. It is called from End and from Go, so
// the caller's caller is the framework or the user.
func (g *errorGroups) note(s *Span, err error, at int64) {
	chain, panicked := g.chain(err)
	var here [12]uintptr
	pcs, text := here[:0], ""
	switch {
	case panicked != nil:
		pcs, text = panicked.pcs[:panicked.n], errorText(err)
	case isRejected(err): // refused by a framework, whose frames say nothing; and refusing has to be cheap
	default:
		pcs, text = here[:runtime.Callers(3, here[:])], errorText(err)
	}
	if e := g.count(s, chain, pcs, panicked, text, at); e != nil {
		text = errorText(err) // user code, without the lock
		g.mu.Lock()
		e.Text, e.read = text, at
		g.mu.Unlock()
	}
}

// count counts an error in its group. It returns the group if its text has to be
// read, which the caller has not done for a refusal.
func (g *errorGroups) count(s *Span, chain string, pcs []uintptr, panicked *PanicError, text string, at int64) (unread *errorGroup) {
	now := s.op.w.wall(at)
	g.mu.Lock()
	defer g.mu.Unlock()
	frame := ""
	for _, pc := range pcs {
		if frame = g.frameLocked(pc); frame != "" {
			break
		}
	}
	key := errorKey{s.op, chain, frame}
	e := g.groups[key]
	if e == nil {
		if len(g.groups) >= maxErrorGroups {
			key = errorKey{op: s.op, chain: otherName}
			e = g.groups[key]
		}
		if e == nil {
			if len(g.groups) >= 2*maxErrorGroups {
				return nil // even the others have become too many
			}
			e = &errorGroup{ErrorGroup: ErrorGroup{Kind: s.op.kind, Operation: s.op.name, Chain: key.chain, Frame: key.frame, First: now, Release: s.op.w.opt.Release}}
			if g.groups == nil {
				g.groups = map[errorKey]*errorGroup{}
			}
			g.groups[key] = e
		}
	}
	e.Count++
	e.Last = now
	if text != "" {
		e.Text = text
	} else if e.Text == "" || at-e.read >= refusalsReadEvery {
		unread = e
	}
	if panicked != nil {
		e.Panic, e.Stack = true, stackText(panicked.pcs[:panicked.n])
	}
	kept := len(e.Traces)
	if kept > 0 && e.Traces[kept-1] == s.local.traceID {
		return unread // a trace that fails over and over is one example
	}
	if kept == groupTraces {
		copy(e.Traces, e.Traces[1:])
		e.Traces = e.Traces[:groupTraces-1]
	}
	e.Traces = append(e.Traces, s.local.traceID)
	return unread
}

// Errors returns the kinds of errors seen so far, most recently seen first; at
// most 512 kinds are told apart.
func (w *Watchman) Errors() []ErrorGroup {
	if w == nil {
		return nil
	}
	g := &w.errors
	g.mu.Lock()
	list := make([]ErrorGroup, 0, len(g.groups))
	for _, e := range g.groups {
		c := e.ErrorGroup
		c.Stack, c.Traces = slices.Clone(e.Stack), slices.Clone(e.Traces)
		list = append(list, c)
	}
	g.mu.Unlock()
	slices.SortFunc(list, func(a, b ErrorGroup) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Operation, b.Operation),
			cmp.Compare(a.Chain, b.Chain), cmp.Compare(a.Frame, b.Frame))
	})
	return list
}

// chainKey tells errors with different chains apart without making the text.
type chainKey struct {
	types [4]reflect.Type
	text  string // of the plain one at the end
}

// maxChains bounds how many chains are remembered, and maxChainText a text in them.
const (
	maxChains    = 256
	maxChainText = 120
)

var plainError = reflect.TypeOf(ErrRejected)

// chainKeyOf returns false for chains that are not worth remembering: long ones,
// panics, long texts.
func chainKeyOf(err error) (k chainKey, ok bool) {
	for i := range k.types {
		t := reflect.TypeOf(err)
		k.types[i] = t
		if t == plainError {
			k.text = err.Error()
			return k, len(k.text) <= maxChainText
		}
		if _, is := err.(*PanicError); is {
			return k, false
		}
		if err = unwrap(err); err == nil {
			return k, true
		}
	}
	return k, false
}

// chain is typeChain for errors of which the same come again and again.
func (g *errorGroups) chain(err error) (string, *PanicError) {
	key, ok := chainKeyOf(err)
	if ok {
		g.mu.Lock()
		chain, known := g.chains[key]
		g.mu.Unlock()
		if known {
			return chain, nil
		}
	}
	chain, panicked := typeChain(err)
	if ok && panicked == nil {
		g.mu.Lock()
		if g.chains == nil || len(g.chains) == maxChains {
			g.chains = make(map[chainKey]string)
		}
		g.chains[key] = chain
		g.mu.Unlock()
	}
	return chain, panicked
}

// typeChain names an error by its types, outermost first, and finds the panic
// in it. Wrappers made by fmt and errors say nothing and are left out; a plain
// text error is named by its text, in which digits count as equal.
func typeChain(err error) (string, *PanicError) {
	var b strings.Builder
	var panicked *PanicError
	for i := 0; err != nil && i < maxChain; i++ {
		name := reflect.TypeOf(err).String()
		switch name {
		case "*fmt.wrapError", "*fmt.wrapErrors", "*errors.joinError":
			name = ""
		case "*errors.errorString":
			name = shape(errorText(err))
		case "*watchman.PanicError":
			panicked = err.(*PanicError)
			name = "panic"
			if _, ok := panicked.Value.(error); !ok {
				name = "panic " + shape(errorText(err))
			}
		}
		if name != "" {
			if b.Len() > 0 {
				b.WriteString(" ← ")
			}
			b.WriteString(name)
		}
		err = unwrap(err)
	}
	return b.String(), panicked
}

// unwrap survives an error whose Unwrap method panics.
func unwrap(err error) (inner error) {
	defer func() {
		if recover() != nil {
			inner = nil
		}
	}()
	switch u := err.(type) {
	case interface{ Unwrap() error }:
		return u.Unwrap()
	case interface{ Unwrap() []error }:
		if list := u.Unwrap(); len(list) > 0 {
			return list[0]
		}
	}
	return nil
}

// shape is a text with its numbers taken out, at most 120 bytes.
func shape(s string) string {
	var b strings.Builder
	digits := false
	for _, r := range s {
		if b.Len() > 120 {
			break
		}
		if r >= '0' && r <= '9' {
			if !digits {
				b.WriteByte('#')
			}
			digits = true
			continue
		}
		digits = false
		b.WriteRune(r)
	}
	return b.String()
}

// frameLocked is the function at pc with its line, "" if it belongs to this SDK
// or the standard library: whose error it is, is decided in the application.
func (g *errorGroups) frameLocked(pc uintptr) string {
	if f, ok := g.frames[pc]; ok {
		return f
	}
	f := ""
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	if applicationFrame(frame.Function) {
		f = fmt.Sprintf("%s:%d", frame.Function, frame.Line)
	}
	if g.frames == nil {
		g.frames = map[uintptr]string{}
	}
	g.frames[pc] = f
	return f
}

// sdkPath is the module's path: the prefix of this package's functions.
var sdkPath = strings.TrimSuffix(reflect.TypeFor[Watchman]().PkgPath(), "/watchman")

func applicationFrame(function string) bool {
	if rest, ok := strings.CutPrefix(function, sdkPath+"/"); ok {
		// The examples are applications, and so are tests.
		return strings.HasPrefix(rest, "examples/") || strings.Contains(rest, "_test.")
	}
	// A standard library path has no dot in its first element; main has no slash.
	first, _, slash := strings.Cut(function, "/")
	return slash && strings.Contains(first, ".") || strings.HasPrefix(function, "main.")
}

func stackText(pcs []uintptr) []string {
	var list []string
	frames := runtime.CallersFrames(pcs)
	for {
		f, more := frames.Next()
		if f.Function != "" {
			list = append(list, fmt.Sprintf("%s %s:%d", f.Function, f.File, f.Line))
		}
		if !more {
			return list
		}
	}
}
