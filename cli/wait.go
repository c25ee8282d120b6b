package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// waiting is the flags of a command that can wait for what it asked for.
type waiting struct {
	on      bool
	timeout time.Duration
}

func waitFlags(cmd *cobra.Command) *waiting {
	w := &waiting{}
	cmd.Flags().BoolVar(&w.on, "wait", false, "wait until it is done, and fail when it failed")
	cmd.Flags().DurationVar(&w.timeout, "wait-timeout", 0, "stop waiting after this `long`")
	return w
}

// context returns the context of a wait.
func (w *waiting) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if w.timeout > 0 {
		return context.WithTimeout(ctx, w.timeout)
	}
	return context.WithCancel(ctx)
}

// cannot is cannot for the end of a wait: that the wait was given up says nothing of what was asked for.
func (w *waiting) cannot(what string, err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("cannot wait any longer to %s: it is not done after %s, and goes on", what, w.timeout)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("cannot wait any longer to %s: interrupted; what the server took on goes on", what)
	}
	return cannot(what, err)
}

// joined is errors.Join, which keeps a single error as it is.
func joined(x, y error) error {
	switch {
	case x == nil:
		return y
	case y == nil:
		return x
	}
	return errors.Join(x, y)
}

// took writes a duration for people: to a tenth of a second, or to the second from a minute on.
func took(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}

// duration is took for the cell of a table.
func duration(d time.Duration) string {
	if d < time.Millisecond {
		return "-"
	}
	return took(d)
}
