package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/riser-project/riser/fault"
)

// Stage is where in its way through the gate a request failed. APIs write errors of the stages differently.
type Stage uint8

// The stages.
const (
	Handling       Stage = iota // the call itself
	Guarding                    // limits of size and depth
	Authenticating              // who asks is not known
	Routing                     // path, method or version is not there
)

// Failure is an error answer, before an API's Envelope has put it into words.
type Failure struct {
	Status int
	Stage  Stage
	Text   string      // for the client; may be empty when Stage is Routing
	Header http.Header // of the answer, or nil
	Err    error       // the cause, or nil; not for clients
}

// Error returns the text.
func (f *Failure) Error() string {
	if f.Text == "" {
		return http.StatusText(f.Status)
	}
	return f.Text
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Client reports whether the client is to blame.
func (f *Failure) Client() bool { return f.Status < http.StatusInternalServerError }

func guard(status int, format string, args ...any) *Failure {
	return &Failure{Status: status, Stage: Guarding, Text: fmt.Sprintf(format, args...)}
}

func routing(status int) *Failure { return &Failure{Status: status, Stage: Routing} }

// statuses is the one place where kinds of fault become HTTP statuses (RFC 9110, section 15; 507 of RFC 4918).
var statuses = map[fault.Kind]int{
	fault.Invalid:       http.StatusBadRequest,
	fault.NotFound:      http.StatusNotFound,
	fault.Conflict:      http.StatusConflict,
	fault.Locked:        http.StatusConflict,
	fault.Forbidden:     http.StatusForbidden,
	fault.Unauthorized:  http.StatusBadGateway, // in a handler it is a controller that refused our credentials, not we the client's
	fault.NotAcceptable: http.StatusNotAcceptable,
	fault.Unsupported:   http.StatusBadRequest,
	fault.TooLarge:      http.StatusRequestEntityTooLarge,
	fault.MediaType:     http.StatusUnsupportedMediaType,
	fault.Unavailable:   http.StatusServiceUnavailable,
	fault.Full:          http.StatusInsufficientStorage,
	fault.Timeout:       http.StatusGatewayTimeout,
	fault.Lost:          http.StatusServiceUnavailable,
}

// retryAfter is told to clients when the service cannot answer now; in seconds.
const retryAfter = "5"

// failureOf turns any error into an answer. The text of an error that is not a fault is for the log alone.
func failureOf(err error, requestID string) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	kind := fault.KindOf(err)
	f = &Failure{Status: statuses[kind], Err: err}
	switch {
	case kind != fault.Internal:
		var known *fault.Error
		errors.As(err, &known)
		f.Text = known.Text
	case errors.Is(err, context.DeadlineExceeded):
		f.Status, f.Text = http.StatusGatewayTimeout, "The request took too long and was given up."
	case errors.Is(err, context.Canceled):
		f.Status, f.Text = http.StatusServiceUnavailable, "The request was given up before it was done."
	default:
		f.Status, f.Text = http.StatusInternalServerError, "An internal error occurred: the log has it under "+requestID+"."
	}
	if f.Status == http.StatusServiceUnavailable {
		f.Header = http.Header{"Retry-After": {retryAfter}}
	}
	return f
}

func (e *endpoint) fail(w http.ResponseWriter, r *Request, err error) int {
	f := failureOf(err, r.ID)
	if f.Status == http.StatusInternalServerError {
		e.api.Log.ErrorContext(r.Context(), "request failed", "request", r.ID, "method", r.Method, "route", e.pattern, "error", err)
	}
	h := w.Header()
	for k, values := range f.Header {
		h[k] = values
	}
	if v := e.api.Versions; v != nil && f.Stage == Handling {
		v.answer(h, r.Version)
	}
	if f.Stage == Authenticating {
		contentType, body := e.api.Auth.Refuse(h, f.Text)
		e.write(w, r, f.Status, contentType, body)
		return f.Status
	}
	e.write(w, r, f.Status, "", e.api.Envelope(f))
	return f.Status
}
