// Package rest serves an HTTP API from a table of routes: it limits, authenticates, negotiates versions, decodes, and turns errors into answers.
// It knows no resource.
//
// Every request passes the same stages in the same order: limits of URL and headers, size of the body, who asks (Authenticator), the body,
// the version (Versions), the route, its query, what the subject may do (Policy), the handler. An error of any stage becomes a Failure, and
// the API's Envelope writes it in the words of its clients.
package rest

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

// API is one API: its routes, and what its clients expect around them.
type API struct {
	Routes []Route

	// Implied is put before a path that does not start with it, so that "/nodes" is served as "/v1/nodes". Empty means that paths are taken as
	// they come.
	Implied string

	// Versions is the API's microversion scheme. Nil means that it has none, and Request.Version is 0.
	Versions *Versions

	// Envelope writes the body of an error answer, in JSON.
	Envelope func(*Failure) []byte

	// Collective has a collection's Allow header name the methods of its items too, as Ironic's does.
	Collective bool

	// Auth tells who sent a request. Nil means Anyone.
	Auth Authenticator

	// Policy says what a subject may do. Nil allows everything.
	Policy Policy

	// Endpoint is the URL that links in answers start with, without a trailing slash. Empty means the URL the client used.
	Endpoint string

	// Observe is told of each request after its answer, with the pattern that matched ("" for none). Nil means nobody is.
	Observe func(method, pattern string, status int, took time.Duration)

	// Log gets internal errors. Nil means slog.Default.
	Log *slog.Logger
}

// Route is one call of an API.
type Route struct {
	Method  string
	Pattern string // as of net/http.ServeMux, without a trailing slash: "/v1/nodes/{node}"

	Since int // first minor version that has the call; 0 means all
	Below int // status before Since; 0 means 404

	Policy string   // name of the rule that Policy is asked with
	Query  []string // query keys that the call knows; AnyQuery lets all pass

	Public      bool   // needs no authentication
	Lenient     bool   // a version that cannot be served is no error here: discovery
	MaxBody     int64  // bytes; 0 means 1 MiB
	ContentType string // of bodies besides application/json

	Handler Handler
}

// AnyQuery as the only query key of a Route lets every key pass.
const AnyQuery = "*"

// Handler answers a request. An error that is a fault gets the status of its kind; any other error is internal.
type Handler func(*Request) (*Response, error)

// Policy says whether subject may do what rule names to object. object is nil when a call is refused or let in as a whole; handlers ask again
// with each object they touch, through Request.Permit. The error is fault.Forbidden, or fault.NotFound for an object that the subject may not
// even see.
type Policy func(ctx context.Context, subject *Subject, rule string, object any) error

// New returns the API as a handler. It panics when two routes are the same, or a route lacks a handler or a rule: a programmer's mistake.
func New(api API) http.Handler {
	if api.Auth == nil {
		api.Auth = Anyone{}
	}
	if api.Policy == nil {
		api.Policy = func(context.Context, *Subject, string, any) error { return nil }
	}
	if api.Log == nil {
		api.Log = slog.Default()
	}
	g := &gate{api: &api, mux: http.NewServeMux()}
	endpoints := map[string]*endpoint{}
	for i := range api.Routes {
		route := &api.Routes[i]
		if route.Handler == nil || (route.Policy == "" && !route.Public) {
			panic(fmt.Sprintf("route %s %s: no handler or no policy rule", route.Method, route.Pattern))
		}
		e := endpoints[route.Pattern]
		if e == nil {
			e = &endpoint{api: &api, pattern: route.Pattern, methods: map[string]*Route{}, maxBody: defaultMaxBody}
			endpoints[route.Pattern] = e
		}
		if e.methods[route.Method] != nil {
			panic(fmt.Sprintf("route %s %s stands twice", route.Method, route.Pattern))
		}
		e.methods[route.Method] = route
		e.maxBody = max(e.maxBody, route.MaxBody)
	}
	for pattern, e := range endpoints {
		e.allow = allow(endpoints, pattern, api.Collective)
		if pattern == "/" {
			pattern = "/{$}"
		}
		g.mux.Handle(pattern, e)
	}
	g.mux.Handle("/", &endpoint{api: &api, maxBody: defaultMaxBody})
	return g
}

// allow returns the Allow header of a pattern.
func allow(endpoints map[string]*endpoint, pattern string, collective bool) string {
	methods := map[string]bool{}
	for m := range endpoints[pattern].methods {
		methods[m] = true
	}
	for p, e := range endpoints {
		rest, below := strings.CutPrefix(p, pattern+"/{")
		if collective && below && strings.HasSuffix(rest, "}") && !strings.Contains(rest, "/") {
			for m := range e.methods {
				methods[m] = true
			}
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(methods)), ", ")
}

// gate is the outermost handler: it brings the path into the form of the patterns.
type gate struct {
	api *API
	mux *http.ServeMux
}

// ServeHTTP implements http.Handler.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	escaped := r.URL.EscapedPath()
	want := path.Clean("/" + escaped)
	if p := g.api.Implied; p != "" && want != "/" && want != p && !strings.HasPrefix(want, p+"/") {
		want = p + want
	}
	if want != escaped {
		plain, err := url.PathUnescape(want)
		if err != nil {
			plain, want = "/", "/" // cannot be: the server has parsed the path
		}
		u := *r.URL
		u.Path, u.RawPath = plain, want
		clone := *r
		clone.URL = &u
		r = &clone
	}
	g.mux.ServeHTTP(w, r)
}
