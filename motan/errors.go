package motan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/heddle-go/heddle/watchman"
)

// ErrorType says who an error is about.
type ErrorType int

const (
	Framework ErrorType = iota // the call itself: no endpoint, connection lost, timeout
	Service                    // the server: no such service or method, overloaded, panicked
	Business                   // the application's own answer; never retried
)

// Codes of errors that this package makes; the numbers are the ones other
// Motan implementations use.
const (
	CodeUnauthorized = 401   // the caller's token is missing or wrong
	CodeNotFound     = 404   // the server does not offer the service
	CodeInternal     = 500   // decoding, a panic, an unknown method
	CodeUnsupported  = 501   // a framework service that the server does not have
	CodeNoEndpoint   = 1001  // no endpoint can take a call now
	CodeConnection   = 1002  // the connection failed under the call
	CodeReject       = 10002 // the server has too much to do
	CodeTimeout      = 10003 // no answer in time
	CodeCancelled    = 10004 // the caller gave up
	CodeEncode       = 20002 // the request cannot be sent as it is
	CodeDecode       = 20003 // the answer came, but not as something that the caller's type can hold
	CodeBusiness     = 30001 // a handler's plain error
)

// Error is an error that crossed the wire or ended a call. It is what handlers
// return to choose the code that the caller sees. With code 0 it is a business error
// with CodeBusiness or, of type Service, one with CodeInternal.
type Error struct {
	Code    int
	Type    ErrorType
	Message string

	// sent reports that the request may have been executed.
	sent bool
	// missed reports that there was no try at all: the endpoint became unusable
	// after it had been chosen.
	missed bool
	// cause is the reason; of errors that came over the wire it is what their code
	// says, if anything.
	cause error
}

// Error says type, code and message.
func (e *Error) Error() string {
	kind := "framework"
	switch e.Type {
	case Service:
		kind = "service"
	case Business:
		kind = "business"
	}
	return fmt.Sprintf("motan: %s error %d: %s", kind, e.Code, e.Message)
}

// Unwrap returns the cause, such as a network error, context.DeadlineExceeded, or
// watchman.ErrRejected of calls that were refused to protect somebody.
func (e *Error) Unwrap() error { return e.cause }

// ErrClosed is returned by calls on a closed Client and by Serve on a closed Server.
var ErrClosed = errors.New("motan: closed")

// Retryable reports whether a call that failed with err may be made again
// without risk of doing its work twice: it was certainly not executed.
func Retryable(err error) bool {
	var e *Error
	return errors.As(err, &e) && !e.sent && e.Type != Business && e.Code != CodeEncode
}

// notOffered reports that the server does not have the service at all: other
// Motan implementations take the node out for this code with this text.
func (e *Error) notOffered() bool {
	return e.Code == CodeNotFound && strings.Contains(e.Message, notOffered)
}

const notOffered = "provider not exist serviceKey="

// The messages of errors with CodeInternal by which callers tell whose fault it is;
// the first is part of the protocol.
const (
	unknownMethod = " is not found in provider."
	badArgument   = "argument: "
	badAnswer     = "answer: "
)

// ofTheCall reports that an error of a server is about the call and not about the
// server: another one would say the same.
func (e *Error) ofTheCall() bool {
	switch e.Code {
	case CodeUnauthorized, CodeUnsupported:
		return true
	case CodeInternal:
		return strings.HasSuffix(e.Message, unknownMethod) || strings.HasPrefix(e.Message, badArgument) || strings.HasPrefix(e.Message, badAnswer)
	}
	return false
}

// ofTheServer reports that a service error says that the server fails: it is not
// merely busy, late, or right.
func (e *Error) ofTheServer() bool {
	switch e.Code {
	case CodeReject, CodeTimeout:
		return false
	case CodeNotFound:
		return e.notOffered()
	}
	return !e.ofTheCall()
}

// wireError is the JSON form of an Error, the value of M_e.
type wireError struct {
	Code    int       `json:"errcode"`
	Message string    `json:"errmsg"`
	Type    ErrorType `json:"errtype"`
}

// errorTextMost bounds the bytes of an error's message on the wire: it stands in the
// metadata, and must not make a frame that takes the connection down.
const errorTextMost = 128 << 10

// encodeError returns the value of M_e. A message that is too long is cut.
func encodeError(err error) string {
	w := wireError{Code: CodeBusiness, Message: err.Error(), Type: Business}
	var e *Error
	switch {
	case errors.As(err, &e) && e.Code != 0:
		w = wireError{e.Code, e.Message, e.Type}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		w.Code, w.Type = CodeTimeout, Service
	}
	if len(w.Message) > errorTextMost {
		w.Message = strings.ToValidUTF8(w.Message[:errorTextMost], "") + "…"
	}
	b, err := json.Marshal(w)
	if err != nil { // a string, two numbers: cannot happen
		return `{"errcode":500,"errmsg":"error not encodable","errtype":1}`
	}
	return string(b)
}

func decodeError(b []byte) *Error {
	var w wireError
	if err := json.Unmarshal(b, &w); err != nil {
		return &Error{Code: CodeInternal, Type: Service, Message: "remote exception without a readable M_e", sent: true}
	}
	e := &Error{Code: w.Code, Type: w.Type, Message: w.Message, sent: w.Code != CodeReject && w.Code != CodeNotFound}
	switch {
	case w.Type == Service && w.Code == CodeTimeout:
		e.cause = context.DeadlineExceeded
	case w.Type == Service && w.Code == CodeReject:
		e.cause = watchman.ErrRejected
	}
	return e
}
