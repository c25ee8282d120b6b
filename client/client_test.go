package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/client"
	"github.com/riser-project/riser/fault"
)

// served is a client of a server that this process plays itself, without a connection, so that a test can stop the clock.
func served(h http.HandlerFunc) *client.Client {
	return &client.Client{URL: "http://riser.test", HTTP: &http.Client{Transport: wire(h)}}
}

type wire http.HandlerFunc

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	rec := httptest.NewRecorder()
	w(rec, r)
	return rec.Result(), nil
}

// answers serves one answer after the other, and the last one for ever. An answer is a status, a space, and a body.
func answers(list ...string) (http.HandlerFunc, *int) {
	n := 0
	return func(w http.ResponseWriter, _ *http.Request) {
		text := list[min(n, len(list)-1)]
		n++
		var status int
		fmt.Sscan(text, &status)
		w.WriteHeader(status)
		w.Write([]byte(text[4:]))
	}, &n
}

func TestErrorsOfEveryAPI(t *testing.T) {
	const locked = "Node U is locked by host H, please retry after the current operation is completed."
	quoted, _ := json.Marshal(`{"faultcode": "Client", "faultstring": "` + locked + `", "debuginfo": null}`)
	tests := map[string]struct {
		status int
		ctype  string
		body   string
		want   string
		kind   fault.Kind
	}{
		"Ironic's message is JSON in a string":        {409, "", `{"error_message": ` + string(quoted) + `}`, locked, fault.Locked},
		"Ironic's message is an object":               {400, "", `{"error_message": {"faultstring": "Bad."}}`, "Bad.", fault.Invalid},
		"Ironic's message is plain":                   {404, "", `{"error_message": "Node x could not be found."}`, "Node x could not be found.", fault.NotFound},
		"Ironic's routing has a description":          {406, "", `{"error_message": "{\"code\": 406, \"title\": \"Not Acceptable\", \"description\": \"Version 9.9\"}"}`, "Version 9.9", fault.NotAcceptable},
		"Ironic's routing has only a title":           {405, "", `{"error_message": "{\"code\": 405, \"title\": \"Method Not Allowed\", \"description\": \"\"}"}`, "Method Not Allowed", fault.Internal},
		"Ironic's limits are not wrapped":             {413, "", `{"faultcode":"Client","faultstring":"The request body is larger than 1024 KiB."}`, "The request body is larger than 1024 KiB.", fault.TooLarge},
		"Nova names the fault":                        {404, "", `{"itemNotFound": {"code": 404, "message": "Instance i could not be found."}}`, "Instance i could not be found.", fault.NotFound},
		"Nova refuses a version":                      {406, "", `{"errors": [{"title": "Not Acceptable", "detail": "Version 2.999 is not supported"}]}`, "Version 2.999 is not supported", fault.NotAcceptable},
		"Neutron has a type":                          {409, "", `{"NeutronError": {"type": "PortInUse", "message": "Port p is in use.", "detail": ""}}`, "Port p is in use.", fault.Conflict},
		"Neutron may say only a text":                 {400, "", `{"NeutronError": "Invalid input"}`, "Invalid input", fault.Invalid},
		"Keystone has an error":                       {401, "", `{"error": {"code": 401, "message": "The request you have made requires authentication.", "title": "Unauthorized"}}`, "The request you have made requires authentication.", fault.Unauthorized},
		"an agents' error is a text":                  {403, "", `{"error": "host a may not speak for b"}`, "host a may not speak for b", fault.Forbidden},
		"a proxy's page is not repeated":              {502, "text/html", `<html><body>bad gateway</body></html>`, "the server answered 502 Bad Gateway", fault.Internal},
		"plain text is":                               {500, "text/plain; charset=utf-8", "boom\n", "boom", fault.Internal},
		"an empty answer":                             {507, "", "", "the server answered 507 Insufficient Storage", fault.Full},
		"JSON that nobody knows":                      {400, "", `{"a": 1, "b": 2}`, "the server answered 400 Bad Request", fault.Invalid},
		"a JSON list":                                 {400, "", `["a"]`, "the server answered 400 Bad Request", fault.Invalid},
		"an error message that is neither":            {400, "", `{"error_message": 7}`, "the server answered 400 Bad Request", fault.Invalid},
		"a locked child is a lock, too":               {409, "", `{"faultstring": "Node a child_node b is presently locked and we are unable"}`, "Node a child_node b is presently locked and we are unable", fault.Locked},
		"a status that stands for no fault is no one": {418, "", ``, "the server answered 418 I'm a teapot", fault.Internal},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := served(func(w http.ResponseWriter, _ *http.Request) {
					if tt.ctype != "" {
						w.Header().Set("Content-Type", tt.ctype)
					}
					w.WriteHeader(tt.status)
					w.Write([]byte(tt.body))
				})
				err := c.Do(t.Context(), "GET", "/v1/nodes/x", nil, nil)
				var refused *client.Error
				if !errors.As(err, &refused) {
					t.Fatalf("error %v is not a *client.Error", err)
				}
				if refused.Message != tt.want || refused.Status != tt.status || fault.KindOf(err) != tt.kind {
					t.Errorf("got %d %q (%v), want %d %q (%v)", refused.Status, refused.Message, fault.KindOf(err), tt.status, tt.want, tt.kind)
				}
			})
		})
	}
}

func TestTheServersFaultsCarryTheRequestsID(t *testing.T) {
	h := func(status int, text string) error {
		return served(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Openstack-Request-Id", "req-1")
			w.WriteHeader(status)
			json.NewEncoder(w).Encode(map[string]string{"faultstring": text})
		}).Do(t.Context(), "PUT", "/v1/x", nil, nil)
	}
	for want, err := range map[string]error{
		"boom (500, request req-1)": h(500, "boom"),
		"the log has it as req-1":   h(500, "the log has it as req-1"),
		"your mistake":              h(400, "your mistake"),
	} {
		if err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
	}
}

func FuzzErrorMessages(f *testing.F) {
	f.Add(400, `{"error_message": "{\"faultstring\": \"x\"}"}`)
	f.Add(500, `{"error": null}`)
	f.Add(302, ``)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 300 || status > 599 || status == http.StatusServiceUnavailable {
			return
		}
		c := served(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			w.Write([]byte(body))
		})
		var refused *client.Error
		if err := c.Do(t.Context(), "POST", "/v1/x", nil, nil); !errors.As(err, &refused) || strings.TrimSpace(refused.Message) == "" {
			t.Errorf("error %v says nothing", err)
		}
	})
}

func TestWhatIsSent(t *testing.T) {
	tests := map[string]struct {
		auth client.Auth
		path string
		in   any
		want map[string]string
	}{
		"bare metal asks for the latest version": {nil, "/v1/nodes", nil, map[string]string{"OpenStack-API-Version": "baremetal latest", "Content-Type": "", "Accept": "application/json"}},
		"compute does, too":                      {nil, "/compute/v2.1/servers", map[string]int{}, map[string]string{"OpenStack-API-Version": "compute latest", "Content-Type": "application/json"}},
		"networking has no versions":             {nil, "/networking/v2.0/ports", nil, map[string]string{"OpenStack-API-Version": ""}},
		"a token":                                {client.Token("t0ken"), "/v1/nodes", nil, map[string]string{"X-Auth-Token": "t0ken"}},
		"a user's name and password":             {client.Basic("ann", "pa:ss"), "/v1/nodes", nil, map[string]string{"Authorization": "Basic YW5uOnBhOnNz"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := served(func(w http.ResponseWriter, r *http.Request) {
				for k, want := range tt.want {
					if got := r.Header.Get(k); got != want {
						t.Errorf("header %s: %q, want %q", k, got, want)
					}
				}
				w.WriteHeader(http.StatusNoContent)
			})
			c.Auth = tt.auth
			if err := c.Do(t.Context(), "POST", tt.path, tt.in, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatIsRepeated(t *testing.T) {
	const (
		lockedAnswer = `409 {"error_message": "{\"faultstring\": \"Node U is locked by host H, please retry\"}"}`
		conflict     = `409 {"error_message": "{\"faultstring\": \"A node with name x already exists.\"}"}`
		away         = "502 "
		ok           = "200 {}"
	)
	tests := map[string]struct {
		method   string
		patience time.Duration
		answers  []string
		asked    int
		took     time.Duration
		ok       bool
	}{
		"a read through a failing gateway, twice": {"GET", 0, []string{away, away, ok}, 3, 500 * time.Millisecond, true},
		"but not for ever":                        {"GET", 0, []string{away}, 3, 500 * time.Millisecond, false},
		"never a write":                           {"PUT", 0, []string{away, ok}, 1, 0, false},
		"a locked node is an error at once":       {"PUT", 0, []string{lockedAnswer, ok}, 1, 0, false},
		"unless the caller is patient":            {"PUT", time.Minute, []string{lockedAnswer, lockedAnswer, ok}, 3, 2 * time.Second, true},
		"as long as the patience lasts":           {"PUT", 3 * time.Second, []string{lockedAnswer}, 4, 3 * time.Second, false},
		"another conflict stays one":              {"POST", time.Minute, []string{conflict, ok}, 1, 0, false},
		"a refusal is not repeated":               {"GET", time.Minute, []string{"400 {}", ok}, 1, 0, false},
		"not even by the patient":                 {"DELETE", time.Minute, []string{away, ok}, 1, 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, asked := answers(tt.answers...)
				c := served(h)
				c.Patience = tt.patience
				start := time.Now()
				err := c.Do(t.Context(), tt.method, "/v1/nodes/x", nil, nil)
				if (err == nil) != tt.ok || *asked != tt.asked || time.Since(start) != tt.took {
					t.Errorf("asked %d times in %s: %v; want %d times in %s", *asked, time.Since(start), err, tt.asked, tt.took)
				}
			})
		})
	}
}

func TestAServerThatCannotAnswerNowIsAskedAgainWhenItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := served(func(w http.ResponseWriter, _ *http.Request) {
			if asked++; asked == 1 {
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		})
		c.Patience = time.Minute
		start := time.Now()
		if err := c.Do(t.Context(), "PUT", "/v1/x", nil, nil); err != nil || time.Since(start) != 7*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

func TestAServerThatDoesNotAnswer(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	c := &client.Client{URL: s.URL}
	err := c.Do(t.Context(), "POST", "/v1/x", nil, nil)
	if !fault.Is(err, fault.Unavailable) || !strings.HasPrefix(err.Error(), s.URL+" does not answer: dial tcp ") {
		t.Errorf("error %q", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Do(ctx, "GET", "/v1/x", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("the end of the context is told as %v", err)
	}
	c.URL = "http://[::1"
	if err := c.Do(t.Context(), "GET", "/v1/x", nil, nil); !fault.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), "http://[::1 is not the URL of a server: ") {
		t.Errorf("error %q", err)
	}
}

func TestCredentialsStayWithTheServerTheyAreFor(t *testing.T) {
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer thief.Close()
	s := httptest.NewServer(http.RedirectHandler(thief.URL+"/v1/nodes", http.StatusTemporaryRedirect))
	defer s.Close()
	for _, h := range []*http.Client{nil, s.Client()} {
		c := &client.Client{URL: s.URL, HTTP: h, Auth: client.Token("t0ken")}
		err := c.Do(t.Context(), "GET", "/v1/nodes", nil, nil)
		if want := "the server redirects to " + thief.URL + "/v1/nodes: use that address, if you trust it"; err == nil || err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
	}
}

func TestAnswersThatAreNotWhatWasAskedFor(t *testing.T) {
	tests := map[string]struct{ answer, want string }{
		"no JSON at all":  {"200 <html>", "GET /v1/x: the answer is not the JSON that was expected: invalid character '<'"},
		"nothing":         {"200 ", "GET /v1/x: the answer is empty"},
		"JSON cut short":  {`200 {"uuid": "a`, "GET /v1/x: the answer is not the JSON that was expected: unexpected EOF"},
		"another type":    {`200 {"uuid": 7}`, "GET /v1/x: the answer is not the JSON that was expected: json: cannot unmarshal number"},
		"a list at a key": {`200 {"properties": []}`, "GET /v1/x: the answer is not the JSON that was expected: json: cannot unmarshal array"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h, _ := answers(tt.answer)
			err := served(h).Do(t.Context(), "GET", "/v1/x", nil, &client.Node{})
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error %q, want %q...", err, tt.want)
			}
		})
	}
}

func TestLists(t *testing.T) {
	type item struct{ ID int }
	tests := map[string]struct {
		key   string
		limit int
		pages map[string]string // by query
		want  []item
		err   string
	}{
		"one page": {key: "nodes", pages: map[string]string{"": `{"nodes": [{"id": 1}]}`}, want: []item{{1}}},
		"Ironic's next keeps to our server, whatever host it names": {
			key: "nodes", pages: map[string]string{
				"":                 `{"nodes": [{"id": 1}], "next": "http://elsewhere:1/v1/nodes?limit=1&marker=a"}`,
				"limit=1&marker=a": `{"nodes": [{"id": 2}]}`,
			}, want: []item{{1}, {2}},
		},
		"Neutron's links": {
			key: "ports", pages: map[string]string{
				"":         `{"ports": [{"id": 1}], "ports_links": [{"rel": "previous", "href": "http://h/x?marker=z"}, {"rel": "next", "href": "http://h/x?marker=a"}]}`,
				"marker=a": `{"ports": [{"id": 2}], "ports_links": [{"rel": "previous", "href": "http://h/x?marker=z"}]}`,
			}, want: []item{{1}, {2}},
		},
		"a limit ends the list": {
			key: "nodes", limit: 3, pages: map[string]string{
				"limit=3":          `{"nodes": [{"id": 1}, {"id": 2}], "next": "http://h/v1/nodes?limit=3&marker=b"}`,
				"limit=3&marker=b": `{"nodes": [{"id": 3}, {"id": 4}], "next": "http://h/v1/nodes?limit=3&marker=d"}`,
			}, want: []item{{1}, {2}, {3}},
		},
		"nothing is an empty list":         {key: "nodes", pages: map[string]string{"": `{"nodes": []}`}, want: []item{}},
		"an answer without the list":       {key: "nodes", pages: map[string]string{"": `{"ports": []}`}, err: `list /x: the answer has no "nodes"`},
		"a list of something else":         {key: "nodes", pages: map[string]string{"": `{"nodes": ["a"]}`}, err: "list /x: the answer is not the JSON that was expected"},
		"a next that leads to itself":      {key: "nodes", pages: map[string]string{"": `{"nodes": [{"id": 1}], "next": "http://h/x"}`}, err: "list /x: the next page is the same again"},
		"a next after an empty page":       {key: "nodes", pages: map[string]string{"": `{"nodes": [], "next": "http://h/x?marker=a"}`}, err: "list /x: the next page is the same again"},
		"a next that is no URL ends it":    {key: "nodes", pages: map[string]string{"": `{"nodes": [{"id": 1}], "next": "%%"}`}, want: []item{{1}}},
		"an error on the way is the error": {key: "nodes", pages: map[string]string{}, err: "no such page"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := served(func(w http.ResponseWriter, r *http.Request) {
				page, ok := tt.pages[r.URL.RawQuery]
				if !ok {
					w.WriteHeader(http.StatusNotFound)
					page = `{"error": "no such page"}`
				}
				w.Write([]byte(page))
			})
			got, err := client.List[item](t.Context(), c, "/x", tt.key, tt.limit)
			if tt.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.err) {
					t.Errorf("error %v, want %q...", err, tt.err)
				}
				return
			}
			if d := cmp.Diff(tt.want, got); err != nil || d != "" {
				t.Errorf("%v (-want +got):\n%s", err, d)
			}
		})
	}
}
