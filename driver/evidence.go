package driver

import (
	"context"
	"time"
)

// RestartSeen reports whether the machine behind the connection that open gives says it was reset at or after sent: the evidence that a restart
// whose answer nobody heard took effect. It is false when the machine does not tell the time of its last reset. The controller's clock may be a
// little behind; a reset up to two seconds before sent counts.
func RestartSeen(ctx context.Context, open func(context.Context) (Conn, error), sent time.Time) (bool, error) {
	conn, err := open(ctx)
	if err != nil {
		return false, err
	}
	b, ok := As[Boot](conn)
	if !ok {
		return false, nil
	}
	state, err := b.BootState(ctx)
	if err != nil {
		return false, err
	}
	return !state.Reset.IsZero() && !state.Reset.Before(sent.Add(-2*time.Second)), nil
}
