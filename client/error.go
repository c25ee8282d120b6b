package client

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/riser-project/riser/fault"
)

// Error is a refusal by the server: an answer that is not 2xx.
type Error struct {
	Status     int           // of HTTP
	Message    string        // what the server says, in its own words; never empty
	RequestID  string        // under which the server's log has the request; may be empty
	RetryAfter time.Duration // that the server asks to wait; 0 when it does not
}

// Error returns the message. When the server is to blame the request's ID follows, for whoever reads the server's log.
func (e *Error) Error() string {
	if e.Status >= http.StatusInternalServerError && e.RequestID != "" && !strings.Contains(e.Message, e.RequestID) {
		return fmt.Sprintf("%s (%d, request %s)", e.Message, e.Status, e.RequestID)
	}
	return e.Message
}

// Unwrap returns the fault that the status stands for, so that fault.KindOf and fault.Is see it.
func (e *Error) Unwrap() error { return &fault.Error{Kind: e.kind(), Text: e.Message} }

// gateway reports whether it may not have been the server itself that answered.
func (e *Error) gateway() bool {
	switch e.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// kinds has the fault that each status stands for (RFC 9110, section 15).
var kinds = map[int]fault.Kind{
	http.StatusBadRequest:            fault.Invalid,
	http.StatusUnauthorized:          fault.Unauthorized,
	http.StatusForbidden:             fault.Forbidden,
	http.StatusNotFound:              fault.NotFound,
	http.StatusNotAcceptable:         fault.NotAcceptable,
	http.StatusConflict:              fault.Conflict,
	http.StatusRequestEntityTooLarge: fault.TooLarge,
	http.StatusUnsupportedMediaType:  fault.MediaType,
	http.StatusUnprocessableEntity:   fault.Invalid,
	http.StatusServiceUnavailable:    fault.Unavailable,
	http.StatusGatewayTimeout:        fault.Timeout,
	http.StatusInsufficientStorage:   fault.Full,
}

func (e *Error) kind() fault.Kind {
	if e.Status == http.StatusConflict && (strings.Contains(e.Message, " is locked by host ") || strings.Contains(e.Message, " is presently locked ")) {
		return fault.Locked
	}
	return kinds[e.Status]
}

func newError(resp *http.Response, body []byte) *Error {
	e := &Error{Status: resp.StatusCode, Message: message(resp, body)}
	for _, h := range [...]string{"Openstack-Request-Id", "X-Openstack-Request-Id", "X-Compute-Request-Id"} {
		if e.RequestID == "" {
			e.RequestID = resp.Header.Get(h)
		}
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

// message returns what the server says in an error answer, whichever of its APIs wrote it.
func message(resp *http.Response, body []byte) string {
	if to := resp.Header.Get("Location"); resp.StatusCode/100 == 3 && to != "" {
		return fmt.Sprintf("the server redirects to %s: use that address, if you trust it", to)
	}
	if text := strings.TrimSpace(envelope(body)); text != "" {
		return text
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if text := strings.TrimSpace(string(body)); err == nil && kind == "text/plain" && text != "" && len(text) <= 1000 {
		return text
	}
	return strings.TrimSpace(fmt.Sprintf("the server answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode)))
}

// envelope returns the text in the error body of one of the APIs, or "":
//
//	{"error_message": "{\"faultstring\": \"...\"}"}   Ironic; the inner JSON may also have title and description, or stand on its own
//	{"itemNotFound": {"code": 404, "message": "..."}}  Nova
//	{"errors": [{"title": "...", "detail": "..."}]}    Nova, for versions
//	{"NeutronError": {"message": "...", "type": ""}}   Neutron
//	{"error": {"message": "..."}}, {"error": "..."}    Keystone, basic authentication, riser's agents
func envelope(body []byte) string {
	var m map[string]json.RawMessage
	if json.Unmarshal(body, &m) != nil {
		return ""
	}
	if inner, ok := m["error_message"]; ok {
		return faultText(inner)
	}
	for _, key := range [...]string{"faultstring", "message"} {
		if text := textIn(m, key); text != "" {
			return text
		}
	}
	var list []map[string]json.RawMessage
	if json.Unmarshal(m["errors"], &list) == nil && len(list) > 0 {
		return textIn(list[0], "detail", "title")
	}
	if len(m) != 1 {
		return ""
	}
	for _, v := range m {
		var object map[string]json.RawMessage
		var text string
		if json.Unmarshal(v, &object) == nil {
			return textIn(object, "message", "title")
		}
		if json.Unmarshal(v, &text) == nil {
			return text
		}
	}
	return ""
}

// faultText reads Ironic's error_message: text that holds JSON, an object, or plain text.
func faultText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		raw = json.RawMessage(text)
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return text
	}
	return textIn(m, "faultstring", "description", "title")
}

// textIn returns the first text that is not empty among the values of these keys.
func textIn(m map[string]json.RawMessage, keys ...string) string {
	for _, k := range keys {
		var text string
		if json.Unmarshal(m[k], &text) == nil && text != "" {
			return text
		}
	}
	return ""
}
