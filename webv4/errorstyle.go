package webv4

import (
	"net/http"
	"net/url"
	"strconv"
)

// ErrorStyle is how errors look to clients.
type ErrorStyle int

const (
	// WeiboErrors are {"request":"/path","error_code":10017,"error":"text"}.
	WeiboErrors ErrorStyle = iota + 1

	// WeiboStringErrors are the same with the code as a string.
	WeiboStringErrors

	// ProblemErrors are problem details (RFC 9457): application/problem+json
	// with type, title, status, detail, instance and the member error_code.
	ProblemErrors
)

var (
	problemType    = []string{"application/problem+json"}
	problemXMLType = []string{"application/problem+xml"}
)

// error writes an error reply.
func (o *reply) error(path string, e *Error) {
	o.code = e.Code
	o.buf = o.appendError(o.buf[:0], o.style, path, e)
	o.send(e.status(), o.errorType(), o.buf)
}

// errorType is the Content-Type of an error reply.
func (o *reply) errorType() []string {
	switch {
	case o.style == ProblemErrors && o.format == asXML:
		return problemXMLType
	case o.style == ProblemErrors:
		return problemType
	case o.format == asXML:
		return xmlType
	}
	return jsonType
}

// appendError appends an error reply's body.
func (o *reply) appendError(b []byte, style ErrorStyle, path string, e *Error) []byte {
	switch {
	case style == ProblemErrors && o.format == asXML:
		b = appendProblemXML(b, path, e)
	case style == ProblemErrors:
		b = appendProblem(b, path, e)
	case o.format == asXML:
		b = append(b, xmlHeader...)
		b = append(b, "<error>"...)
		b = appendLeaf(b, "request", path)
		b = appendLeaf(b, "error_code", strconv.Itoa(e.Code))
		b = appendLeaf(b, "error_text", e.Message)
		b = append(b, "</error>\n"...)
	default:
		b = append(b, `{"request":`...)
		b = appendJSONString(b, path)
		b = append(b, `,"error_code":`...)
		if style == WeiboStringErrors {
			b = append(strconv.AppendInt(append(b, '"'), int64(e.Code), 10), '"')
		} else {
			b = strconv.AppendInt(b, int64(e.Code), 10)
		}
		b = append(b, `,"error":`...)
		b = appendJSONString(b, e.Message)
		b = append(b, "}\n"...)
	}
	return b
}

// title is what the kind of error is called, detail what this one is about.
func (e *Error) title() (title, detail string) {
	if e.row != nil && e.row.Text != "" && (e.detail != "" || e.Message == e.row.Text) {
		return e.row.Text, e.detail
	}
	if row, ok := errorTable[e.Code]; ok && e.row == nil && (e.detail != "" || e.Message == row.text) {
		return row.text, e.detail
	}
	return http.StatusText(e.status()), e.Message
}

func appendProblem(b []byte, path string, e *Error) []byte {
	title, detail := e.title()
	b = append(b, `{"type":"about:blank","title":`...)
	b = appendJSONString(b, title)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(e.status()), 10)
	if detail != "" {
		b = append(b, `,"detail":`...)
		b = appendJSONString(b, detail)
	}
	b = append(b, `,"instance":`...)
	b = appendJSONString(b, (&url.URL{Path: path}).EscapedPath())
	b = append(b, `,"error_code":`...)
	b = strconv.AppendInt(b, int64(e.Code), 10)
	return append(b, "}\n"...)
}

// appendProblemXML follows RFC 9457's appendix B.
func appendProblemXML(b []byte, path string, e *Error) []byte {
	title, detail := e.title()
	b = append(b, xmlHeader...)
	b = append(b, `<problem xmlns="urn:ietf:rfc:7807"><type>about:blank</type>`...)
	b = appendLeaf(b, "title", title)
	b = appendLeaf(b, "status", strconv.Itoa(e.status()))
	if detail != "" {
		b = appendLeaf(b, "detail", detail)
	}
	b = appendLeaf(b, "instance", (&url.URL{Path: path}).EscapedPath())
	b = appendLeaf(b, "error_code", strconv.Itoa(e.Code))
	return append(b, "</problem>\n"...)
}

func appendLeaf(b []byte, name, text string) []byte {
	return shut(appendXMLText(open(b, name), text), name)
}
