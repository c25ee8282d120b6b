package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/riser-project/riser/fault"
)

// Request is a request that has passed the gate.
type Request struct {
	*http.Request

	ID      string   // of this request, as in its answer's headers: "req-" and a UUID
	Version int      // minor version in force
	Subject *Subject // who asks
	Body    []byte   // whole, within its limits

	api   *API
	route *Route
	query url.Values
}

// Endpoint returns the URL that links start with, without a trailing slash.
func (r *Request) Endpoint() string {
	if r.api.Endpoint != "" {
		return r.api.Endpoint
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// Query returns the parsed query.
func (r *Request) Query() url.Values { return r.query }

// Permit asks the API's policy whether the subject may do what the route's rule names to object.
func (r *Request) Permit(object any) error { return r.PermitRule(r.route.Policy, object) }

// PermitRule is Permit for another rule than the route's.
func (r *Request) PermitRule(rule string, object any) error {
	return r.api.Policy(r.Context(), r.Subject, rule, object)
}

// Object decodes the body as a JSON object (RFC 8259). An empty body is an empty object when optional. The error is fault.Invalid.
func (r *Request) Object(optional bool) (map[string]any, error) {
	if optional && len(bytes.TrimSpace(r.Body)) == 0 {
		return map[string]any{}, nil
	}
	var v map[string]any
	if err := r.Decode(&v); err != nil {
		return nil, err
	}
	if v == nil {
		return nil, fault.New(fault.Invalid, "The body must be a JSON object, not null.")
	}
	return v, nil
}

// Decode decodes the body as JSON into v. The error is fault.Invalid for a body that is not JSON, has more than one value, or does not fit v.
func (r *Request) Decode(v any) error {
	if len(bytes.TrimSpace(r.Body)) == 0 {
		return fault.New(fault.Invalid, "The request needs a body in JSON.")
	}
	dec := json.NewDecoder(bytes.NewReader(r.Body))
	if err := dec.Decode(v); err != nil {
		return fault.New(fault.Invalid, "The body cannot be read as JSON: %s.", jsonReason(err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fault.New(fault.Invalid, "The body cannot be read as JSON: there is more after the first value.")
	}
	return nil
}

// jsonReason says what is wrong in the words of JSON, without names of this program's types.
func jsonReason(err error) string {
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field != "":
		return "a JSON " + wrong.Value + " does not fit at " + wrong.Field
	case errors.As(err, &wrong):
		return "a JSON " + wrong.Value + " does not fit there"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends too early"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// Response is an answer. Body is JSON unless ContentType says otherwise; an empty body has no content type.
type Response struct {
	Status      int
	Location    string
	ContentType string
	Header      http.Header // more headers, or nil
	Body        []byte
}

// OK answers 200 with a body in JSON.
func OK(body []byte) *Response { return &Response{Status: http.StatusOK, Body: body} }

// Created answers 201 with the new object, and where it is.
func Created(location string, body []byte) *Response {
	return &Response{Status: http.StatusCreated, Location: location, Body: body}
}

// Accepted answers 202 without a body; location, if not empty, is where to look for the outcome.
func Accepted(location string) *Response {
	return &Response{Status: http.StatusAccepted, Location: location}
}

// NoContent answers 204.
func NoContent() *Response { return &Response{Status: http.StatusNoContent} }
