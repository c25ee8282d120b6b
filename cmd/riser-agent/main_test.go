package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riser-project/riser/agent/wire"
	simhost "github.com/riser-project/riser/internal/sim/host"
	"github.com/riser-project/riser/internal/sim/ovs"
)

// run carries out a command line until it ends or stop says so, and returns its exit code and what it said.
func run(ctx context.Context, args ...string) (code int, out string) {
	var text bytes.Buffer
	cmd := root()
	cmd.SetArgs(args)
	cmd.SetOut(&text)
	cmd.SetErr(&text)
	return execute(ctx, cmd), text.String()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExitCodes(t *testing.T) {
	const server = "--server=http://127.0.0.1:1"
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"the version", []string{"version"}, done, "riser-agent devel"},
		{"help", []string{"dpu", "--help"}, done, "RISER_AGENT_SERVER"},
		{"no command", nil, wrong, "want host, dpu or version"},
		{"a command that is none", []string{"fly"}, wrong, "fly"},
		{"an argument", []string{"dpu", "now"}, wrong, "now"},
		{"a flag that is none", []string{"dpu", "--fast"}, wrong, "--fast"},
		{"no server", []string{"dpu"}, wrong, "--server is missing"},
		{"a server that is none", []string{"dpu", "--server=riser.example"}, wrong, "want a URL such as"},
		{"a word for the log that is none", []string{"dpu", server, "--log-level=loud"}, wrong, "want one of [debug info warn error]"},
		{"an endpoint that is none", []string{"dpu", server, "--ovsdb=/run/db.sock"}, wrong, "want unix:/absolute/path or tcp:host:port"},
		{"a serial number that is a placeholder", []string{"dpu", server, "--serial=N/A"}, wrong, "is a placeholder"},
		{"a physical network without an uplink", []string{"dpu", server, "--physical-networks=physnet1"}, wrong, "want NETWORK:UPLINK"},
		{"an uplink on two physical networks", []string{"dpu", server, "--physical-networks=a:p0,b:p0"}, wrong, "uplink p0 is on a and on b"},
		{"a certificate without its key", []string{"dpu", server, "--cert-file=x"}, wrong, "go together"},
		{"a certificate without encryption", []string{"dpu", server, "--ca-file=x"}, wrong, "want https"},
		{"a joined agent without encryption", []string{"dpu", server, "--identity-folder=" + dir}, wrong, "want https"},
		{"two sources of certificates", []string{"dpu", "--server=https://riser.example", "--identity-folder=" + dir, "--ca-file=x"}, wrong, "leave --ca-file"},
		{"a token without a folder", []string{"dpu", "--server=https://riser.example", "--join-token-file=x"}, wrong, "needs --identity-folder"},
		{"neither a certificate nor a token", []string{"dpu", "--server=https://127.0.0.1:1", "--identity-folder=" + dir + "/id"}, failed, "there is no token"},
		{"a token that is none", []string{"dpu", "--server=https://127.0.0.1:1", "--identity-folder=" + dir + "/id", "--join-token-file=" + write(t, "token", "x")}, failed, "not of the form"},
		{"a certificate that is not there", []string{"dpu", "--server=https://riser.example", "--ca-file=" + dir + "/none"}, failed, "none: no such file"},
		{"a file that has no certificate", []string{"dpu", "--server=https://riser.example", "--ca-file=" + write(t, "ca.pem", "x")}, failed, "no certificate in PEM form"},
		{"a key that is none", []string{"dpu", "--server=https://riser.example", "--cert-file=" + write(t, "c.pem", "x"), "--key-file=" + write(t, "k.pem", "x")}, failed, "--cert-file and --key-file"},
		{"a setting in the file that is none", []string{"dpu", "--config=" + write(t, "a.yaml", "server: http://x\nserver-name: y\n")}, wrong, `unknown setting "server-name"`},
		{"a file that is not there", []string{"dpu", "--config=" + dir + "/none.yaml"}, wrong, "no such file"},
		{"a rule that is none", []string{"host", server, "--device-spec={"}, wrong, "--device-spec"},
		{"a source that is none", []string{"host", server, "--source=guess"}, wrong, "want one of [sysfs libvirt]"},
		{"a libvirt that is none", []string{"host", server, "--source=libvirt", "--libvirt-uri=x"}, wrong, "--libvirt-uri"},
		{"a virt driver that is none", []string{"host", server, "--virt-driver=vmware"}, wrong, "want one of [libvirt fake none]"},
		{"a host without a name", []string{"host", server, "--host=", "--sysfs=" + emptySysfs(t)}, wrong, "the host has no name"},
		{"a sysfs without PCI", []string{"host", server, "--sysfs=" + dir}, failed, dir},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out := run(t.Context(), tt.args...)
			if code != tt.code || !strings.Contains(out, tt.want) {
				t.Errorf("exit code %d, want %d with %q; it said\n%s", code, tt.code, tt.want, out)
			}
		})
	}
}

func emptySysfs(t *testing.T) string {
	t.Helper()
	h, err := simhost.New(filepath.Join(t.TempDir(), "sys"), simhost.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h.Root()
}

// server takes reports, and tells of the first one.
func server(t *testing.T) (url string, first func() (path string, body map[string]any)) {
	t.Helper()
	type report struct {
		path string
		body map[string]any
	}
	reports := make(chan report, 1)
	var once sync.Once
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/report") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		once.Do(func() { reports <- report{r.URL.Path, body} })
		_ = json.NewEncoder(w).Encode(wire.Reply{Interval: time.Minute})
	}))
	t.Cleanup(s.Close)
	return s.URL, func() (string, map[string]any) {
		t.Helper()
		select {
		case r := <-reports:
			return r.path, r.body
		case <-time.After(10 * time.Second):
			t.Fatal("there was no report")
			return "", nil
		}
	}
}

// background runs a command line until the test ends, which must be its success.
func background(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if code, out := run(ctx, args...); code != done {
			t.Errorf("exit code %d; it said\n%s", code, out)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
}

func TestTheHostAgentReports(t *testing.T) {
	h, err := simhost.New(filepath.Join(t.TempDir(), "sys"), simhost.Config{SystemUUID: "4c4c4544-0038-3510-8052-b4c04f4e4b32"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	card, err := simhost.BlueField3(simhost.BlueField{Serial: "MT2113X00042", Bus: 0x82, MAC: "b8:3f:d2:00:82:00", PFs: 1, VFs: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Plug(card); err != nil {
		t.Fatal(err)
	}
	url, first := server(t)
	file := write(t, "host.yaml", "server: "+url+"\nhost: cmp1\ndevice-spec:\n- '{\"vendor_id\":\"15b3\",\"product_id\":\"101e\",\"remote_managed\":\"true\"}'\n")
	t.Setenv("RISER_AGENT_SYSFS", h.Root())
	background(t, "host", "--config="+file, "--virt-driver=fake")
	path, body := first()
	cards, _ := body["cards"].([]any)
	virt, _ := body["virt"].(map[string]any)
	if path != "/agents/v1/hosts/cmp1/report" || len(cards) != 1 || virt["driver"] != "fake" || virt["vcpus"] == nil || virt["memory_mb"] == nil {
		t.Fatalf("it reports to %s: %v", path, body)
	}
	text, err := json.Marshal(cards[0])
	if err != nil || !strings.Contains(string(text), `"remote_managed":true`) || !strings.Contains(string(text), "MT2113X00042") {
		t.Errorf("the card is %s, %v", text, err)
	}
}

func TestTheDPUAgentReports(t *testing.T) {
	vswitch, err := ovs.StartSwitch(ovs.SwitchConfig{Endpoint: "unix:" + filepath.Join(t.TempDir(), "db.sock"), SystemID: "system-1", Hostname: "dpu1.example"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = vswitch.Close() })
	url, first := server(t)
	t.Setenv("RISER_AGENT_CONFIG", write(t, "dpu.yaml", "ovsdb: "+vswitch.Endpoint()+"\nserial: MT2113X00042\n"))
	background(t, "dpu", "--server="+url, "--bmc-address=192.0.2.7", "--sysfs=")
	path, body := first()
	if path != "/agents/v1/dpus/MT2113X00042/report" || body["chassis"] != "dpu1.example" || body["system_id"] != "system-1" ||
		body["bmc_address"] != "192.0.2.7" || body["source"] != "config" || body["bridge"] != "br-int" {
		t.Errorf("it reports to %s: %v", path, body)
	}
}

func TestTheLog(t *testing.T) {
	var out bytes.Buffer
	log := (&settings{logLevel: "warn", logFormat: "json"}).logger(&out)
	log.Info("quiet")
	log.Warn("loud")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line[slog.MessageKey] != "loud" {
		t.Errorf("it wrote %q: %v", out.String(), err)
	}
}
