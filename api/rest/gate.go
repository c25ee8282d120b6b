package rest

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/riser-project/riser/fault"
)

// Limits of every request. A body's limit is its route's.
const (
	defaultMaxBody = 1 << 20
	maxURL         = 16 << 10
	maxHeaders     = 48 << 10
	maxDepth       = 25 // of nesting in a JSON body
)

// endpoint is a pattern with its methods; without methods it is every path that is not there.
type endpoint struct {
	api     *API
	pattern string
	methods map[string]*Route
	allow   string
	maxBody int64
}

// ServeHTTP implements http.Handler.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	start := time.Now()
	r := &Request{Request: req, ID: "req-" + uuid.NewString(), api: e.api}
	h := w.Header()
	h["Openstack-Request-Id"] = []string{r.ID}
	h["X-Openstack-Request-Id"] = []string{r.ID}
	status := e.answer(w, r)
	if e.api.Observe != nil {
		e.api.Observe(req.Method, e.pattern, status, time.Since(start))
	}
}

// answer serves r and returns the status of the answer. Nothing is written before the handler has returned, so a panic becomes an answer too.
func (e *endpoint) answer(w http.ResponseWriter, r *Request) int {
	resp, err := e.guarded(r)
	if err != nil {
		return e.fail(w, r, err)
	}
	h := w.Header()
	if v := e.api.Versions; v != nil {
		v.answer(h, r.Version)
	}
	for k, values := range resp.Header {
		h[k] = values
	}
	if resp.Location != "" {
		h["Location"] = []string{resp.Location}
	}
	e.write(w, r, resp.Status, resp.ContentType, resp.Body)
	return resp.Status
}

func (e *endpoint) guarded(r *Request) (resp *Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // the very value, as net/http compares it
				panic(p)
			}
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return e.serve(r)
}

func (e *endpoint) write(w http.ResponseWriter, r *Request, status int, contentType string, body []byte) {
	h := w.Header()
	if len(body) > 0 {
		if contentType == "" {
			contentType = "application/json"
		}
		h["Content-Type"] = []string{contentType}
	}
	if status != http.StatusNoContent {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client has gone: nobody is left to tell
	}
}

// serve takes r through the stages.
func (e *endpoint) serve(r *Request) (*Response, error) {
	forgetIdentity(r.Header)
	if err := e.limit(r); err != nil {
		return nil, err
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	route := e.methods[method]
	if err := e.identify(r, route); err != nil {
		return nil, err
	}
	if err := e.read(r); err != nil {
		return nil, err
	}
	if err := e.negotiate(r, route); err != nil {
		return nil, err
	}
	if err := e.choose(r, route); err != nil {
		return nil, err
	}
	r.route = route
	if err := checkQuery(r); err != nil {
		return nil, err
	}
	if !route.Public {
		if err := r.Permit(nil); err != nil {
			return nil, err
		}
	}
	return route.Handler(r)
}

// limit refuses what is too large before anything is read, and text that no store could keep.
func (e *endpoint) limit(r *Request) error {
	if len(r.URL.Path)+len(r.URL.RawQuery) > maxURL {
		return guard(http.StatusRequestURITooLong, "The URL is longer than %d bytes.", maxURL)
	}
	size := 0
	for k, values := range r.Header {
		for _, v := range values {
			size += len(k) + len(v)
		}
	}
	if size > maxHeaders {
		return guard(http.StatusRequestHeaderFieldsTooLarge, "The headers are larger than %d bytes.", maxHeaders)
	}
	if r.ContentLength > e.maxBody {
		return e.tooLarge()
	}
	if !storable(r.URL.Path) {
		return guard(http.StatusBadRequest, "The path is not text in UTF-8.")
	}
	return nil
}

func (e *endpoint) tooLarge() error {
	return guard(http.StatusRequestEntityTooLarge, "The request body is larger than %d KiB.", e.maxBody>>10)
}

// storable reports whether s is UTF-8 without NUL.
func storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

func (e *endpoint) identify(r *Request, route *Route) error {
	if route != nil && route.Public {
		r.Subject = &Subject{Anonymous: true}
		return nil
	}
	subject, err := e.api.Auth.Authenticate(r.Request)
	if fault.Is(err, fault.Unauthorized) {
		return &Failure{Status: http.StatusUnauthorized, Stage: Authenticating, Text: err.Error(), Err: err}
	}
	r.Subject = subject
	return err
}

// read takes in the whole body: its size is bounded before anybody looks at what it is.
func (e *endpoint) read(r *Request) error {
	if r.Request.Body == nil || r.Request.Body == http.NoBody {
		return nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Request.Body, e.maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return e.tooLarge()
	case err != nil:
		return guard(http.StatusBadRequest, "The request body could not be read to its end.")
	case tooDeep(body):
		return guard(http.StatusBadRequest, "The request body is nested deeper than %d levels.", maxDepth)
	}
	r.Body = body
	return nil
}

// tooDeep reports whether JSON text nests objects and lists more than maxDepth deep. It reads the text as it comes: what is not JSON is
// somebody else's fault.
func tooDeep(text []byte) bool {
	depth := 0
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{', c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}', c == ']':
			depth--
		}
	}
	return false
}

func (e *endpoint) negotiate(r *Request, route *Route) error {
	v := e.api.Versions
	if v == nil {
		return nil
	}
	minor, err := v.negotiate(r.Header)
	if err != nil && route != nil && route.Lenient {
		minor, err = v.Default, nil
	}
	r.Version = minor
	return err
}

// choose refuses a path that is not there, a method that it does not have, and a body of a foreign type.
func (e *endpoint) choose(r *Request, route *Route) error {
	switch {
	case e.methods == nil:
		return routing(http.StatusNotFound)
	case route == nil:
		f := routing(http.StatusMethodNotAllowed)
		f.Header = http.Header{"Allow": {e.allow}}
		return f
	case r.Version < route.Since && route.Below != 0:
		return routing(route.Below)
	case r.Version < route.Since:
		return routing(http.StatusNotFound)
	case len(r.Body) == 0:
		return nil
	}
	ct := r.Header.Get("Content-Type")
	if ct == "" {
		return nil
	}
	kind, _, err := mime.ParseMediaType(ct)
	if err == nil && (kind == "application/json" || kind == route.ContentType) {
		return nil
	}
	return fault.New(fault.MediaType, "The body is of type %q: send application/json.", ct)
}

func checkQuery(r *Request) error {
	var err error
	if r.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return fault.New(fault.Invalid, "The query cannot be read: it must be key=value pairs joined by &, with %% escapes.")
	}
	known := r.route.Query
	var odd []string
	for key := range r.query {
		if !slices.Contains(known, key) && !slices.Contains(known, AnyQuery) {
			odd = append(odd, key)
		}
	}
	if len(odd) > 0 {
		sort.Strings(odd)
		return fault.New(fault.Invalid, "Unexpected arguments: %s", strings.ToValidUTF8(strings.Join(odd, ", "), "?"))
	}
	for key, values := range r.query {
		for _, v := range values {
			if !storable(v) {
				return fault.New(fault.Invalid, "The query value of %s is not text in UTF-8.", key)
			}
		}
	}
	return nil
}
