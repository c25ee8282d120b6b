package driver

import (
	"context"
	"fmt"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// steady reads the power state until two readings in a row agree, be it on "".
func (c *change) steady(ctx context.Context) (node.PowerState, error) {
	deadline := time.Now().Add(c.pace.On)
	last := node.PowerState("no reading yet")
	var lastErr error
	for {
		state, err := c.power.PowerState(ctx)
		if err := c.fatal(ctx, err); err != nil {
			return "", err
		}
		switch {
		case err != nil:
			last, lastErr = "no reading", err
		case state == last:
			return state, nil
		default:
			last, lastErr = state, nil
		}
		if !time.Now().Before(deadline) {
			if lastErr != nil {
				return "", lastErr
			}
			return "", fault.New(fault.Unavailable, "%s does not settle on a power state: in %s no two readings in a row agreed; "+
				"reset the controller", c.who, c.pace.On)
		}
		if err := c.sleep(ctx, c.pace.Poll); err != nil {
			return "", err
		}
	}
}

// await polls until want was read twice in a row, and reports whether it was within the time. Readings that fail are passed over.
func (c *change) await(ctx context.Context, want node.PowerState, within time.Duration) (bool, error) {
	deadline := time.Now().Add(within)
	for hits := 0; ; {
		state, err := c.power.PowerState(ctx)
		if err := c.fatal(ctx, err); err != nil {
			return false, err
		}
		if err == nil && state == want {
			hits++
		} else {
			hits = 0
			c.last = state
		}
		if hits == 2 {
			return true, nil
		}
		if !time.Now().Before(deadline) && hits == 0 {
			return false, nil
		}
		if err := c.sleep(ctx, c.pace.Poll); err != nil {
			return false, err
		}
	}
}

// life waits for the first sign of life of a machine that is on. before is its boot state before the power came.
func (c *change) life(ctx context.Context, before BootState) error {
	if c.boot == nil {
		return nil
	}
	start, reports := time.Now(), before.Reports
	for {
		now, err := c.bootState(ctx)
		if err != nil {
			return err
		}
		reports = reports || now.Reports
		if now.Alive && (!before.Alive || now.State != before.State || now.Reset.After(before.Reset)) {
			c.note("alive after %s: boot progress %s", time.Since(start).Round(10*time.Millisecond), word(now))
			return nil
		}
		limit := c.pace.Hint
		if reports && !before.Alive {
			limit = c.pace.Boot
		}
		if time.Since(start) < limit {
			if err := c.sleep(ctx, c.pace.Poll); err != nil {
				return err
			}
			continue
		}
		if reports && !now.Alive {
			return fault.New(fault.Timeout, "%s reports power on, but its boot progress is still %s after %s: the machine did not start; look at "+
				"its console, "+
				"or power it off and on", c.who, word(now), limit)
		}
		c.note("no new boot progress in %s (%s): it is no evidence here", limit, word(now))
		return nil
	}
}

// bootState reads the boot state. Without the ability, and when a reading fails in passing, it is empty.
func (c *change) bootState(ctx context.Context) (BootState, error) {
	if c.boot == nil {
		return BootState{}, nil
	}
	b, err := c.boot.BootState(ctx)
	if err != nil {
		return BootState{}, c.fatal(ctx, err)
	}
	return b, nil
}

// bootBefore reads the boot state that a restart is compared with, a few times if it must.
func (c *change) bootBefore(ctx context.Context) (b BootState, err error) {
	for range 3 {
		if b, err = c.bootState(ctx); err != nil || b != (BootState{}) || c.boot == nil {
			return b, err
		}
		if err := c.sleep(ctx, c.pace.Poll); err != nil {
			return b, err
		}
	}
	return b, nil
}

// fatal returns err if it ends the change: the caller gave up, the credentials are refused, or the work is no longer ours.
func (c *change) fatal(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return c.interrupted(ctx, err)
	}
	switch fault.KindOf(err) {
	case fault.Unauthorized, fault.Forbidden, fault.Lost:
		return err
	}
	return nil
}

// interrupted returns err, or when ctx ended a fault that says so.
func (c *change) interrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return fault.New(fault.Timeout, "%s: the power change was interrupted before it was seen: %w", c.who, context.Cause(ctx))
}

func (c *change) sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return c.interrupted(ctx, nil)
	}
}

func word(b BootState) string {
	if b.State == "" {
		return "unknown"
	}
	return fmt.Sprintf("%q", b.State)
}
