package agents_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/riser-project/riser/agent/join"
	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/api/agents"
	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/trust"
)

// fleet is a control plane with a listener for operators and one, by mutual TLS, for agents.
type fleet struct {
	world
	t         *testing.T
	authority *trust.Authority
	listener  *httptest.Server // for agents
	operators string           // URL
}

func openFleet(t *testing.T, auth rest.Authenticator) *fleet {
	t.Helper()
	w := attachsim.New(t)
	w.Node("cmp1")
	w.Node("cmp2")
	authority, err := trust.Open(t.Context(), trust.Options{DB: w.DB})
	w.Must(err)
	o := agents.Options{DB: w.DB, Enrol: w.Enrol, Binding: w.Binder, Trust: authority, Auth: auth}
	o.Serve = agents.ForOperators
	operators := httptest.NewServer(agents.New(o))
	t.Cleanup(operators.Close)
	o.Serve = agents.ForAgents
	f := &fleet{t: t, authority: authority, listener: httptest.NewUnstartedServer(agents.New(o)), operators: operators.URL}
	f.listener.TLS = authority.ServerTLS()
	f.listener.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	f.listener.StartTLS()
	t.Cleanup(f.listener.Close)
	f.world = world{w, f.listener.URL}
	return f
}

// operate sends an operator's request and returns the status and the answer.
func (f *fleet) operate(method, path string, in any) (int, map[string]any) {
	f.t.Helper()
	return f.send(http.DefaultClient, method, f.operators+path, in)
}

func (f *fleet) send(client *http.Client, method, url string, in any) (int, map[string]any) {
	f.t.Helper()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		f.Must(err)
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(f.t.Context(), method, url, body)
	f.Must(err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	f.Must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	f.Must(err)
	var out map[string]any
	if len(text) > 0 {
		f.Must(json.Unmarshal(text, &out))
	}
	return resp.StatusCode, out
}

func (f *fleet) token(kind, name string) string {
	f.t.Helper()
	status, out := f.operate("POST", "/agents/v1/tokens", map[string]any{"kind": kind, "name": name})
	token, _ := out["token"].(string)
	if status != http.StatusCreated || token == "" {
		f.t.Fatalf("token for %s %s: %d %v", kind, name, status, out)
	}
	return token
}

// agent joins and returns its credentials.
func (f *fleet) agent(kind, name string) *join.Credentials {
	f.t.Helper()
	k, err := join.Open(f.t.Context(), join.Config{Server: f.listener.URL, Folder: f.t.TempDir(), Token: f.token(kind, name)})
	f.Must(err)
	return k
}

// speak sends an agent's request and returns the status and the text of the error.
func (f *fleet) speak(k *join.Credentials, method, path string, in any) (int, string) {
	f.t.Helper()
	status, out := f.send(k.Client(), method, f.listener.URL+path, in)
	text, _ := out["error"].(string)
	return status, text
}

func (f *fleet) want(status int, text string, want int, words ...string) {
	f.t.Helper()
	if status != want {
		f.t.Errorf("status %d (%s), want %d", status, text, want)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			f.t.Errorf("%q does not say %q", text, w)
		}
	}
}

func TestAgentsSpeakForThemselvesAloneByTheirCertificates(t *testing.T) {
	f := openFleet(t, nil)
	host1, host2 := f.agent("host", "cmp1"), f.agent("host", "cmp2")
	dpu1, dpu2 := f.agent("dpu", serial1), f.agent("dpu", serial2)
	report := wire.HostReport{Version: 1, Cards: []wire.Card{attachsim.Card(serial1, 0x81, 2, 4)}}
	for name, tt := range map[string]struct {
		as           *join.Credentials
		method, path string
		body         any
		want         int
	}{
		"a host for itself":                     {host1, "POST", "/agents/v1/hosts/cmp1/report", report, 200},
		"a host for another":                    {host2, "POST", "/agents/v1/hosts/cmp1/report", report, 403},
		"a host's heartbeat for another":        {host2, "POST", "/agents/v1/hosts/cmp1/heartbeat", wire.Heartbeat{}, 403},
		"a host that reports as a DPU":          {host1, "POST", "/agents/v1/dpus/" + serial1 + "/report", attachsim.DPUReport(serial1, "dpu-a", 2), 403},
		"a host that fetches orders":            {host1, "GET", "/agents/v1/dpus/" + serial1 + "/orders", nil, 403},
		"a host that orders":                    {host1, "POST", "/agents/v1/dpus/" + serial1 + "/orders", wire.Order{}, 403},
		"a DPU for itself":                      {dpu1, "POST", "/agents/v1/dpus/" + serial1 + "/report", attachsim.DPUReport(serial1, "dpu-a", 2), 200},
		"a DPU for another":                     {dpu2, "POST", "/agents/v1/dpus/" + serial1 + "/report", attachsim.DPUReport(serial1, "dpu-a", 2), 403},
		"a DPU that fetches another's orders":   {dpu2, "GET", "/agents/v1/dpus/" + serial1 + "/orders", nil, 403},
		"a DPU that lies about another's ports": {dpu2, "POST", "/agents/v1/dpus/" + serial1 + "/status", wire.StatusReport{}, 403},
		"a DPU that reports as a host":          {dpu1, "POST", "/agents/v1/hosts/cmp1/report", report, 403},
		"an agent that makes a token":           {dpu1, "POST", "/agents/v1/tokens", map[string]any{"kind": "host", "name": "cmp1"}, 404},
		"an agent that approves":                {dpu1, "POST", "/agents/v1/dpus/" + serial1 + "/approve", map[string]any{}, 404},
		"an agent that lists hosts":             {host1, "GET", "/agents/v1/hosts", nil, 404},
	} {
		t.Run(name, func(t *testing.T) {
			if status, text := f.speak(tt.as, tt.method, tt.path, tt.body); status != tt.want {
				t.Errorf("status %d (%s), want %d", status, text, tt.want)
			}
		})
	}
}

func TestWithoutACertificateAnAgentCanOnlyJoin(t *testing.T) {
	f := openFleet(t, nil)
	pinned := f.agent("dpu", serial1)
	transport := pinned.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.GetClientCertificate = nil
	defer transport.CloseIdleConnections()
	stranger := &http.Client{Transport: transport}
	for path, want := range map[string]int{
		"/agents/v1/hosts/cmp1/report": 401, "/agents/v1/dpus/" + serial1 + "/report": 401, "/agents/v1/dpus/" + serial1 + "/status": 401,
		"/agents/v1/renew": 401, "/agents/v1/join": 401,
	} {
		if status, out := f.send(stranger, "POST", f.listener.URL+path, map[string]any{}); status != want {
			t.Errorf("POST %s: %d %v, want %d", path, status, out, want)
		}
	}
	forged := http.Header{"X-Ssl-Client-S-Dn": {"CN=" + serial1}, "X-Forwarded-Client-Cert": {"Subject=\"CN=" + serial1 + "\""}}
	req, err := http.NewRequestWithContext(t.Context(), "GET", f.listener.URL+"/agents/v1/dpus/"+serial1+"/orders", nil)
	f.Must(err)
	req.Header = forged
	resp, err := stranger.Do(req)
	f.Must(err)
	f.Must(resp.Body.Close())
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a forged header of a proxy: %d, want 401", resp.StatusCode)
	}
}

func TestASerialThatIsPinnedIsNotJoinedAgainUntilAnOperatorApproves(t *testing.T) {
	f := openFleet(t, nil)
	first := f.agent("dpu", serial1)
	f.want(statusOf(f.speak(first, "POST", "/agents/v1/dpus/"+serial1+"/report", attachsim.DPUReport(serial1, "dpu-a", 2))), "", 200)

	token, folder := f.token("dpu", serial1), t.TempDir()
	type outcome struct {
		k   *join.Credentials
		err error
	}
	done := make(chan outcome, 1)
	refused := make(logged, 16)
	go func() {
		k, err := join.Open(t.Context(), join.Config{Server: f.listener.URL, Folder: folder, Token: token, Log: slog.New(slog.NewTextHandler(refused, nil))})
		done <- outcome{k, err}
	}()
	if line := <-refused; !strings.Contains(line, "409") || !strings.Contains(line, serial1) {
		t.Errorf("the second one hears %q", line)
	}
	_, out := f.operate("GET", "/agents/v1/identities?state=pending", nil)
	if list, _ := out["identities"].([]any); len(list) != 1 {
		t.Fatalf("waiting: %v, want one", out)
	}
	if status, out := f.operate("POST", "/agents/v1/dpus/"+serial1+"/approve", nil); status != 200 {
		t.Fatalf("approve: %d %v", status, out)
	}
	second := <-done
	f.Must(second.err)
	f.want(statusOf(f.speak(second.k, "POST", "/agents/v1/dpus/"+serial1+"/report", attachsim.DPUReport(serial1, "dpu-a", 2))), "", 200)
	status, text := f.speak(first, "GET", "/agents/v1/dpus/"+serial1+"/orders", nil)
	f.want(status, text, 401, "revoked")
}

func statusOf(status int, _ string) int { return status }

// logged is a writer that hands on each line of a log.
type logged chan string

func (l logged) Write(b []byte) (int, error) {
	select {
	case l <- string(b):
	default:
	}
	return len(b), nil
}

func TestARevokedCardIsCutOffEvenWhileItWaits(t *testing.T) {
	for name, cut := range map[string]func(*fleet, *join.Credentials){
		"revoked": func(f *fleet, _ *join.Credentials) {
			if status, out := f.operate("POST", "/agents/v1/dpus/"+serial1+"/revoke", map[string]any{"reason": "stolen"}); status != 204 {
				f.t.Fatalf("revoke: %d %v", status, out)
			}
		},
		"certificate replaced": func(f *fleet, k *join.Credentials) {
			f.Must(k.Renew(f.t.Context()))
			f.want(statusOf(f.speak(k, "POST", "/agents/v1/dpus/"+serial1+"/heartbeat", wire.Heartbeat{})), "", 200)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := openFleet(t, nil)
			k := f.agent("dpu", serial1)
			f.want(statusOf(f.speak(k, "POST", "/agents/v1/dpus/"+serial1+"/report", attachsim.DPUReport(serial1, "dpu-a", 2))), "", 200)
			var head int64
			f.Must(f.DB.Read(t.Context(), func(tx *store.Tx) (err error) {
				head, err = tx.OrderHead(t.Context(), serial1)
				return err
			}))
			waiting := make(chan int, 1)
			path := "/agents/v1/dpus/" + serial1 + "/orders?wait=50s&after=" + strconv.FormatInt(head, 10)
			old := k.Client()
			// A connection of its own, so that the one that waits keeps the certificate it began with.
			old.Transport = old.Transport.(*http.Transport).Clone()
			begun := make(chan struct{})
			go func() {
				close(begun)
				status, _ := f.send(old, "GET", f.listener.URL+path, nil)
				waiting <- status
			}()
			<-begun
			time.Sleep(100 * time.Millisecond) // lets the request reach the server; too short only makes the test weaker
			start := time.Now()
			cut(f, k)
			select {
			case status := <-waiting:
				if status != http.StatusUnauthorized {
					t.Errorf("who waited was answered %d, want 401", status)
				}
				t.Logf("cut after %s", time.Since(start).Round(time.Millisecond))
			case <-time.After(10 * time.Second):
				t.Error("who waits is not cut off")
			}
		})
	}
}

func TestAForgedSerialIsAnAlarm(t *testing.T) {
	f := openFleet(t, nil)
	host1, host2, dpu1, dpu2 := f.agent("host", "cmp1"), f.agent("host", "cmp2"), f.agent("dpu", serial1), f.agent("dpu", serial2)
	card := wire.HostReport{Version: 1, Cards: []wire.Card{attachsim.Card(serial1, 0x81, 2, 4)}}
	f.want(statusOf(f.speak(host1, "POST", "/agents/v1/hosts/cmp1/report", card)), "", 200)
	f.want(statusOf(f.speak(dpu1, "POST", "/agents/v1/dpus/"+serial1+"/report", attachsim.DPUReport(serial1, "dpu-a", 2))), "", 200)

	status, text := f.speak(dpu2, "POST", "/agents/v1/dpus/"+serial2+"/report", attachsim.DPUReport(serial1, "dpu-b", 2))
	f.want(status, text, 409, serial1, serial2)
	f.want(statusOf(f.speak(host2, "POST", "/agents/v1/hosts/cmp2/report", card)), "", 200)

	var events []*store.Event
	f.Must(f.DB.Read(t.Context(), func(tx *store.Tx) error {
		n, err := tx.NodeByCard(t.Context(), serial1)
		if err != nil {
			return err
		}
		events, err = tx.Events(t.Context(), n.UUID, "", 0, false)
		return err
	}))
	alarms := map[string]bool{}
	for _, e := range events {
		if e.Severity != "ERROR" {
			continue
		}
		for _, name := range []string{"dpu-b", "cmp2"} {
			alarms[name] = alarms[name] || strings.Contains(e.Text, name)
		}
	}
	if !alarms["dpu-b"] || !alarms["cmp2"] {
		t.Errorf("alarms in the history of the card's node: %v, want one for each liar", alarms)
	}
	_, out := f.operate("GET", "/agents/v1/hosts/cmp2", nil)
	cards, _ := out["cards"].([]any)
	if len(cards) != 1 || cards[0].(map[string]any)["refused"] == nil {
		t.Errorf("the liar's card: %v, want it refused", cards)
	}
}

func TestOperatorsSeeAndDecide(t *testing.T) {
	f := openFleet(t, nil)
	host1, dpu1 := f.agent("host", "cmp1"), f.agent("dpu", serial1)
	f.want(statusOf(f.speak(host1, "POST", "/agents/v1/hosts/cmp1/report", wire.HostReport{
		Version: 1, Cards: []wire.Card{attachsim.Card(serial1, 0x81, 2, 4)}, Virt: wire.Virt{Driver: "fake"}})), "", 200)
	f.want(statusOf(f.speak(dpu1, "POST", "/agents/v1/dpus/"+serial1+"/report", attachsim.DPUReport(serial1, "dpu-a", 2))), "", 200)
	unused := f.token("host", "cmp9")

	_, out := f.operate("GET", "/agents/v1/tokens", nil)
	tokens, _ := out["tokens"].([]any)
	if len(tokens) != 1 || tokens[0].(map[string]any)["name"] != "cmp9" || tokens[0].(map[string]any)["token"] != nil {
		t.Errorf("tokens %v, want that of cmp9 without its secret", tokens)
	}
	id, _ := tokens[0].(map[string]any)["id"].(string)
	if status, _ := f.operate("DELETE", "/agents/v1/tokens/"+id, nil); status != 204 {
		t.Errorf("deleting a token: %d", status)
	}
	if _, err := join.Open(t.Context(), join.Config{Server: f.listener.URL, Folder: t.TempDir(), Token: unused}); err == nil {
		t.Error("a token that was taken back still works")
	}
	_, out = f.operate("GET", "/agents/v1/hosts", nil)
	if list, _ := out["hosts"].([]any); len(list) != 1 || list[0].(map[string]any)["alive"] != true {
		t.Errorf("hosts %v", out)
	}
	_, out = f.operate("GET", "/agents/v1/dpus/"+serial1, nil)
	if list, _ := out["dpus"].([]any); len(list) != 1 || list[0].(map[string]any)["chassis"] != "dpu-a" || list[0].(map[string]any)["node_uuid"] == nil {
		t.Errorf("dpus %v", out)
	}
	for path, want := range map[string]int{
		"POST /agents/v1/dpus/" + serial1 + "/reset": 204, "POST /agents/v1/dpus/MT9/reset": 404, "GET /agents/v1/dpus/MT9": 404,
		"GET /agents/v1/hosts/cmp9": 404, "DELETE /agents/v1/hosts/cmp1": 204, "POST /agents/v1/hosts/cmp9/approve": 404, "POST /agents/v1/hosts/cmp9/revoke": 404,
		"DELETE /agents/v1/tokens/x": 404, "PUT /agents/v1/hosts": 405, "POST /agents/v1/hosts/cmp1/report": 404,
	} {
		method, path, _ := strings.Cut(path, " ")
		if status, out := f.operate(method, path, nil); status != want {
			t.Errorf("%s %s: %d %v, want %d", method, path, status, out, want)
		}
	}
	if status, out := f.operate("POST", "/agents/v1/tokens", map[string]any{"kind": "host", "name": "a b"}); status != 400 {
		t.Errorf("a token for nobody: %d %v", status, out)
	}
}

// project is an ordinary member of a project.
type project struct{ named }

func (project) Authenticate(*http.Request) (*rest.Subject, error) {
	return &rest.Subject{User: "bob", Project: "p1", Roles: []string{"member"}}, nil
}

func TestOnlyAdministratorsAreOperators(t *testing.T) {
	f := openFleet(t, project{})
	for _, call := range []string{"GET /agents/v1/hosts", "POST /agents/v1/tokens", "GET /agents/v1/identities", "POST /agents/v1/dpus/x/reset"} {
		method, path, _ := strings.Cut(call, " ")
		if status, out := f.operate(method, path, map[string]any{}); status != 403 {
			t.Errorf("%s: %d %v, want 403", call, status, out)
		}
	}
}

func TestCredentialsLastAndAreRenewed(t *testing.T) {
	f := openFleet(t, nil)
	folder := t.TempDir()
	c := join.Config{Server: f.listener.URL, Folder: folder, Token: f.token("host", "cmp1")}
	k, err := join.Open(t.Context(), c)
	f.Must(err)
	info, err := os.Stat(filepath.Join(folder, "identity.pem"))
	f.Must(err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file has mode %v, want 0600", info.Mode().Perm())
	}
	f.Must(k.Renew(t.Context()))
	beat := func(k *join.Credentials) int {
		return statusOf(f.speak(k, "POST", "/agents/v1/hosts/cmp1/heartbeat", wire.Heartbeat{}))
	}
	if status := beat(k); status != 200 {
		t.Fatalf("after a renewal: %d", status)
	}
	c.Token = ""
	again, err := join.Open(t.Context(), c)
	f.Must(err)
	if again.Name() != "cmp1" || beat(again) != 200 {
		t.Errorf("after a restart: %s, %d", again.Name(), beat(again))
	}
	f.Must(os.Chmod(filepath.Join(folder, "identity.pem"), 0o644))
	if _, err := join.Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), "may be read by others") {
		t.Errorf("a key that others may read: %v", err)
	}
}

func TestAnAgentTrustsTheServerOfItsTokenAlone(t *testing.T) {
	f, other := openFleet(t, nil), openFleet(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	said := make(logged, 16)
	_, err := join.Open(ctx, join.Config{
		Server: other.listener.URL, Folder: t.TempDir(), Token: f.token("host", "cmp1"), Log: slog.New(slog.NewTextHandler(said, nil)),
	})
	if err == nil || !strings.Contains(<-said, "does not belong to the authority") {
		t.Errorf("joining at a server of another authority: %v", err)
	}
	for name, c := range map[string]join.Config{
		"a server without TLS":            {Server: "http://127.0.0.1:1", Folder: t.TempDir(), Token: "x"},
		"neither a certificate nor token": {Server: "https://127.0.0.1:1", Folder: t.TempDir()},
		"a token that is none":            {Server: "https://127.0.0.1:1", Folder: t.TempDir(), Token: "x"},
	} {
		if _, err := join.Open(t.Context(), c); err == nil {
			t.Errorf("%s: joined", name)
		}
	}
	k := f.agent("host", "cmp1")
	resp, err := k.Client().Get(other.listener.URL)
	if err == nil {
		f.Must(resp.Body.Close())
		t.Error("an agent speaks to a server of another authority")
	}
}
