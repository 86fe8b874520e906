package webv4

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// ErrorCode is a row of a table of errors.
type ErrorCode struct {
	Code   int
	Status int    // of HTTP
	Text   string // what clients see, before the details
}

// ErrorCodes are the rows in which the table of one version of an API differs
// from the platform's, by the code that handlers give to Errorf and that this
// package answers: what a row leaves zero is as it was. Rows for codes that the
// platform does not have add them. A status that differs from the table's
// already, as that of an [Error] made by hand, stays.
type ErrorCodes map[int]ErrorCode

// filled checks the rows and puts them on top of those that hold outside. It
// returns nil if there are none.
func (t ErrorCodes) filled(outside ErrorCodes) (ErrorCodes, error) {
	if len(t) == 0 {
		return outside, nil
	}
	out := ErrorCodes{}
	maps.Copy(out, outside)
	var errs []error
	for _, code := range slices.Sorted(maps.Keys(t)) {
		row, was := t[code], rowOf(outside, code)
		if code <= 0 || row.Code < 0 || row.Status != 0 && (row.Status < 400 || row.Status > 599) {
			errs = append(errs, fmt.Errorf("ErrorCodes %d: %+v: want positive codes, and a status of an error or none", code, row))
			continue
		}
		out[code] = ErrorCode{cmp.Or(row.Code, was.Code), cmp.Or(row.Status, was.Status), cmp.Or(row.Text, was.Text)}
	}
	return out, errors.Join(errs...)
}

// rowOf is what clients see of a code, the details left out.
func rowOf(t ErrorCodes, code int) ErrorCode {
	if row, ok := t[code]; ok {
		return row
	}
	e := Errorf(code, "")
	return ErrorCode{code, e.Status, e.Message}
}

// seen is an error as the clients of a version see it.
func (t ErrorCodes) seen(e *Error) *Error {
	if len(t) == 0 {
		return e
	}
	row, ok := t[e.Code]
	if !ok {
		return e
	}
	was, known := errorTable[e.Code]
	x := *e
	x.Code, x.row = row.Code, &ErrorCode{row.Code, row.Status, row.Text}
	if !known || x.Status == was.status {
		x.Status = row.Status
	}
	switch {
	case e.detail != "" && row.Text != "":
		x.Message = row.Text + ": " + e.detail
	case e.Message == was.text:
		x.Message = row.Text
	}
	return &x
}

// ErrorTable lists the codes that clients of the API or group see, in order: the
// platform's, as Options.ErrorCodes and GroupOptions.ErrorCodes changed them.
func (a *API) ErrorTable() []ErrorCode {
	var list []ErrorCode
	for code := range errorTable {
		list = append(list, rowOf(a.codes, code))
	}
	for code, row := range a.codes {
		if _, known := errorTable[code]; !known {
			list = append(list, row)
		}
	}
	slices.SortFunc(list, func(a, b ErrorCode) int { return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.Text, b.Text)) })
	return slices.Compact(list)
}
