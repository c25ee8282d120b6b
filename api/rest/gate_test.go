package rest_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
)

var scheme = rest.Versions{
	Service: "things", Header: "X-Things-Version", MinHeader: "X-Things-Min", MaxHeader: "X-Things-Max", Major: 1, Min: 1, Max: 20, Default: 3,
}

// envelope tells the stage of a failure beside its text, so that tests see both.
func envelope(f *rest.Failure) []byte {
	stage := [...]string{"handling", "guarding", "authenticating", "routing"}[f.Stage]
	return rest.AppendValue(nil, map[string]any{"stage": stage, "text": f.Text})
}

// echo answers with what reached it.
func echo(r *rest.Request) (*rest.Response, error) {
	return rest.OK(rest.AppendValue(nil, map[string]any{
		"version": r.Version, "thing": r.PathValue("thing"), "body": string(r.Body), "user": r.Subject.User, "endpoint": r.Endpoint(),
	})), nil
}

// failing answers with the error that its name stands for.
func failing(err error) rest.Handler {
	return func(*rest.Request) (*rest.Response, error) { return nil, err }
}

func api(change ...func(*rest.API)) http.Handler {
	a := rest.API{
		Implied: "/v1", Versions: &scheme, Envelope: envelope, Log: slog.New(slog.DiscardHandler),
		Routes: []rest.Route{
			{Method: "GET", Pattern: "/", Public: true, Lenient: true, Handler: echo},
			{Method: "GET", Pattern: "/v1/things", Policy: "list", Query: []string{"limit", "name"}, Handler: echo},
			{Method: "POST", Pattern: "/v1/things", Policy: "create", Handler: echo},
			{Method: "GET", Pattern: "/v1/things/{thing}", Policy: "get", Handler: echo},
			{Method: "PATCH", Pattern: "/v1/things/{thing}", Policy: "update", ContentType: "application/json-patch+json", Handler: echo},
			{Method: "PUT", Pattern: "/v1/large", Policy: "put", MaxBody: 2 << 20, Handler: echo},
			{Method: "GET", Pattern: "/v1/new", Since: 10, Policy: "get", Handler: echo},
			{Method: "DELETE", Pattern: "/v1/new", Since: 10, Below: http.StatusMethodNotAllowed, Policy: "delete", Handler: echo},
			{Method: "GET", Pattern: "/v1/any", Policy: "get", Query: []string{rest.AnyQuery}, Handler: echo},
			{Method: "GET", Pattern: "/v1/panic", Policy: "get", Handler: func(*rest.Request) (*rest.Response, error) { panic("the secret is xyzzy") }},
			{Method: "GET", Pattern: "/v1/broken", Policy: "get", Handler: failing(errors.New("password=hunter2"))},
			{Method: "GET", Pattern: "/v1/busy", Policy: "get", Handler: failing(fault.New(fault.Unavailable, "not now"))},
			{Method: "GET", Pattern: "/v1/full", Policy: "get", Handler: failing(fault.New(fault.Full, "no room"))},
			{Method: "GET", Pattern: "/v1/locked", Policy: "get", Handler: failing(fault.New(fault.Locked, "held"))},
			{Method: "GET", Pattern: "/v1/refused", Policy: "get", Handler: failing(fault.New(fault.Unauthorized, "the controller refused"))},
			{Method: "GET", Pattern: "/v1/late", Policy: "get", Handler: failing(context.DeadlineExceeded)},
			{Method: "GET", Pattern: "/v1/nothing", Policy: "get", Handler: func(*rest.Request) (*rest.Response, error) { return rest.NoContent(), nil }},
		},
	}
	for _, c := range change {
		c(&a)
	}
	return rest.New(a)
}

type call struct {
	method, path, body string
	header             map[string]string
	chunked            bool // the length of the body is not told
}

func (c call) do(t *testing.T, h http.Handler) *http.Response {
	t.Helper()
	var body io.Reader = http.NoBody
	if c.body != "" {
		body = strings.NewReader(c.body)
	}
	req := httptest.NewRequestWithContext(t.Context(), c.method, c.path, body)
	if c.chunked {
		req.ContentLength = -1
	}
	for k, v := range c.header {
		req.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func TestTheGate(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		call
		status int
		holds  string // in the body
		header map[string]string
	}{
		"a call is served":                              {call{method: "GET", path: "/v1/things"}, 200, `"version":3`, map[string]string{"Content-Type": "application/json", "X-Things-Version": "1.3", "X-Things-Min": "1.1", "X-Things-Max": "1.20"}},
		"a trailing slash does not matter":              {call{method: "GET", path: "/v1/things/"}, 200, "", nil},
		"doubled slashes do not matter":                 {call{method: "GET", path: "//v1///things"}, 200, "", nil},
		"a path without the version is implied":         {call{method: "GET", path: "/things/x"}, 200, `"thing":"x"`, nil},
		"an escaped slash stays in its segment":         {call{method: "GET", path: "/v1/things/a%2Fb"}, 200, `"thing":"a/b"`, nil},
		"HEAD is GET without a body":                    {call{method: "HEAD", path: "/v1/things"}, 200, "", nil},
		"another version's path is not there":           {call{method: "GET", path: "/v2"}, 404, `"stage":"routing"`, map[string]string{"X-Things-Version": ""}},
		"an unknown path is not there":                  {call{method: "GET", path: "/v1/nosuch"}, 404, `"stage":"routing"`, nil},
		"a method that is not there names those it has": {call{method: "PUT", path: "/v1/things"}, 405, `"stage":"routing"`, map[string]string{"Allow": "GET, POST"}},
		"a call of a later version is not there":        {call{method: "GET", path: "/v1/new"}, 404, "", nil},
		"a call of a later version may be no method":    {call{method: "DELETE", path: "/v1/new"}, 405, "", nil},
		"a call is there from its version on":           {call{method: "GET", path: "/v1/new", header: map[string]string{"X-Things-Version": "1.10"}}, 200, `"version":10`, nil},
		"latest is the newest version":                  {call{method: "GET", path: "/v1/new", header: map[string]string{"X-Things-Version": "LATEST"}}, 200, `"version":20`, nil},
		"the standard header wins":                      {call{method: "GET", path: "/v1/new", header: map[string]string{"X-Things-Version": "1.2", "OpenStack-API-Version": "other 1.1, things 1.12"}}, 200, `"version":12`, nil},
		"another service's version is not ours":         {call{method: "GET", path: "/v1/things", header: map[string]string{"OpenStack-API-Version": "other 9.9"}}, 200, `"version":3`, nil},
		"a version too new tells the range": {call{method: "GET", path: "/v1/things", header: map[string]string{"X-Things-Version": "1.21"}}, 406,
			"Version 1.21 was requested but the minor version is not supported by this service. The supported version range is: [1.1, 1.20].", map[string]string{"X-Things-Min": "1.1", "X-Things-Max": "1.20", "X-Things-Version": ""}},
		"another major version is refused":             {call{method: "GET", path: "/v1/things", header: map[string]string{"X-Things-Version": "2.1"}}, 406, "Mutually exclusive versions requested.", nil},
		"a version that is none is refused":            {call{method: "GET", path: "/v1/things", header: map[string]string{"X-Things-Version": "new"}}, 406, "Invalid value for X-Things-Version header", nil},
		"a version beats an unknown path":              {call{method: "GET", path: "/v1/nosuch", header: map[string]string{"X-Things-Version": "9.9"}}, 406, "", nil},
		"discovery minds no version":                   {call{method: "GET", path: "/", header: map[string]string{"X-Things-Version": "9.9"}}, 200, `"version":3`, nil},
		"an unknown query key is named":                {call{method: "GET", path: "/v1/things?limit=1&zz=1&bogus=1"}, 400, "Unexpected arguments: bogus, zz", nil},
		"a query that is not one is refused":           {call{method: "GET", path: "/v1/things?limit=%zz"}, 400, "cannot be read", nil},
		"a query with NUL is refused":                  {call{method: "GET", path: "/v1/things?name=%00"}, 400, "not text in UTF-8", nil},
		"a query that is not UTF-8 is refused":         {call{method: "GET", path: "/v1/any?name=%ff"}, 400, "not text in UTF-8", nil},
		"a path that is not UTF-8 is refused":          {call{method: "GET", path: "/v1/things/%ff"}, 400, `"stage":"guarding"`, nil},
		"any query passes where that is said":          {call{method: "GET", path: "/v1/any?what=ever"}, 200, "", nil},
		"a URL that is too long is refused":            {call{method: "GET", path: "/v1/things?name=" + strings.Repeat("n", 17<<10)}, 414, `"stage":"guarding"`, nil},
		"headers that are too large are refused":       {call{method: "GET", path: "/v1/things", header: map[string]string{"X": strings.Repeat("h", 49<<10)}}, 431, `"stage":"guarding"`, nil},
		"a body that says it is too large is refused":  {call{method: "POST", path: "/v1/things", body: big + "x"}, 413, "larger than 1024 KiB", nil},
		"a body that turns out too large is refused":   {call{method: "POST", path: "/v1/things", body: big + "x", chunked: true}, 413, `"stage":"guarding"`, nil},
		"size comes before path":                       {call{method: "POST", path: "/v1/nosuch", body: big + "x"}, 413, "", nil},
		"size comes before content type":               {call{method: "POST", path: "/v1/things", body: big + "x", header: map[string]string{"Content-Type": "text/csv"}}, 413, "", nil},
		"a body of the largest size passes":            {call{method: "POST", path: "/v1/things", body: big}, 200, "", nil},
		"a call may take more":                         {call{method: "PUT", path: "/v1/large", body: big + "x"}, 200, "", nil},
		"a body nested to the limit passes":            {call{method: "POST", path: "/v1/things", body: nested(25)}, 200, "", nil},
		"a body nested too deep is refused":            {call{method: "POST", path: "/v1/things", body: nested(26)}, 400, "nested deeper than 25", nil},
		"brackets in texts do not nest":                {call{method: "POST", path: "/v1/things", body: `"\"` + nested(40) + `"`}, 200, "", nil},
		"a foreign content type is refused":            {call{method: "POST", path: "/v1/things", body: "a=b", header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}}, 415, "send application/json", nil},
		"a content type may name its charset":          {call{method: "POST", path: "/v1/things", body: "{}", header: map[string]string{"Content-Type": "application/json; charset=utf-8"}}, 200, "", nil},
		"a patch has a type of its own":                {call{method: "PATCH", path: "/v1/things/x", body: "[]", header: map[string]string{"Content-Type": "application/json-patch+json"}}, 200, "", nil},
		"that type is for patches alone":               {call{method: "POST", path: "/v1/things", body: "[]", header: map[string]string{"Content-Type": "application/json-patch+json"}}, 415, "", nil},
		"a body without a type is taken as JSON":       {call{method: "POST", path: "/v1/things", body: "{}"}, 200, "", nil},
		"an error is internal unless it is a fault":    {call{method: "GET", path: "/v1/broken"}, 500, "An internal error occurred: the log has it under req-", nil},
		"a panic is an internal error":                 {call{method: "GET", path: "/v1/panic"}, 500, "An internal error occurred", nil},
		"a service that cannot now says when to retry": {call{method: "GET", path: "/v1/busy"}, 503, "not now", map[string]string{"Retry-After": "5", "X-Things-Version": "1.3"}},
		"a full store is told as such":                 {call{method: "GET", path: "/v1/full"}, 507, "no room", nil},
		"a locked object is a conflict":                {call{method: "GET", path: "/v1/locked"}, 409, "held", nil},
		"a controller's refusal is not the client's":   {call{method: "GET", path: "/v1/refused"}, 502, "the controller refused", nil},
		"a request that takes too long is given up":    {call{method: "GET", path: "/v1/late"}, 504, "too long", nil},
		"an answer without a body has no type":         {call{method: "GET", path: "/v1/nothing"}, 204, "", map[string]string{"Content-Type": "", "Content-Length": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.do(t, api())
			got := text(t, r)
			if r.StatusCode != c.status {
				t.Fatalf("status %d, want %d: %.200s", r.StatusCode, c.status, got)
			}
			if !strings.Contains(got, c.holds) {
				t.Errorf("the body lacks %s: %.300s", c.holds, got)
			}
			for _, secret := range []string{"hunter2", "xyzzy", "goroutine"} {
				if r.StatusCode >= 500 && strings.Contains(got, secret) {
					t.Errorf("the body tells internals: %s", got)
				}
			}
			for k, v := range c.header {
				if r.Header.Get(k) != v {
					t.Errorf("%s: %q, want %q", k, r.Header.Get(k), v)
				}
			}
			id := r.Header.Get("Openstack-Request-Id")
			if !strings.HasPrefix(id, "req-") || r.Header.Get("X-Openstack-Request-Id") != id {
				t.Errorf("request IDs %q and %q", id, r.Header.Get("X-Openstack-Request-Id"))
			}
			if c.method == "HEAD" && got != "" {
				t.Errorf("HEAD has a body: %s", got)
			}
		})
	}
}

func TestASchemeMayAnswerInTheStandardHeaders(t *testing.T) {
	v := scheme
	v.Standard, v.MinHeader, v.MaxHeader = true, "", ""
	r := call{method: "GET", path: "/v1/things", header: map[string]string{"OpenStack-API-Version": "things 1.7"}}.do(t, api(func(a *rest.API) { a.Versions = &v }))
	if got := r.Header.Get("OpenStack-API-Version"); got != "things 1.7" {
		t.Errorf("OpenStack-API-Version: %q", got)
	}
	if got := strings.Join(r.Header.Values("Vary"), ","); got != "Openstack-Api-Version,X-Things-Version" {
		t.Errorf("Vary: %s", got)
	}
}

func TestAnAPIMayHaveNoVersions(t *testing.T) {
	r := call{method: "GET", path: "/v1/things"}.do(t, api(func(a *rest.API) { a.Versions = nil }))
	if r.StatusCode != 200 || r.Header.Get("X-Things-Version") != "" {
		t.Errorf("status %d, version %q", r.StatusCode, r.Header.Get("X-Things-Version"))
	}
}

func TestACollectionMayAllowWhatItsItemsDo(t *testing.T) {
	r := call{method: "PUT", path: "/v1/things"}.do(t, api(func(a *rest.API) { a.Collective = true }))
	if got := r.Header.Get("Allow"); got != "GET, PATCH, POST" {
		t.Errorf("Allow: %s", got)
	}
}

// guest is an authenticator that knows one user, by a header.
type guest struct{}

func (guest) Authenticate(r *http.Request) (*rest.Subject, error) {
	switch {
	case r.Header.Get("X-Roles") != "":
		return &rest.Subject{User: "forged"}, nil
	case r.Header.Get("Authorization") == "ann":
		return &rest.Subject{User: "ann"}, nil
	case r.Header.Get("Authorization") == "later":
		return nil, fault.New(fault.Unavailable, "the register is closed")
	}
	return nil, fault.New(fault.Unauthorized, "who are you?")
}

func (guest) Refuse(h http.Header, text string) (contentType string, body []byte) {
	h.Set("WWW-Authenticate", "Guest")
	return "text/plain", []byte(text)
}

func TestWhoAsks(t *testing.T) {
	guarded := func(a *rest.API) { a.Auth = guest{} }
	ann := map[string]string{"Authorization": "ann"}
	for name, c := range map[string]struct {
		call
		status int
		holds  string
	}{
		"nobody is refused":                       {call{method: "GET", path: "/v1/things"}, 401, "who are you?"},
		"an unknown path is told to nobody":       {call{method: "GET", path: "/v1/nosuch"}, 401, ""},
		"a known user is let in":                  {call{method: "GET", path: "/v1/things", header: ann}, 200, `"user":"ann"`},
		"a public call needs nobody":              {call{method: "GET", path: "/"}, 200, `"user":""`},
		"a register that is closed is no refusal": {call{method: "GET", path: "/v1/things", header: map[string]string{"Authorization": "later"}}, 503, "closed"},
		"identity headers are not believed":       {call{method: "GET", path: "/v1/things", header: map[string]string{"X-Roles": "admin"}}, 401, ""},
		"who asks comes before the whole body":    {call{method: "POST", path: "/v1/things", body: nested(99)}, 401, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.do(t, api(guarded))
			if got := text(t, r); r.StatusCode != c.status || !strings.Contains(got, c.holds) {
				t.Errorf("status %d: %s", r.StatusCode, got)
			}
			if (r.StatusCode == 401) != (r.Header.Get("WWW-Authenticate") == "Guest") {
				t.Errorf("WWW-Authenticate: %q", r.Header.Get("WWW-Authenticate"))
			}
		})
	}
}

func TestThePolicyIsAskedForEachCallAndObject(t *testing.T) {
	var asked []string
	h := rest.New(rest.API{
		Envelope: envelope,
		Policy: func(_ context.Context, s *rest.Subject, rule string, object any) error {
			name, _ := object.(string)
			asked = append(asked, s.Roles[0]+" "+rule+" "+name)
			switch name {
			case "hidden":
				return fault.New(fault.NotFound, "no such thing")
			case "closed":
				return fault.New(fault.Forbidden, "not yours")
			}
			return nil
		},
		Routes: []rest.Route{{Method: "GET", Pattern: "/{thing}", Policy: "look", Handler: func(r *rest.Request) (*rest.Response, error) {
			if err := r.Permit(r.PathValue("thing")); err != nil {
				return nil, err
			}
			return rest.NoContent(), r.PermitRule("touch", "it")
		}}},
	})
	for thing, status := range map[string]int{"hidden": 404, "closed": 403, "mine": 204} {
		if r := (call{method: "GET", path: "/" + thing}).do(t, h); r.StatusCode != status {
			t.Errorf("%s: status %d, want %d", thing, r.StatusCode, status)
		}
	}
	if got := strings.Join(asked, ", "); !strings.Contains(got, "admin look , admin look mine, admin touch it") {
		t.Errorf("asked: %s", got)
	}
}

func TestEachRequestIsObserved(t *testing.T) {
	var seen []string
	h := api(func(a *rest.API) {
		a.Observe = func(method, pattern string, status int, took time.Duration) {
			if took < 0 {
				t.Error("time ran backwards")
			}
			seen = append(seen, method+" "+pattern+" "+http.StatusText(status))
		}
	})
	call{method: "GET", path: "/v1/things/x"}.do(t, h)
	call{method: "GET", path: "/v1/nosuch"}.do(t, h)
	if got := strings.Join(seen, "; "); got != "GET /v1/things/{thing} OK; GET  Not Found" {
		t.Errorf("seen: %s", got)
	}
}

func TestLinksStartWithTheClientsOrTheOperatorsURL(t *testing.T) {
	if got := text(t, call{method: "GET", path: "/v1/things"}.do(t, api())); !strings.Contains(got, `"endpoint":"http://example.com"`) {
		t.Errorf("%s", got)
	}
	public := func(a *rest.API) { a.Endpoint = "https://metal.example/bare" }
	if got := text(t, call{method: "GET", path: "/v1/things"}.do(t, api(public))); !strings.Contains(got, `"endpoint":"https://metal.example/bare"`) {
		t.Errorf("%s", got)
	}
}

func TestAMistakeInTheTableStopsTheStart(t *testing.T) {
	for name, routes := range map[string][]rest.Route{
		"the same route twice":    {{Method: "GET", Pattern: "/a", Policy: "p", Handler: echo}, {Method: "GET", Pattern: "/a", Policy: "p", Handler: echo}},
		"a route without handler": {{Method: "GET", Pattern: "/a", Policy: "p"}},
		"a route without a rule":  {{Method: "GET", Pattern: "/a", Handler: echo}},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			rest.New(rest.API{Routes: routes})
		})
	}
}

func TestDecoding(t *testing.T) {
	decode := func(optional bool) http.Handler {
		return rest.New(rest.API{Envelope: envelope, Routes: []rest.Route{{Method: "POST", Pattern: "/", Policy: "p", Handler: func(r *rest.Request) (*rest.Response, error) {
			o, err := r.Object(optional)
			if err != nil {
				return nil, err
			}
			return rest.OK(rest.AppendValue(nil, o)), nil
		}}}})
	}
	for name, c := range map[string]struct {
		body     string
		optional bool
		status   int
		holds    string
	}{
		"an object":                      {`{"a": 1}`, false, 200, `{"a":1}`},
		"nothing where something must":   {"", false, 400, "needs a body"},
		"nothing where nothing will do":  {"", true, 200, "{}"},
		"cut off":                        {`{"a": `, false, 400, "ends too early"},
		"not JSON":                       {`{a: 1}`, false, 400, "cannot be read as JSON"},
		"a list":                         {`[1]`, false, 400, "a JSON array does not fit there"},
		"null":                           {`null`, false, 400, "not null"},
		"two values":                     {`{} {}`, false, 400, "more after the first value"},
		"a number that no one can hold":  {`{"a": 1e999}`, false, 400, "cannot be read as JSON"},
		"bytes that are not UTF-8 are ?": {"{\"a\": \"\xff\"}", false, 200, "\ufffd"},
	} {
		t.Run(name, func(t *testing.T) {
			r := call{method: "POST", path: "/", body: c.body}.do(t, decode(c.optional))
			if got := text(t, r); r.StatusCode != c.status || !strings.Contains(got, c.holds) {
				t.Errorf("status %d: %s", r.StatusCode, got)
			}
		})
	}
}
