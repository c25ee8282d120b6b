//go:build integration

package lab

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// StartRiser builds riser and runs `riser serve` on 127.0.0.1, without credentials, on a new SQLite database, or as flags say otherwise. It
// returns the server's address, as a URL without a path. At the end of the test the server gets SIGTERM and must exit with status 0.
func StartRiser(t testing.TB, flags ...string) string {
	t.Helper()
	dir := folder(t)
	program := filepath.Join(dir, "riser")
	output(t, "go", "build", "-buildvcs=false", "-o", program, filepath.Join(repository(t), "cmd/riser"))

	listen := fmt.Sprintf("127.0.0.1:%d", freePort(t, "tcp"))
	args := append([]string{"serve", "--listen", listen, "--auth", "none", "--database", "sqlite:" + filepath.Join(dir, "riser.db")}, flags...)
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	var p *process
	t.Cleanup(func() { // runs after the daemon was stopped
		if <-p.done; p.err != nil {
			t.Errorf("riser serve ended with %v, want exit status 0 on SIGTERM", p.err)
		}
	})
	p = daemon(t, dir, syscall.SIGTERM, cmd)
	url := "http://" + listen
	p.await(t, func() error {
		response, err := http.Get(url + "/healthz")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("GET /healthz: %s", response.Status)
		}
		return nil
	})
	return url
}

// repository returns the root of the source tree.
func repository(t testing.TB) string {
	t.Helper()
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("the path of this source file is not known")
	}
	return filepath.Join(filepath.Dir(here), "../..")
}
