package cli_test

import (
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/riser-project/riser/cli"
)

// terminal returns both ends of a pseudo-terminal.
func terminal(t *testing.T) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("this machine has no pseudo-terminals: %v", err)
	}
	t.Cleanup(func() { user.Close() })
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Skipf("this machine has no pseudo-terminals: %v", err)
	}
	if program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Skipf("this machine has no pseudo-terminals: %v", err)
	}
	t.Cleanup(func() { program.Close() })
	return user, program
}

func TestColoursAreForTerminals(t *testing.T) {
	s := httptest.NewServer(newFleet())
	defer s.Close()
	tests := map[string]struct {
		env  map[string]string
		want bool
	}{
		"a terminal has colours":              {nil, true},
		"unless the user does not want them":  {map[string]string{"NO_COLOR": "1"}, false},
		"or the terminal is too old for them": {map[string]string{"TERM": "dumb"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			user, program := terminal(t)
			root := cli.New(cli.Options{Out: program, Err: program, Getenv: func(key string) string { return tt.env[key] }})
			root.SetArgs([]string{"conductor", "list", "--url", s.URL})
			if code := cli.Execute(t.Context(), root); code != cli.Done {
				t.Fatalf("exit code %d", code)
			}
			program.Close()
			user.SetReadDeadline(time.Now().Add(time.Second))
			b := make([]byte, 4096)
			n, _ := user.Read(b)
			if got := strings.Contains(string(b[:n]), "\x1b[32mtrue\x1b[0m"); got != tt.want {
				t.Errorf("colours: %v, want %v, in %q", got, tt.want, b[:n])
			}
		})
	}
}
