package ipmi_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/bmc"
)

// screen is what somebody at a console sees.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

func (s *screen) await(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		seen := s.buf.String()
		s.mu.Unlock()
		if strings.Contains(seen, text) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the screen shows %q, not %q", seen, text)
		}
	}
}

func TestConsole(t *testing.T) {
	m := server(t, bmc.Options{}).Host
	c := open(t, newDriver(), nodeOf(m, nil))
	out := &screen{}
	in, keys := io.Pipe()
	end := make(chan error, 1)
	go func() { end <- c.Console(t.Context(), in, out) }()
	out.await(t, m.Name+" login: ")
	if _, err := io.WriteString(keys, "root\r"); err != nil {
		t.Fatal(err)
	}
	out.await(t, "root\r")
	if err := open(t, newDriver(), nodeOf(m, nil)).Console(t.Context(), strings.NewReader(""), io.Discard); !fault.Is(err, fault.Conflict) {
		t.Errorf("a second console: %v", err)
	}
	_ = keys.Close()
	if err := <-end; err != nil {
		t.Errorf("the end of the input: %v", err)
	}
}

func TestConsoleEndsWithItsContext(t *testing.T) {
	m := server(t, bmc.Options{}).Host
	c := open(t, newDriver(), nodeOf(m, nil))
	in, keys := io.Pipe()
	defer func() { _ = keys.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := c.Console(ctx, in, io.Discard); !fault.Is(err, fault.Timeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
