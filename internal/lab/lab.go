//go:build integration

package lab

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	startTime = 30 * time.Second // for a daemon to answer, on a busy machine
	stopTime  = 10 * time.Second // for a daemon to end by itself
	pollTime  = 10 * time.Millisecond
)

// need ends the test unless all programs are installed: by a failure where the integration tests were asked for, else by a skip.
func need(t testing.TB, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			unavailable(t, "%s is not installed", program)
		}
	}
}

func unavailable(t testing.TB, format string, args ...any) {
	t.Helper()
	reason := fmt.Sprintf(format, args...)
	if os.Getenv("RISER_INTEGRATION") != "" {
		t.Fatalf("%s: make integration installs what the tests need", reason)
	}
	t.Skipf("%s (run make integration)", reason)
}

// needRoot is need for what takes root.
func needRoot(t testing.TB, what string) {
	t.Helper()
	if os.Geteuid() != 0 {
		unavailable(t, "%s takes root", what)
	}
}

// folder makes a temporary folder with a short name: the path of a socket has at most 107 bytes, and t.TempDir repeats the test's name.
// Other users may enter it, for daemons that run as one.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lab")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func write(t testing.TB, name, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// output runs a command to its end and returns what it printed, without the last newline. A failure ends the test.
func output(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := try(t, exec.CommandContext(t.Context(), name, args...))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// try runs cmd and returns its standard output. The error has its standard error.
func try(t testing.TB, cmd *exec.Cmd) (string, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSuffix(stdout.String(), "\n"), err
}

// daemon starts cmd, which must stay in the foreground, and stops it by signal when the test ends. What it prints goes to a file in dir and
// is shown when the test fails. The kernel kills the daemon should the test's process die first.
func daemon(t testing.TB, dir string, stop syscall.Signal, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{name: filepath.Base(cmd.Path), done: make(chan struct{})}
	log, err := os.CreateTemp(dir, p.name+"-*.log")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop(t, cmd, stop)
		if t.Failed() {
			t.Logf("%s:\n%s", p.name, lastLines(log.Name(), 30))
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

type process struct {
	name string
	done chan struct{} // closed when the process has ended
	err  error         // how; to be read after done
}

func (p *process) stop(t testing.TB, cmd *exec.Cmd, signal syscall.Signal) {
	// The process may have ended by itself: then there is nobody to signal.
	if err := cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	select {
	case <-p.done:
		return
	case <-time.After(stopTime):
	}
	t.Errorf("%s did not stop within %s and was killed", p.name, stopTime)
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Error(err)
	}
	<-p.done
}

// await polls ready until it returns nil. The test fails when the daemon ends before that, or takes too long.
func (p *process) await(t testing.TB, ready func() error) {
	t.Helper()
	deadline := time.Now().Add(startTime)
	for {
		err := ready()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not ready after %s: %v", p.name, startTime, err)
		}
		select {
		case <-p.done:
			t.Fatalf("%s ended instead of becoming ready: %v", p.name, p.err)
		case <-time.After(pollTime):
		}
	}
}

// awaitSocket waits until something listens on a Unix socket.
func (p *process) awaitSocket(t testing.TB, socket string) {
	t.Helper()
	p.await(t, func() error {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

func lastLines(name string, n int) string {
	data, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// freePort returns a port of 127.0.0.1 that nobody has at the moment, of network "tcp" or "udp".
func freePort(t testing.TB, network string) int {
	t.Helper()
	if network == "udp" {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.LocalAddr().(*net.UDPAddr).Port
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
