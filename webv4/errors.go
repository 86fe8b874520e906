package webv4

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
)

// Codes of the platform's error table: the first digit says system (1) or
// service (2) level, the next two the module.
const (
	CodeSystem        = 10001 // system error
	CodeUnavailable   = 10002 // service unavailable
	CodeRemoteService = 10003 // a service behind this one failed
	CodeIPDenied      = 10004 // this address may not call
	CodeAppPermission = 10005 // the application may not do this
	CodeSourceMissing = 10006 // the application's key is missing
	CodeMediaType     = 10007 // unsupported media type
	CodeParameter     = 10008 // parameter error
	CodeBusy          = 10009 // too many pending tasks
	CodeExpired       = 10010 // not done in time
	CodeRPC           = 10011 // a call behind this one failed
	CodeIllegal       = 10012 // illegal request
	CodeInvalidUser   = 10013 // no such user
	CodePermission    = 10014 // insufficient permissions
	CodeMissing       = 10016 // required parameter missing
	CodeInvalid       = 10017 // parameter value invalid
	CodeTooLong       = 10018 // request body too long
	CodeNoAPI         = 10020 // no such interface
	CodeMethod        = 10021 // method not supported
	CodeIPLimit       = 10022 // requests of this address exceed the limit
	CodeUserLimit     = 10023 // requests of this user exceed the limit
	CodeUserAPILimit  = 10024 // requests of this user for this interface exceed the limit
	CodeTokenMissing  = 21301 // authentication required
	CodeRedirectURI   = 21322 // redirect URI does not match (this and the next are OAuth 2.0's)
	CodeInvalidGrant  = 21325 // grant not valid
	CodeTokenExpired  = 21327 // token expired
	CodeTokenInvalid  = 21332 // token not valid

	CodeTimestamp           = 21307 // a signed request's time is not now
	CodeNonceUsed           = 21308 // a signed request was there before
	CodeSignature           = 21310 // signature not valid
	CodeInvalidRequest      = 21323
	CodeInvalidClient       = 21324
	CodeUnauthorizedClient  = 21326
	CodeUnsupportedGrant    = 21328
	CodeUnsupportedResponse = 21329
	CodeAccessDenied        = 21330
	CodeTemporarily         = 21331
)

// errorRow is what a code means.
type errorRow struct {
	status int
	text   string
}

// errorTable gives each code its HTTP status and text.
var errorTable = func() map[int]errorRow {
	t := maps.Clone(serviceErrors)
	maps.Copy(t, frameErrors)
	return t
}()

// frameErrors are those that the chain itself answers, or that have a constant.
var frameErrors = map[int]errorRow{
	CodeSystem:              {http.StatusInternalServerError, "system error"},
	CodeUnavailable:         {http.StatusServiceUnavailable, "service unavailable"},
	CodeRemoteService:       {http.StatusServiceUnavailable, "remote service error"},
	CodeIPDenied:            {http.StatusForbidden, "IP limit"},
	CodeSourceMissing:       {http.StatusBadRequest, "source parameter (appkey) is missing"},
	CodeRPC:                 {http.StatusServiceUnavailable, "RPC error"},
	CodeIllegal:             {http.StatusBadRequest, "illegal request"},
	CodeInvalidUser:         {http.StatusBadRequest, "invalid user"},
	CodeRedirectURI:         {http.StatusBadRequest, "redirect_uri_mismatch"},
	CodeInvalidRequest:      {http.StatusBadRequest, "invalid_request"},
	CodeTimestamp:           {http.StatusUnauthorized, "timestamp refused"},
	CodeNonceUsed:           {http.StatusUnauthorized, "nonce used"},
	CodeSignature:           {http.StatusUnauthorized, "signature invalid"},
	CodeInvalidClient:       {http.StatusUnauthorized, "invalid_client"},
	CodeInvalidGrant:        {http.StatusBadRequest, "invalid_grant"},
	CodeUnauthorizedClient:  {http.StatusForbidden, "unauthorized_client"},
	CodeUnsupportedGrant:    {http.StatusBadRequest, "unsupported_grant_type"},
	CodeUnsupportedResponse: {http.StatusBadRequest, "unsupported_response_type"},
	CodeAccessDenied:        {http.StatusForbidden, "access_denied"},
	CodeTemporarily:         {http.StatusServiceUnavailable, "temporarily_unavailable"},
	CodeAppPermission:       {http.StatusForbidden, "application permission is denied"},
	CodeMediaType:           {http.StatusUnsupportedMediaType, "unsupported media type"},
	CodeParameter:           {http.StatusBadRequest, "param error"},
	CodeBusy:                {http.StatusServiceUnavailable, "too many pending tasks, system is busy"},
	CodeExpired:             {http.StatusServiceUnavailable, "job expired"},
	CodePermission:          {http.StatusForbidden, "insufficient permissions"},
	CodeMissing:             {http.StatusBadRequest, "miss required parameter"},
	CodeInvalid:             {http.StatusBadRequest, "parameter value invalid"},
	CodeTooLong:             {http.StatusRequestEntityTooLarge, "request body length over limit"},
	CodeNoAPI:               {http.StatusNotFound, "request api not found"},
	CodeMethod:              {http.StatusMethodNotAllowed, "HTTP method is not supported for this request"},
	CodeIPLimit:             {http.StatusTooManyRequests, "IP requests out of rate limit"},
	CodeUserLimit:           {http.StatusTooManyRequests, "user requests out of rate limit"},
	CodeUserAPILimit:        {http.StatusTooManyRequests, "user requests for this interface out of rate limit"},
	CodeTokenMissing:        {http.StatusUnauthorized, "access token missing"},
	CodeTokenExpired:        {http.StatusUnauthorized, "token expired"},
	CodeTokenInvalid:        {http.StatusUnauthorized, "invalid access token"},
}

// Error is an error that a client sees: {"request":path,"error_code":Code,"error":Message}
// under HTTP status Status. Handlers return one to choose all three; any other
// error of theirs is answered as CodeSystem without its text.
type Error struct {
	Status  int
	Code    int
	Message string

	detail string     // Message without the table's text
	cause  error      // for the access log and the trace only
	row    *ErrorCode // of the version's table, when there is one
}

// Error says code and message.
func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("webv4: error %d: %s: %v", e.Code, e.Message, e.cause)
	}
	return fmt.Sprintf("webv4: error %d: %s", e.Code, e.Message)
}

// status is the HTTP status to answer with, whatever a handler put there.
func (e *Error) status() int {
	if e.Status < 400 || e.Status > 599 {
		return http.StatusInternalServerError
	}
	return e.Status
}

// Unwrap returns what led to the error, if anything did.
func (e *Error) Unwrap() error { return e.cause }

// Errorf returns the error of that code in the platform's table, with the
// formatted text behind the table's own unless that is empty. A code that is
// not in the table has status 400.
func Errorf(code int, format string, args ...any) *Error {
	e := &Error{Status: http.StatusBadRequest, Code: code, detail: fmt.Sprintf(format, args...)}
	e.Message = e.detail
	if row, ok := errorTable[code]; ok {
		e.Status = row.status
		if e.Message == "" {
			e.Message = row.text
		} else {
			e.Message = row.text + ": " + e.Message
		}
	}
	return e
}

// plainErrors are the errors of the table without more text, made once: a
// refusal should cost nothing.
var plainErrors = func() map[int]*Error {
	m := make(map[int]*Error, len(errorTable))
	for code := range errorTable {
		m[code] = Errorf(code, "")
	}
	return m
}()

// refusal is the table's own error of a code.
func refusal(code int) error { return plainErrors[code] }

// codeTexts are the codes that refusals have, from 10000 on, as text.
var codeTexts = func() (t [32]string) {
	for i := range t {
		t[i] = strconv.Itoa(CodeSystem - 1 + i)
	}
	return t
}()

func codeText(code int) string {
	if i := code - (CodeSystem - 1); i >= 0 && i < len(codeTexts) {
		return codeTexts[i]
	}
	return strconv.Itoa(code)
}

// asError finds an *Error in err's chain, nil if there is none.
func asError(err error) *Error {
	if e, ok := err.(*Error); ok {
		return e
	}
	var e *Error
	errors.As(err, &e)
	return e
}

// Wrap returns the error of that code in the table. The client sees the
// table's text; the trace and the access log see cause as well.
func Wrap(code int, cause error) *Error {
	e := Errorf(code, "")
	e.cause = cause
	return e
}

// What an Authenticator returns.
var (
	ErrTokenMissing error = Errorf(CodeTokenMissing, "")
	ErrTokenExpired error = Errorf(CodeTokenExpired, "")
	ErrTokenInvalid error = Errorf(CodeTokenInvalid, "")
)
