package conductor

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/failpoint"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
	"github.com/riser-project/riser/store"
)

// task is one step on one node while it runs.
type task struct {
	run     *run
	node    *node.Node
	pace    driver.Pace
	earlier int // commands on record that were sent before this run of the step

	conn  driver.Conn
	free  func() // gives the controller back; nil while somebody else may have it
	calls int    // power changes since the step last kept something

	mu      sync.Mutex // guards what follows: cards of a server are shut down side by side
	row     *store.OpStep
	hidden  []string      // secrets that must not get into texts
	refused *unknownError // a relative command that was not sent again
}

func newTask(r *run, row *store.OpStep, n *node.Node) *task {
	t := &task{run: r, row: row, node: n, pace: r.c.pace, earlier: len(row.Sent), hidden: store.Secrets(row.Args)}
	t.hide(n)
	return t
}

// hide keeps the secrets of n out of texts.
func (t *task) hide(n *node.Node) {
	if n == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hidden = append(append(t.hidden, store.Secrets(n.DriverInfo)...), store.Secrets(n.InstanceInfo)...)
}

// masked returns text without secrets. t.mu is held.
func (t *task) masked(text string) string {
	for _, s := range t.hidden {
		if len(s) >= 4 { // a shorter one would take common words with it
			text = strings.ReplaceAll(text, s, node.Masked)
		}
	}
	return text
}

func (t *task) define() (*step.Definition, error) {
	if t.node == nil {
		return nil, fault.New(fault.NotFound, "the node is gone")
	}
	return t.run.c.lookup().find(t.node, flowOf(t.run.op.Kind), node.Step{Interface: t.row.Interface, Step: t.row.Step})
}

// change makes the row what fn returns.
func (t *task) change(fn func(row store.OpStep) store.OpStep) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*t.row = fn(*t.row)
}

// save writes the row as it stands.
func (t *task) save(p failpoint.Pair) error { return t.run.rec.save(p, t.snapshot, nil) }

// snapshot is the row as it stands. Its slices are never written to again.
func (t *task) snapshot() store.OpStep {
	t.mu.Lock()
	defer t.mu.Unlock()
	return *t.row
}

// attempt runs the step once more. A command of class Relative that was sent before a crash is not sent again: what became of it is found by
// evidence, or stays unknown.
func (t *task) attempt(ctx context.Context, def *step.Definition) (step.Result, error) {
	limit := def.Timeout
	if limit == 0 {
		limit = t.run.c.cfg.StepTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fault.New(fault.Timeout, "the step did not end within %v", limit))
	defer cancel()
	switch next(t.row, t.earlier) {
	case moveWait:
		return step.Wait, nil
	case moveSettle:
		if done, err := t.verify(ctx, def); done || err != nil {
			return step.Done, err
		}
	}
	now := t.run.c.db.Now()
	t.change(func(row store.OpStep) store.OpStep {
		row.Attempt++
		row.State, row.Epoch, row.Error = store.StepIntent, t.run.fence.Epoch, ""
		if row.Started.IsZero() {
			row.Started = now
		}
		return row
	})
	if err := t.save(failpoint.StepIntent); err != nil {
		return 0, err
	}
	return t.call(ctx, failpoint.Run, def.Run)
}

// call calls a function of the step's definition. A panic of it is an error, and so is the end of its time.
func (t *task) call(ctx context.Context, p failpoint.Pair, fn func(context.Context, *step.Task) (step.Result, error)) (res step.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			t.run.log.Error("a step panicked", "step", t.row.Name(), "node", t.row.Node, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("internal error: the step panicked; see the log of %s", t.run.c.holder.Hostname())
		}
	}()
	if err := failpoint.Hit(p.Before()); err != nil {
		return 0, err
	}
	res, err = fn(driver.WithGuard(ctx, t.guard), t.task())
	if err == nil {
		return res, failpoint.Hit(p.After())
	}
	return res, t.meaning(ctx, err)
}

// meaning is the error of a step with what the engine knows besides: that its time is over, or that nobody knows what came of its last command.
func (t *task) meaning(ctx context.Context, err error) error {
	if t.refused != nil {
		return t.refused
	}
	if cause := context.Cause(ctx); cause != nil && fault.Is(cause, fault.Timeout) {
		err = cause
	}
	if !fault.Is(err, fault.Timeout) {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.row.Sent); n > t.earlier {
		if last := t.row.Sent[n-1]; last.Relative && !last.Settled && last.Answer == "" {
			return &unknownError{sent: last, cause: err}
		}
	}
	return err
}

// verify finds out whether a relative command that was sent before a crash took effect. Restarts are settled where they are sent, in resume.
func (t *task) verify(ctx context.Context, def *step.Definition) (done bool, err error) {
	sent := unsettled(t.row.Sent[:t.earlier])
	if sent.Power != "" || def.Verify == nil {
		return false, nil
	}
	if done, err = def.Verify(ctx, t.task(), sent.At); err == nil && done {
		t.evidence("after a restart of the conductor: " + sent.Text + " was seen to have taken effect")
	}
	return done, err
}

// unknownError says that nobody knows whether a command took effect.
type unknownError struct {
	sent  store.Sent
	cause error // nil after a crash
}

func (e *unknownError) Error() string {
	at := e.sent.At.Format(time.TimeOnly)
	if e.cause != nil {
		return fmt.Sprintf("%s was sent at %s and what came of it is unknown: %v. It was not sent again. Look at the machine, then ask for the steps that are still needed",
			e.sent.Text, at, e.cause)
	}
	return fmt.Sprintf("%s was sent at %s and the conductor stopped before it saw the outcome. It was not sent again. Look at the machine, then ask for the steps that are still needed",
		e.sent.Text, at)
}

func (t *task) task() *step.Task {
	return &step.Task{
		Node: t.node, Args: t.row.Args, Flow: flowOf(t.run.op.Kind), Attempt: t.row.Attempt, Evidence: t.evidence,
		Conn:  t.open,
		Power: t.power,
		Keep:  t.keep,
		Kept: func(key string) any {
			t.mu.Lock()
			defer t.mu.Unlock()
			return t.row.Kept[key]
		},
	}
}

// keep records a value of the step. What the step did so far it need not do again: it has that on record now.
func (t *task) keep(_ context.Context, key string, value any) error {
	t.calls = 0
	t.change(func(row store.OpStep) store.OpStep {
		row.Kept = withKey(row.Kept, key, value)
		row = settle(row, func(*store.Sent) bool { return true })
		for i := range row.Sent {
			row.Sent[i].Call = 0
		}
		return row
	})
	return t.save(failpoint.StepKeep)
}

func (t *task) evidence(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.row.Evidence = append(slices.Clip(t.row.Evidence), t.masked(text))
}

// powerMark says which power command of which power change is on its way.
type powerMark struct {
	node  string // UUID of a relative; empty for the step's own node
	cmd   driver.PowerCommand
	call  int
	reset time.Time // the machine's last reset
}

type powerMarkKey struct{}

// guard is asked by the driver at the last moment before a command leaves. It puts the command on record first: after a crash, a command may be
// on record that never left, but none can have left that is not on record.
func (t *task) guard(ctx context.Context, cmd driver.Command) error {
	if err := t.run.c.holder.Check(t.run.fence); err != nil {
		return err
	}
	mark, _ := ctx.Value(powerMarkKey{}).(powerMark)
	t.mu.Lock()
	row, before := admit(*t.row, t.earlier, t.run.fence.Epoch, cmd, mark, t.run.c.db.Now())
	if before != nil {
		t.refused = &unknownError{sent: *before}
		t.mu.Unlock()
		return t.refused
	}
	*t.row = row
	t.mu.Unlock()
	if err := t.save(failpoint.StepSent); err != nil {
		return err
	}
	if err := failpoint.Hit(failpoint.Command.Before()); err != nil {
		return err
	}
	return t.run.c.holder.Check(t.run.fence)
}

// open connects to the node's controller, which is this task's alone until it ends.
func (t *task) open(ctx context.Context) (driver.Conn, error) {
	if t.conn != nil {
		return t.conn, nil
	}
	conn, free, err := t.run.c.connect(ctx, t.node)
	if err != nil {
		return nil, err
	}
	t.conn, t.free = conn, free
	return conn, nil
}

func (t *task) close() {
	if t.conn == nil {
		return
	}
	t.run.c.disconnect(t.conn, t.node)
	if t.free != nil {
		t.free()
	}
	t.conn, t.free = nil, nil
}

// withoutController lets others have the controller while fn, which may wait for the whole family, does its work.
func (t *task) withoutController(ctx context.Context, fn func() error) error {
	if t.conn == nil {
		return fn()
	}
	t.free()
	t.free = nil
	if err := fn(); err != nil {
		return err
	}
	free, err := t.run.c.bmcs.lock(ctx, t.run.c.address(t.node))
	t.free = free
	return err
}

// connect opens the controller of n and keeps it for the caller alone until free is called.
func (c *Conductor) connect(ctx context.Context, n *node.Node) (conn driver.Conn, free func(), err error) {
	d, ok := c.drivers[n.Driver]
	if !ok {
		return nil, nil, fault.New(fault.Unsupported, "driver %s is not one of this conductor's", n.Driver)
	}
	free, err = c.bmcs.lock(ctx, d.Address(n.DriverInfo))
	if err != nil {
		return nil, nil, err
	}
	if err := failpoint.Hit(failpoint.Connect.Before()); err != nil {
		free()
		return nil, nil, err
	}
	conn, err = d.Open(ctx, n)
	if err != nil {
		free()
		return nil, nil, err
	}
	return conn, free, failpoint.Hit(failpoint.Connect.After())
}

// disconnect closes a connection. Nothing depends on how its session ends.
func (c *Conductor) disconnect(conn driver.Conn, n *node.Node) {
	err := errors.Join(failpoint.Hit(failpoint.Close.Before()), conn.Close(), failpoint.Hit(failpoint.Close.After()))
	if err != nil {
		c.log.Debug("connection not closed cleanly", "node", n.UUID, "error", err)
	}
}

// address is the lock and the name of n's controller; empty when its driver has none.
func (c *Conductor) address(n *node.Node) string {
	if d, ok := c.drivers[n.Driver]; ok {
		return d.Address(n.DriverInfo)
	}
	return ""
}

// finish puts the end of the step on its row; err is why it failed.
func (t *task) finish(err error) {
	var unknown *unknownError
	now := t.run.c.db.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	text := ""
	if err != nil {
		text = clip(t.masked(err.Error()))
	}
	*t.row = conclude(*t.row, errors.As(err, &unknown), text, now)
}
