package agents_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/api/agents"
	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/placement"
	"github.com/riser-project/riser/store"
)

const (
	serial1 = "MT2113X00001"
	serial2 = "MT2113X00002"
)

// named believes the header Test-Name.
type named struct{}

func (named) Authenticate(r *http.Request) (*rest.Subject, error) {
	if name := r.Header.Get("Test-Name"); name != "" {
		return &rest.Subject{User: name}, nil
	}
	return nil, fault.New(fault.Unauthorized, "no name")
}

func (named) Refuse(http.Header, string) (contentType string, body []byte) {
	return "application/json", []byte(`{"error":"who are you?"}`)
}

type world struct {
	*attachsim.World
	url string
}

func open(t *testing.T, auth rest.Authenticator) world {
	t.Helper()
	w := attachsim.New(t)
	w.Node("cmp1")
	server := httptest.NewServer(agents.New(agents.Options{DB: w.DB, Enrol: w.Enrol, Binding: w.Binder, HostAuth: auth, DPUAuth: auth}))
	t.Cleanup(server.Close)
	return world{w, server.URL}
}

// call sends a request, decodes the answer into out, and returns the status and the text of an error.
func (w world) call(t *testing.T, as, method, path string, in, out any) (int, string) {
	t.Helper()
	var body io.Reader
	if text, ok := in.(string); ok {
		body = strings.NewReader(text)
	} else if in != nil {
		b, err := json.Marshal(in)
		w.Must(err)
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, w.url+path, body)
	w.Must(err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Test-Name", as)
	resp, err := http.DefaultClient.Do(req)
	w.Must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	w.Must(err)
	if resp.StatusCode != http.StatusOK {
		var e wire.Error
		if err := json.Unmarshal(text, &e); err != nil || e.Error == "" {
			t.Fatalf("status %d without an error that can be read: %s", resp.StatusCode, text)
		}
		return resp.StatusCode, e.Error
	}
	if out != nil {
		w.Must(json.Unmarshal(text, out))
	}
	return resp.StatusCode, ""
}

func (w world) must(t *testing.T, method, path string, in, out any) {
	t.Helper()
	if status, text := w.call(t, "", method, path, in, out); status != http.StatusOK {
		t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
}

// enrol reports a host with one card, and its DPU.
func (w world) enrol(t *testing.T) {
	t.Helper()
	w.must(t, "POST", "/agents/v1/hosts/cmp1/report", wire.HostReport{
		Version: 1, Fingerprint: "f1", Cards: []wire.Card{attachsim.Card(serial1, 0x81, 2, 4)}, Virt: wire.Virt{Driver: "fake"},
	}, nil)
	w.must(t, "POST", "/agents/v1/dpus/"+serial1+"/report", attachsim.DPUReport(serial1, "dpu-a", 2), nil)
}

func (w world) bind(t *testing.T) *store.VPort {
	t.Helper()
	p := w.Port(w.Network(""))
	_, _, err := w.Placer.Place(t.Context(), placement.Request{Server: uuid.NewString(), NUMANode: -1, Ports: []placement.Port{{ID: p.ID}}},
		func(tx *store.Tx, _ string, claims []*store.Claim) error {
			return w.Binder.Bind(t.Context(), tx, claims[0], "compute:nova")
		})
	w.Must(err)
	return p
}

func TestReportsAndHeartbeats(t *testing.T) {
	w := open(t, nil)
	w.enrol(t)
	var reply wire.Reply
	w.must(t, "POST", "/agents/v1/hosts/cmp1/heartbeat", wire.Heartbeat{Version: 1, Fingerprint: "f1"}, &reply)
	if reply.Node == "" || reply.Rediscover || reply.Interval != 10*time.Second || reply.Lease != 40*time.Second {
		t.Errorf("host's heartbeat: %+v", reply)
	}
	w.must(t, "POST", "/agents/v1/dpus/"+serial1+"/heartbeat", wire.Heartbeat{Version: 1, Fingerprint: "other"}, &reply)
	if !reply.Rediscover {
		t.Errorf("heartbeat with an unknown fingerprint: %+v", reply)
	}
}

func TestOrdersAreFullFirstAndThenOnlyNews(t *testing.T) {
	w := open(t, nil)
	w.enrol(t)
	path := "/agents/v1/dpus/" + serial1 + "/orders"
	var orders wire.Orders
	w.must(t, "GET", path, nil, &orders)
	if !orders.Full || len(orders.Orders) != 0 || orders.Revision == 0 {
		t.Fatalf("a card without orders: %+v", orders)
	}
	p := w.bind(t)
	var news wire.Orders
	w.must(t, "GET", fmt.Sprintf("%s?after=%d", path, orders.Revision), nil, &news)
	if news.Full || len(news.Orders) != 1 || news.Orders[0].Port != p.ID || news.Orders[0].Action != wire.Plug || news.Orders[0].Generation != 1 {
		t.Fatalf("after the order: %+v", news)
	}
	w.must(t, "GET", fmt.Sprintf("%s?after=%d", path, news.Revision), nil, &orders)
	if orders.Full || len(orders.Orders) != 0 {
		t.Errorf("nothing is new: %+v", orders)
	}
	w.must(t, "GET", fmt.Sprintf("%s?after=%d", path, news.Revision+1000), nil, &orders)
	if !orders.Full || len(orders.Orders) != 1 {
		t.Errorf("a revision that riser did not give: %+v, want the full list", orders)
	}
	w.must(t, "POST", "/agents/v1/dpus/"+serial1+"/status", wire.StatusReport{Ports: []wire.PortStatus{
		{Port: p.ID, Generation: 1, State: wire.Plugged, Representor: "pf0vf0"},
	}}, nil)
	w.Must(w.Binder.Reconcile(t.Context()))
	if got := w.ReadPort(p.ID); got.Status != network.StatusActive {
		t.Errorf("the port is %s: %s", got.Status, got.StatusReason)
	}
}

func TestALongPollAnswersAsSoonAsThereIsAnOrder(t *testing.T) {
	w := open(t, nil)
	w.enrol(t)
	path := "/agents/v1/dpus/" + serial1 + "/orders"
	var first wire.Orders
	w.must(t, "GET", path, nil, &first)
	got := make(chan wire.Orders, 1)
	started := time.Now()
	go func() {
		var orders wire.Orders
		w.call(t, "", "GET", fmt.Sprintf("%s?after=%d&wait=30s", path, first.Revision), nil, &orders)
		got <- orders
	}()
	w.bind(t)
	if orders := <-got; len(orders.Orders) != 1 || time.Since(started) > 10*time.Second {
		t.Errorf("after %s: %+v", time.Since(started), orders)
	}
	var none wire.Orders
	w.must(t, "GET", fmt.Sprintf("%s?after=%d&wait=1ms", path, time.Now().Add(-time.Hour).UnixMicro()), nil, &none)
	if len(none.Orders) != 1 {
		t.Errorf("orders after an old revision: %+v", none)
	}
}

func TestWhoMaySpeakForWhom(t *testing.T) {
	w := open(t, named{})
	report := wire.HostReport{Version: 1, Cards: []wire.Card{attachsim.Card(serial1, 0x81, 2, 4)}}
	dpu := attachsim.DPUReport(serial1, "dpu-a", 2)
	for name, tt := range map[string]struct {
		as, method, path string
		body             any
		want             int
	}{
		"a host for itself":                   {"cmp1", "POST", "/agents/v1/hosts/cmp1/report", report, 200},
		"a host for another":                  {"cmp2", "POST", "/agents/v1/hosts/cmp1/report", report, 403},
		"a host's heartbeat for another":      {"cmp2", "POST", "/agents/v1/hosts/cmp1/heartbeat", wire.Heartbeat{}, 403},
		"a DPU for itself":                    {serial1, "POST", "/agents/v1/dpus/" + serial1 + "/report", dpu, 200},
		"a DPU for another":                   {serial2, "POST", "/agents/v1/dpus/" + serial1 + "/report", dpu, 403},
		"a DPU that fetches another's orders": {serial2, "GET", "/agents/v1/dpus/" + serial1 + "/orders", nil, 403},
		"a DPU that lies about another":       {serial2, "POST", "/agents/v1/dpus/" + serial1 + "/status", wire.StatusReport{}, 403},
		"a host that fetches orders":          {"cmp1", "GET", "/agents/v1/dpus/" + serial1 + "/orders", nil, 403},
		"somebody unknown":                    {"", "POST", "/agents/v1/hosts/cmp1/report", report, 401},
	} {
		t.Run(name, func(t *testing.T) {
			if status, text := w.call(t, tt.as, tt.method, tt.path, tt.body, nil); status != tt.want {
				t.Errorf("status %d (%s), want %d", status, text, tt.want)
			}
		})
	}
}

func TestBadInput(t *testing.T) {
	w := open(t, nil)
	w.enrol(t)
	card := func(f func(*wire.Card)) wire.HostReport {
		c := attachsim.Card(serial1, 0x81, 1, 4)
		f(&c)
		return wire.HostReport{Version: 1, Cards: []wire.Card{c}}
	}
	hosts, dpus := "/agents/v1/hosts/cmp1/report", "/agents/v1/dpus/"+serial1
	for name, tt := range map[string]struct {
		method, path string
		body         any
		status       int
		text         string
	}{
		"malformed JSON":            {"POST", hosts, `{"version":`, 400, "cannot be read as JSON"},
		"two values":                {"POST", hosts, `{} {}`, 400, "more after the first value"},
		"a body that is too large":  {"POST", hosts, `{"x":"` + strings.Repeat("x", 5<<20) + `"}`, 413, "larger than"},
		"a host name that is none":  {"POST", "/agents/v1/hosts/a%20b/report", wire.HostReport{}, 400, "must be 1 to 255 characters"},
		"a card without functions":  {"POST", hosts, card(func(c *wire.Card) { c.PFs = nil }), 400, "has no functions"},
		"an address that is none":   {"POST", hosts, card(func(c *wire.Card) { c.PFs[0].Address = "82:00" }), 400, `PCI address "82:00"`},
		"a PF twice":                {"POST", hosts, card(func(c *wire.Card) { c.PFs = append(c.PFs, c.PFs[0]) }), 400, "is reported twice"},
		"VFs out of order":          {"POST", hosts, card(func(c *wire.Card) { c.PFs[0].VFs[0].First = -1 }), 400, "out of order or impossible"},
		"VFs beyond the PCI domain": {"POST", hosts, card(func(c *wire.Card) { c.PFs[0].VFs[0].Stride = 1 << 20 }), 400, "leaves its PCI domain"},
		"a MAC that is none":        {"POST", hosts, card(func(c *wire.Card) { c.PFs[0].MAC = "x" }), 400, `"x" is not a MAC address`},
		"a DPU under another name":  {"POST", dpus + "/report", attachsim.DPUReport(serial2, "dpu-b", 1), 409, "reports to be that of card " + serial2},
		"a DPU without a chassis":   {"POST", dpus + "/report", attachsim.DPUReport(serial1, "", 1), 400, "chassis name"},
		"a revision that is none":   {"GET", dpus + "/orders?after=x", nil, 400, "is not a revision"},
		"a wait that is none":       {"GET", dpus + "/orders?wait=x", nil, 400, "is not a duration"},
		"orders of an unknown card": {"GET", "/agents/v1/dpus/MT9/orders", nil, 404, "has not reported"},
		"a path that is not there":  {"GET", "/agents/v1/hosts/cmp1/orders", nil, 404, "Not Found"},
		"a foreign method":          {"PUT", hosts, wire.HostReport{}, 405, "Method Not Allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			status, text := w.call(t, "", tt.method, tt.path, tt.body, nil)
			if status != tt.status || !strings.Contains(text, tt.text) {
				t.Errorf("%d %q, want %d with %q", status, text, tt.status, tt.text)
			}
		})
	}
}

func BenchmarkClaimToPlugged(b *testing.B) {
	w, dpus := attachsim.Standard(b)
	w.Start(w.Binder.Run)
	for _, d := range dpus {
		w.Start(d.Run)
	}
	blue := w.Network("")
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		p := w.Port(blue)
		woken, cancel := w.DB.Subscribe(store.TopicPort(p.ID))
		b.StartTimer()
		_, _, err := w.Placer.Place(b.Context(), placement.Request{Server: p.ID, NUMANode: -1, Ports: []placement.Port{{ID: p.ID}}},
			func(tx *store.Tx, _ string, claims []*store.Claim) error {
				return w.Binder.Bind(b.Context(), tx, claims[0], "compute:nova")
			})
		w.Must(err)
		for w.ReadPort(p.ID).Status != network.StatusActive {
			<-woken
		}
		b.StopTimer()
		w.Write(func(tx *store.Tx) error { return w.Binder.Unbind(b.Context(), tx, p.ID) })
		for len(w.Claims(store.ClaimQuery{Port: p.ID})) > 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
		b.StartTimer()
	}
}
