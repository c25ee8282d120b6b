//go:build failpoints

package failpoint

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

var (
	once    sync.Once
	actions map[Point]Action

	mu     sync.Mutex
	visits = map[Point]int{}
)

// Hit is a visit of the point: what RISER_FAILPOINTS wants happens. The error is the one that an action error(text) asks for.
func Hit(p Point) error {
	once.Do(load)
	a, ok := actions[p]
	if !ok {
		return nil
	}
	mu.Lock()
	visits[p]++
	now := a.Visit == 0 || a.Visit == visits[p]
	mu.Unlock()
	if !now {
		return nil
	}
	switch a.Kind {
	case Kill:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // there is no way on from here
		select {}
	case Stop:
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	case Delay:
		time.Sleep(a.Delay)
	case Error:
		return fmt.Errorf("failpoint %s: %w", p, errors.New(a.Text))
	}
	return nil
}

func load() {
	text := os.Getenv(Variable)
	if text == "list" {
		for _, p := range Points() {
			fmt.Println(p)
		}
		os.Exit(0)
	}
	var err error
	if actions, err = Parse(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}
