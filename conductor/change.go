package conductor

import (
	"context"
	"slices"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/failpoint"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// changePower is one machine's power change, with its commands and its evidence on the record of the step. After a crash it goes on from what
// is on record: a restart that took effect is not sent again, and one of which nobody knows stays unknown.
func (t *task) changePower(ctx context.Context, conn driver.Conn, n *node.Node, target node.PowerState) error {
	p, ok := driver.As[driver.Power](conn)
	if !ok {
		return driver.Unsupported("power control")
	}
	pace := t.pace
	if own, ok := driver.As[driver.Paced](conn); ok {
		pace = own.Pace()
	}
	boot, _ := driver.As[driver.Boot](conn)
	w := &wire{Power: p, task: t, boot: boot, mark: powerMark{call: t.calls}}
	if n != t.node {
		w.mark.node = n.UUID
	}
	t.mu.Lock()
	for _, s := range t.row.Sent[:t.earlier] {
		if s.Call == t.calls && s.Node == w.mark.node {
			w.earlier = append(w.earlier, s)
		}
	}
	t.mu.Unlock()
	now, done, err := w.resume(ctx, target, pace)
	if err != nil {
		return err
	}
	if !done {
		seen, err := driver.ChangePower(ctx, w, boot, now, pace)
		for _, line := range seen {
			if n != t.node {
				line = n.Label() + ": " + line
			}
			t.evidence(line)
		}
		if err != nil {
			return err
		}
	}
	fed := false
	t.change(func(row store.OpStep) store.OpStep {
		for _, s := range row.Sent {
			fed = fed || w.mine(&s) && (s.Power == string(driver.PowerOn) || s.Power == string(driver.PowerCycle))
		}
		row = settle(row, w.mine)
		if row.State == store.StepSent {
			row.State = store.StepVerified
		}
		return row
	})
	return t.powered(n, settled(target), fed)
}

// wire is the power of a machine with the commands on record, and those of before a crash in mind.
type wire struct {
	driver.Power
	task    *task
	boot    driver.Boot // nil when the machine does not tell
	mark    powerMark
	earlier []store.Sent // of the same power change, before a crash
}

// Address is that of the machine's controller.
func (w *wire) Address() string {
	if a, ok := w.Power.(driver.Addressed); ok {
		return a.Address()
	}
	return ""
}

// mine reports whether a command on record belongs to this power change.
func (w *wire) mine(s *store.Sent) bool {
	return s.Power != "" && s.Call == w.mark.call && s.Node == w.mark.node
}

// sent returns the last of the named commands that was sent before a crash and not refused, or nil.
func (w *wire) sent(names ...driver.PowerCommand) *store.Sent {
	for i := len(w.earlier) - 1; i >= 0; i-- {
		s := &w.earlier[i]
		for _, name := range names {
			if s.Power == string(name) && !s.Void() {
				return s
			}
		}
	}
	return nil
}

// resume returns what is left to do of a power change after a crash. Targets that name a state are sought again as they are: what is there
// already is not sent for.
func (w *wire) resume(ctx context.Context, target node.PowerState, pace driver.Pace) (left node.PowerState, done bool, err error) {
	if target != node.Rebooting && target != node.SoftRebooting {
		return target, false, nil
	}
	restart := w.sent(driver.ForceRestart, driver.GracefulRestart, driver.PowerCycle)
	switch {
	case restart == nil && w.sent(driver.PowerOn) != nil: // it was off, or made off, before the crash
		return node.PowerOn, false, nil
	case restart == nil:
		return target, false, nil
	case restart.Settled:
		return target, true, nil
	}
	seen, told, err := w.restarted(ctx, restart, pace)
	switch {
	case err != nil:
		return target, false, err
	case seen:
		w.task.evidence("after a restart of the conductor: " + restart.Text + " was seen to have taken effect")
		return node.PowerOn, false, nil
	case told && restart.Power != string(driver.GracefulRestart):
		w.task.evidence("after a restart of the conductor: " + restart.Text + " was not carried out, as the machine's last reset shows; it is sent again")
		w.answered(driver.PowerCommand(restart.Power), store.NotCarriedOut)
		return target, false, nil
	}
	return target, false, &unknownError{sent: *restart}
}

// restarted reports whether the machine says that it was reset since the restart was sent, comparing the machine's own clock with itself, and
// whether it tells at all. It says no only when the command can no longer be on its way, and a restart would have shown by now. A machine that
// does not tell is not waited for.
func (w *wire) restarted(ctx context.Context, restart *store.Sent, pace driver.Pace) (seen, told bool, err error) {
	if w.boot == nil || restart.Reset.IsZero() {
		return false, false, nil
	}
	poll, limit := pace.Poll, pace.Restart
	if poll == 0 {
		poll = time.Second
	}
	if limit == 0 {
		limit = 2 * time.Minute
	}
	for end := time.Now().Add(limit + w.task.run.c.cfg.CommandLimit); ; {
		b, err := w.boot.BootState(ctx)
		switch {
		case err == nil && b.Reset.After(restart.Reset):
			return true, true, nil
		case ctx.Err() != nil, fault.Is(err, fault.Unauthorized), fault.Is(err, fault.Lost):
			return false, false, err
		case !time.Now().Before(end):
			return false, err == nil && !b.Reset.IsZero(), nil
		}
		select {
		case <-ctx.Done():
			return false, false, context.Cause(ctx)
		case <-time.After(poll):
		}
	}
}

// SendPower sends cmd with its place in the record. A shutdown that was sent before a crash is not sent again; its answer counts as lost, so
// that its effect is looked for.
func (w *wire) SendPower(ctx context.Context, cmd driver.PowerCommand) error {
	if s := w.sent(cmd); s != nil && cmd == driver.GracefulShutdown {
		return fault.New(fault.Timeout, "%s was sent at %s, before a restart of the conductor", s.Text, s.At.Format(time.TimeOnly))
	}
	mark := w.mark
	mark.cmd = cmd
	switch cmd {
	case driver.ForceRestart, driver.GracefulRestart, driver.PowerCycle:
		if w.boot != nil {
			if b, err := w.boot.BootState(ctx); err == nil {
				mark.reset = b.Reset
			}
		}
	}
	limited, cancel := context.WithTimeoutCause(ctx, w.task.run.c.cfg.CommandLimit, fault.New(fault.Timeout, "no answer within %v", w.task.run.c.cfg.CommandLimit))
	defer cancel()
	err := w.Power.SendPower(context.WithValue(limited, powerMarkKey{}, mark), cmd)
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Conflict, fault.Unsupported, fault.Forbidden, fault.Unauthorized:
		w.answered(cmd, store.Refused)
	}
	if err == nil {
		w.answered(cmd, store.Accepted)
		return failpoint.Hit(failpoint.Command.After())
	}
	if ctx.Err() == nil && limited.Err() != nil {
		return fault.New(fault.Timeout, "%v: %w", context.Cause(limited), err)
	}
	return err
}

// answered puts the answer to the last such command on the record in memory; the next write takes it along.
func (w *wire) answered(cmd driver.PowerCommand, answer string) {
	w.task.change(func(row store.OpStep) store.OpStep {
		row.Sent = slices.Clone(row.Sent)
		for i := range slices.Backward(row.Sent) {
			if s := &row.Sent[i]; w.mine(s) && s.Power == string(cmd) {
				s.Answer = answer
				break
			}
		}
		return row
	})
}
