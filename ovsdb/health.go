package ovsdb

import (
	"fmt"
	"time"
)

// Health tells how far a replica can be trusted.
type Health struct {
	Connected bool
	Epoch     uint64    // rises with each new, complete replica, which each new connection brings; 0 before the first
	Confirmed time.Time // when the server last proved that the replica is in step with it
	Err       error     // why there is no connection
}

// Check returns nil for a replica that was confirmed at most maxAge before now, [ErrNotConnected] before the first
// replica is there, and else [ErrStale]. The error says why there is no connection, if there is none.
func (h Health) Check(now time.Time, maxAge time.Duration) error {
	if h.Epoch == 0 {
		return because(ErrNotConnected, h.Err)
	}
	if age := now.Sub(h.Confirmed); age > maxAge {
		return because(fmt.Errorf("%w: last confirmed %s ago, at most %s is allowed", ErrStale, age.Round(time.Millisecond), maxAge), h.Err)
	}
	return nil
}

func because(err, cause error) error {
	if cause == nil {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}
