package ssh_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/driver/drivertest"
	driverssh "github.com/riser-project/riser/driver/ssh"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

const password = "S3cret-of-the-host"

// host is a machine with an SSH service and a card behind /dev/rshim0.
type host struct {
	t        *testing.T
	addr     *net.TCPAddr
	key      ssh.Signer
	listener net.Listener

	mu      sync.Mutex
	hang    bool
	logins  int
	lines   []string // commands as they arrived
	image   bytes.Buffer
	cardLog string
	boot    int // exit status of a write to the boot device
}

func newKey(t *testing.T) (ssh.Signer, string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return signer, string(pem.EncodeToMemory(block))
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, cardLog: "DISPLAY_LEVEL   2\n INFO[BL2]: start\n INFO[MISC]: Linux up\n"}
	h.key, _ = newKey(t)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.listener = l
	h.addr, _ = l.Addr().(*net.TCPAddr)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go h.serve(c)
		}
	}()
	return h
}

func (h *host) hanging() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hang
}

func (h *host) serve(c net.Conn) {
	if h.hanging() {
		_, _ = io.Copy(io.Discard, c)
		return
	}
	config := &ssh.ServerConfig{
		PasswordCallback: func(_ ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.logins++
			if string(p) != password {
				return nil, errors.New("no")
			}
			return nil, nil
		},
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil },
	}
	config.AddHostKey(h.key)
	conn, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		_ = c.Close()
		return
	}
	defer func() { _ = conn.Close() }()
	go ssh.DiscardRequests(requests)
	for nc := range channels {
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		go h.session(ch, reqs)
	}
}

func (h *host) session(ch ssh.Channel, reqs <-chan *ssh.Request) {
	defer func() { _ = ch.Close() }()
	for r := range reqs {
		if r.Type == "pty-req" {
			_ = r.Reply(true, nil)
			continue
		}
		if r.Type == "shell" {
			_ = r.Reply(true, nil)
			_, _ = io.WriteString(ch, "dpu login: ")
			_, _ = io.Copy(ch, ch)
			return
		}
		if r.Type != "exec" {
			_ = r.Reply(false, nil)
			continue
		}
		_ = r.Reply(true, nil)
		if h.hanging() {
			continue // until the client closes the channel
		}
		status := h.exec(string(r.Payload[4:]), ch)
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
		return
	}
}

func (h *host) exec(line string, ch ssh.Channel) int {
	h.mu.Lock()
	h.lines = append(h.lines, line)
	h.mu.Unlock()
	switch {
	case line == "cat > /dev/rshim0/boot":
		b, _ := io.ReadAll(ch)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.image.Write(b)
		if h.boot != 0 {
			_, _ = io.WriteString(ch.Stderr(), "cat: write error: Invalid argument\n")
		}
		return h.boot
	case strings.HasPrefix(line, "echo 'DISPLAY_LEVEL 2' > /dev/rshim0/misc"):
		h.mu.Lock()
		defer h.mu.Unlock()
		_, _ = io.WriteString(ch, h.cardLog)
		return 0
	case line == "'uptime'":
		_, _ = io.WriteString(ch, "up 3 days\x1b[31m, password "+password+"\n")
		return 0
	case line == "'noise'":
		_, _ = ch.Write(bytes.Repeat([]byte("x"), 1<<20))
		return 0
	}
	_, _ = fmt.Fprintf(ch.Stderr(), "sh: %s: not found, said %s\n", line, password)
	return 127
}

func (h *host) sent() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.lines)
}

func (h *host) node(more node.Object) *node.Node {
	info := node.Object{
		"ssh_address": "127.0.0.1", "ssh_port": h.addr.Port, "ssh_username": "root", "ssh_password": password, "ssh_host_key": ssh.FingerprintSHA256(h.key.PublicKey()),
	}
	for k, v := range more {
		if v == nil {
			delete(info, k)
		} else {
			info[k] = v
		}
	}
	return &node.Node{DriverInfo: info}
}

func newDriver() *driverssh.Driver {
	return driverssh.New(driverssh.Options{Timeout: 5 * time.Second, Commands: map[string][]string{
		"uptime": {"uptime"}, "noise": {"noise"}, "odd": {"a b", "it's", "$(reboot)", "; reboot"},
	}})
}

func open(t *testing.T, n *node.Node) *driverssh.Conn {
	t.Helper()
	c, err := newDriver().Open(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	conn, _ := c.(*driverssh.Conn)
	return conn
}

func TestContract(t *testing.T) {
	drivertest.Run(t, newDriver(), func(t *testing.T) drivertest.Machine {
		h := newHost(t)
		return drivertest.Machine{
			Node: h.node(nil), Secret: password, Sent: h.sent,
			Hang: func() {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.hang = true
			},
			Wrong: func() *node.Node { return h.node(node.Object{"ssh_password": "wrong"}) },
			Logins: func() int {
				h.mu.Lock()
				defer h.mu.Unlock()
				return h.logins
			},
		}
	})
}

func TestRun(t *testing.T) {
	h := newHost(t)
	c := open(t, h.node(nil))
	if out, err := c.Run(t.Context(), "uptime"); out != "up 3 days[31m, password ***\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := c.Run(t.Context(), "noise"); len(out) > driverssh.MaxOutput+40 || !strings.HasSuffix(out, "more bytes]") || err != nil {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	_, err := c.Run(t.Context(), "odd")
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "ended with status 127") || strings.Contains(err.Error(), password) {
		t.Errorf("%v", err)
	}
	if got := h.lines[len(h.lines)-1]; got != `'a b' 'it'\''s' '$(reboot)' '; reboot'` {
		t.Errorf("the shell was given %s", got)
	}
	before := h.sent()
	if _, err := c.Run(t.Context(), "rm -rf /"); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "is not one of noise, odd, uptime") || h.sent() != before {
		t.Errorf("a command that is not on the list: %v", err)
	}
	no := fault.New(fault.Lost, "no")
	guarded := driver.WithGuard(t.Context(), func(context.Context, driver.Command) error { return no })
	if _, err := c.Run(guarded, "uptime"); !errors.Is(err, no) || h.sent() != before {
		t.Errorf("the guard said no: %v", err)
	}
}

func TestACommandThatHangsIsGivenUp(t *testing.T) {
	h := newHost(t)
	c := open(t, h.node(nil))
	h.mu.Lock()
	h.hang = true
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Run(ctx, "uptime"); !fault.Is(err, fault.Timeout) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "it is unknown whether it was carried out") {
		t.Errorf("%v", err)
	}
}

func TestTheMachinesKeyIsPinned(t *testing.T) {
	h := newHost(t)
	other, _ := newKey(t)
	line := string(ssh.MarshalAuthorizedKey(h.key.PublicKey()))
	if _, err := newDriver().Open(t.Context(), h.node(node.Object{"ssh_host_key": line})); err != nil {
		t.Errorf("the key itself: %v", err)
	}
	before := h.logins
	_, err := newDriver().Open(t.Context(), h.node(node.Object{"ssh_host_key": ssh.FingerprintSHA256(other.PublicKey())}))
	if !fault.Is(err, fault.Unauthorized) || !strings.Contains(err.Error(), "not the one in ssh_host_key") {
		t.Errorf("another key: %v", err)
	}
	if h.logins != before {
		t.Error("the password was sent to a stranger")
	}
}

func TestAKeyInsteadOfAPassword(t *testing.T) {
	h := newHost(t)
	_, pemKey := newKey(t)
	c := open(t, h.node(node.Object{"ssh_password": nil, "ssh_private_key": pemKey}))
	if _, err := c.Run(t.Context(), "uptime"); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesEveryFault(t *testing.T) {
	err := newDriver().Validate(node.Object{"ssh_address": "a b", "ssh_port": 0, "ssh_private_key": "hunter2", "ssh_host_key": "x", "ssh_rshim": "../sda"})
	for _, want := range []string{"ssh_address", "ssh_port", "ssh_username", "ssh_private_key", "ssh_host_key", "ssh_rshim"} {
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v holds the key", err)
	}
}

// run runs a step to its end.
func run(t *testing.T, h *host, name, args string) ([]string, error) {
	t.Helper()
	var evidence []string
	memory := map[string][]byte{}
	for _, d := range driverssh.Steps(http.DefaultClient) {
		if d.FullName() != name {
			continue
		}
		var o node.Object
		if err := json.Unmarshal([]byte(args), &o); err != nil {
			t.Fatal(err)
		}
		if faults := d.CheckArgs(o); len(faults) > 0 {
			return nil, fault.New(fault.Invalid, "%s", strings.Join(faults, "; "))
		}
		if len(d.Plan(o)) == 0 || d.Summary == "" {
			t.Errorf("%s lacks a plan or a summary", name)
		}
		c := open(t, h.node(nil))
		task := &step.Task{
			Node: h.node(nil), Args: o, Evidence: func(text string) { evidence = append(evidence, text) },
			Conn: func(context.Context) (driver.Conn, error) { return c, nil },
			Keep: func(_ context.Context, key string, v any) (err error) { memory[key], err = json.Marshal(v); return err },
			Kept: func(key string) (v any) { _ = json.Unmarshal(memory[key], &v); return v },
		}
		result, err := d.Run(t.Context(), task)
		for i := 0; err == nil && result == step.Wait && i < 20; i++ {
			if i == 1 {
				h.mu.Lock()
				h.cardLog += " INFO[MISC]: DPU is ready\n"
				h.mu.Unlock()
			}
			result, err = d.Poll(t.Context(), task)
		}
		if err == nil && result != step.Done {
			t.Errorf("%s does not end", name)
		}
		return evidence, err
	}
	t.Fatalf("there is no step %s", name)
	return nil, nil
}

func TestCommandStep(t *testing.T) {
	h := newHost(t)
	evidence, err := run(t, h, "vendor.ssh_command", `{"command":"uptime"}`)
	if err != nil || len(evidence) != 1 || evidence[0] != "uptime: up 3 days[31m, password ***" {
		t.Errorf("%q, %v", evidence, err)
	}
	if _, err := run(t, h, "vendor.ssh_command", `{"command":"reboot"}`); !fault.Is(err, fault.Invalid) {
		t.Errorf("a command that is not on the list: %v", err)
	}
}

func TestInstallBFB(t *testing.T) {
	image := bytes.Repeat([]byte("bfb!"), 1<<18)
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/bf.bfb" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write(image)
	}))
	defer files.Close()
	sized := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(image)))
		_, _ = w.Write(image)
	}))
	defer sized.Close()
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(image)))
		_, _ = w.Write(image[:1000])
	}))
	defer cut.Close()
	tests := map[string]struct {
		url  string
		boot int
		kind fault.Kind
		says string
	}{
		"an image": {url: sized.URL + "/bf.bfb"},
		"an image whose device ends with an error": {url: sized.URL + "/bf.bfb", boot: 1},
		"an image that is not there":               {url: files.URL + "/no.bfb", kind: fault.Unavailable, says: "answered 404"},
		"an image of unknown size":                 {url: files.URL + "/bf.bfb", kind: fault.Invalid, says: "must say how many"},
		"an image that breaks off":                 {url: cut.URL + "/bf.bfb", kind: fault.Unavailable, says: "broke off after 1000 of"},
		"a file that is none":                      {url: files.URL + "/bf.iso", kind: fault.Invalid, says: ".bfb file"},
		"a file of the conductor":                  {url: "file:///etc/passwd.bfb", kind: fault.Invalid, says: ".bfb file"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.boot = tt.boot
			evidence, err := run(t, h, "firmware.install_bfb", `{"url":"`+tt.url+`"}`)
			if tt.says != "" {
				if !fault.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(h.image.Bytes(), image) {
				t.Errorf("the card got %d bytes of %d", h.image.Len(), len(image))
			}
			if evidence[0] != "100 % of the image streamed" && !strings.Contains(evidence[0], "% of the image streamed") || evidence[len(evidence)-1] != "the card says: INFO[MISC]: DPU is ready" {
				t.Errorf("evidence %q", evidence)
			}
		})
	}
}

func TestConsole(t *testing.T) {
	h := newHost(t)
	c := open(t, h.node(nil))
	seen, screen := io.Pipe()
	in, keys := io.Pipe()
	end := make(chan error, 1)
	go func() { end <- c.Console(t.Context(), in, screen) }()
	for _, want := range []string{"dpu login: ", "root\r"} {
		if want == "root\r" {
			if _, err := io.WriteString(keys, want); err != nil {
				t.Fatal(err)
			}
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(seen, got); err != nil || string(got) != want {
			t.Fatalf("the screen shows %q, %v", got, err)
		}
	}
	_ = keys.Close()
	if err := <-end; err != nil {
		t.Errorf("the end of the input: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	in, keys = io.Pipe()
	defer func() { _ = keys.Close() }()
	if err := open(t, h.node(nil)).Console(ctx, in, io.Discard); !fault.Is(err, fault.Timeout) {
		t.Errorf("the end of the context: %v", err)
	}
}

func TestAddressesThatMayNotBeDialled(t *testing.T) {
	h := newHost(t)
	for _, address := range []string{"169.254.169.254", "0.0.0.0"} {
		if _, err := newDriver().Open(t.Context(), h.node(node.Object{"ssh_address": address})); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func FuzzValidate(f *testing.F) {
	f.Add("192.0.2.1", "SHA256:0000000000000000000000000000000000000000000", "rshim0")
	f.Add("a", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== x", "rshim99")
	d := newDriver()
	f.Fuzz(func(t *testing.T, address, key, rshim string) {
		info := node.Object{"ssh_address": address, "ssh_host_key": key, "ssh_rshim": rshim, "ssh_username": "u", "ssh_password": "p"}
		if d.Validate(info) == nil && (!strings.HasPrefix(d.Address(info), "ssh://") || strings.ContainsAny(rshim, "/ ;'")) {
			t.Errorf("address %q, device %q are valid", address, rshim)
		}
	})
}
