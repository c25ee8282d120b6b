// Package driver_test runs riser's drivers as its users do: the built program against simulated and real controllers.
package driver_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const repository = "../.."

// program is the built riser, with the environment that its commands get.
type program struct {
	path string
	env  []string
	url  string
}

// built builds riser, once.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "riser-driver-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "riser")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, "./cmd/riser")
	cmd.Dir = repository
	if out, err := cmd.CombinedOutput(); err != nil {
		return path, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, _ := built(); path != "" {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// newProgram is riser with a database and an address of its own.
func newProgram(t testing.TB) *program {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	listen := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	p := &program{path: path, url: "http://" + listen}
	p.env = append(os.Environ(), "RISER_LISTEN="+listen, "RISER_URL="+p.url, "RISER_DATABASE=sqlite:"+filepath.Join(t.TempDir(), "riser.db"))
	return p
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (p *program) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Dir, cmd.Env = repository, p.env
	return cmd
}

// run runs a command to its end and returns what it printed; a failure ends the test.
func (p *program) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := p.command(t.Context(), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("riser %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// start runs a command that stays, and returns what it prints. It is interrupted at the end of the test and must exit with status 0.
func (p *program) start(t testing.TB, args ...string) io.Reader {
	t.Helper()
	cmd := p.command(context.WithoutCancel(t.Context()), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		go func() { _, _ = io.Copy(io.Discard, out) }()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("riser %s: %v\n%s", strings.Join(args, " "), err, log.String())
			if err != nil {
				t.Error("it was interrupted and must exit with status 0")
			}
		}
	})
	return out
}

// ready waits until the server answers.
func (p *program) ready(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		r, err := http.Get(p.url + "/healthz")
		if err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("the server is not ready: %v", err)
		}
	}
}

// session is a command of a document and the lines that follow it.
type session struct {
	args []string
	want []string
}

// sessions reads the console blocks of a document.
func sessions(t *testing.T, path string) []session {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []session
	inside := false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		command, is := strings.CutPrefix(line, "$ riser ")
		switch {
		case line == "```console":
			inside = true
		case line == "```":
			inside = false
		case inside && is:
			list = append(list, session{args: strings.Fields(command)})
		case inside:
			list[len(list)-1].want = append(list[len(list)-1].want, line)
		}
	}
	return list
}

var times = regexp.MustCompile(`\b\d+(\.\d+)?(ms|s)\b`)

// plain is a text's lines without what differs from run to run.
func plain(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(times.ReplaceAllString(line, "TIME")), " "))
	}
	return lines
}

// The walk-through of docs/drivers.md: the specification's own story, update the BMC firmware of all cards of a server, with the runbook of
// examples. The ports are others.
func TestTheWalkthroughOfTheDriversIsTrue(t *testing.T) {
	p := newProgram(t)
	var ports *strings.Replacer
	all := sessions(t, filepath.Join(repository, "docs/drivers.md"))
	if len(all) < 8 {
		t.Fatalf("docs/drivers.md has %d commands", len(all))
	}
	for _, s := range all {
		if ports != nil {
			for i := range s.args {
				s.args[i] = ports.Replace(s.args[i])
			}
		}
		switch s.args[0] {
		case "sim":
			ports = p.fleet(t, s)
		case "serve":
			p.start(t, s.args...)
			p.ready(t)
		default:
			got := p.run(t, s.args...)
			if d := cmp.Diff(plain(strings.Join(s.want, "\n")), plain(got)); len(s.want) > 0 && d != "" {
				t.Errorf("riser %s (-docs/drivers.md +printed):\n%s", strings.Join(s.args, " "), d)
			}
		}
	}
	told := p.run(t, "node", "operations", "server-0", "last")
	if n := strings.Count(told, "the controller has restarted: BF-24.10-10 -> BF-24.10-20"); n != 2 {
		t.Errorf("%d of 2 cards have new firmware:\n%s", n, told)
	}
	if n := strings.Count(told, "raw 0x32 0x9b 0x01 0x02 answered []"); n != 2 {
		t.Errorf("%d of 2 cards are closed:\n%s", n, told)
	}
	p.refused(t)
}

// fleet starts the simulation of a session on ports that are free, and returns how to get from those of the document to them.
func (p *program) fleet(t *testing.T, s session) *strings.Replacer {
	t.Helper()
	var args []string
	for i := 0; i < len(s.args); i++ {
		if s.args[i] == "--port" {
			i++
			continue
		}
		args = append(args, s.args[i])
	}
	lines := bufio.NewScanner(p.start(t, args...))
	port := regexp.MustCompile(`:(\d+)`)
	var pairs, got, want []string
	for _, line := range s.want {
		if !lines.Scan() {
			t.Fatalf("riser %s prints less than docs/drivers.md", strings.Join(args, " "))
		}
		documented, real := port.FindAllStringSubmatch(line, -1), port.FindAllStringSubmatch(lines.Text(), -1)
		if len(documented) == 2 && len(real) == 2 {
			pairs = append(pairs, "redfish_address=http://127.0.0.1:"+documented[0][1], "redfish_address=http://127.0.0.1:"+real[0][1],
				"ipmi_port="+documented[1][1], "ipmi_port="+real[1][1])
		}
		got = append(got, port.ReplaceAllString(lines.Text(), ":PORT"))
		want = append(want, port.ReplaceAllString(line, ":PORT"))
	}
	if d := cmp.Diff(plain(strings.Join(want, "\n")), plain(strings.Join(got, "\n"))); d != "" {
		t.Errorf("riser %s (-docs/drivers.md +printed):\n%s", strings.Join(args, " "), d)
	}
	return strings.NewReplacer(pairs...)
}

// refused shows that a raw command that is not on the card's list is not sent, and that the document quotes the error.
func (p *program) refused(t *testing.T) {
	t.Helper()
	out, err := p.command(t.Context(), "node", "clean", "server-0", "--step", "vendor.send_raw", "--only", "card-1", "--arg", "raw_bytes=0x32 0x66", "--wait").CombinedOutput()
	if err == nil {
		t.Errorf("a reset to factory defaults was sent:\n%s", out)
	}
	doc, err := os.ReadFile(filepath.Join(repository, "docs/drivers.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, quoted, _ := strings.Cut(string(doc), "\n    raw command")
	quoted, _, _ = strings.Cut(quoted, "\n\n")
	quoted = "raw command " + strings.Join(strings.Fields(quoted), " ")
	if !strings.Contains(string(out), quoted) {
		t.Errorf("docs/drivers.md quotes %q, but the error is\n%s", quoted, out)
	}
}
