package conductor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
	"github.com/riser-project/riser/store"
)

// fanOut runs one step on several children, at most ChildWidth at the same time. A child that fails does not stop the others.
func (r *run) fanOut(ctx context.Context, rows []*store.OpStep) error {
	nodes, err := r.load(ctx, rows)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	room := make(chan struct{}, r.c.cfg.ChildWidth)
	var wg sync.WaitGroup
	for i := range rows {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			if err := r.one(ctx, rows[i], nodes[i]); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// load reads the nodes of rows with their secrets.
func (r *run) load(ctx context.Context, rows []*store.OpStep) ([]*node.Node, error) {
	nodes := make([]*node.Node, len(rows))
	err := r.c.db.Read(ctx, func(tx *store.Tx) error {
		for i, row := range rows {
			n, err := tx.Node(ctx, row.Node)
			if fault.Is(err, fault.NotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if err := tx.Unseal(ctx, n); err != nil {
				return err
			}
			nodes[i] = n
			r.know(n)
		}
		return nil
	})
	return nodes, err
}

// one runs a step on one node and records how it ended. An error means that it was dropped, not that the step failed.
func (r *run) one(ctx context.Context, row *store.OpStep, n *node.Node) error {
	t := r.task(row, n)
	defer t.close()
	var res step.Result
	def, err := t.define()
	if err == nil {
		res, err = t.attempt(ctx, def)
	}
	for err == nil && res == step.Wait && row.Child {
		res, err = t.poll(ctx, def)
	}
	if dropped(ctx, err) {
		return err
	}
	switch {
	case err != nil:
		t.failed(err)
	case res == step.Done:
		row.State, row.Error = store.StepDone, ""
	case row.Child:
		t.failed(fmt.Errorf("the step asked to hold, which a step on a child cannot do"))
	default:
		row.State = store.StepWaiting
		return r.rec.save(ctx, row)
	}
	row.Ended = r.c.db.Now()
	return r.rec.save(ctx, row)
}

// dropped reports whether err means that the operation must stop without a word.
func dropped(ctx context.Context, err error) bool {
	return err != nil && (fault.Is(err, fault.Lost) || errors.Is(err, errDropped) || ctx.Err() != nil)
}

// task is one step on one node while it runs.
type task struct {
	run  *run
	row  *store.OpStep
	node *node.Node
	pace driver.Pace
	conn driver.Conn
	bmc  func() // gives the controller back
}

func (r *run) task(row *store.OpStep, n *node.Node) *task {
	return &task{run: r, row: row, node: n, pace: r.c.pace}
}

func (t *task) define() (*step.Definition, error) {
	if t.node == nil {
		return nil, fault.New(fault.NotFound, "the node is gone")
	}
	return t.run.c.catalog.Find(t.node, flowOf(t.run.op.Kind), node.Step{Interface: t.row.Interface, Step: t.row.Step})
}

// attempt runs the step once more. A command of class Relative that an earlier attempt has sent is not sent again: what became of it is found by
// evidence, or stays unknown.
func (t *task) attempt(ctx context.Context, def *step.Definition) (step.Result, error) {
	limit := def.Timeout
	if limit == 0 {
		limit = t.run.c.cfg.StepTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fault.New(fault.Timeout, "the step did not end within %v", limit))
	defer cancel()
	if t.row.State == store.StepWaiting {
		return step.Wait, nil
	}
	if sent := t.relativeSent(); sent != nil {
		return t.verify(ctx, def, *sent)
	}
	t.row.Attempt++
	t.row.State, t.row.Epoch, t.row.Error = store.StepIntent, t.run.fence.Epoch, ""
	if t.row.Started.IsZero() {
		t.row.Started = t.run.c.db.Now()
	}
	if err := t.run.rec.save(ctx, t.row); err != nil {
		return 0, err
	}
	res, err := def.Run(driver.WithGuard(ctx, t.guard), t.task())
	if err != nil && context.Cause(ctx) != nil && fault.Is(context.Cause(ctx), fault.Timeout) {
		err = context.Cause(ctx)
	}
	return res, err
}

func (t *task) relativeSent() *store.Sent {
	for i := range t.row.Sent {
		if t.row.Sent[i].Relative {
			return &t.row.Sent[i]
		}
	}
	return nil
}

// verify finds out whether a relative command that was sent before a crash took effect.
func (t *task) verify(ctx context.Context, def *step.Definition, sent store.Sent) (step.Result, error) {
	if def.Verify == nil {
		return 0, &unknownError{sent}
	}
	ok, err := def.Verify(ctx, t.task(), sent.At)
	switch {
	case err != nil:
		return 0, err
	case !ok:
		return 0, &unknownError{sent}
	}
	t.evidence("after a restart of the conductor: " + sent.Text + " was seen to have taken effect")
	return step.Done, nil
}

// unknownError says that nobody knows whether a command took effect.
type unknownError struct{ sent store.Sent }

func (e *unknownError) Error() string {
	return fmt.Sprintf("%s was sent at %s and the conductor stopped before it saw the outcome. It was not sent again. Look at the machine, then ask for the steps that are still needed",
		e.sent.Text, e.sent.At.Format(time.TimeOnly))
}

func (t *task) task() *step.Task {
	return &step.Task{
		Node: t.node, Args: t.row.Args, Flow: flowOf(t.run.op.Kind), Attempt: t.row.Attempt, Evidence: t.evidence,
		Conn: t.open,
		Power: func(ctx context.Context, target node.PowerState) error {
			return t.power(ctx, target, t.pace)
		},
		Keep: func(ctx context.Context, key string, value any) error {
			t.row.Kept = withKey(t.row.Kept, key, value)
			return t.run.rec.save(ctx, t.row)
		},
		Kept: func(key string) any { return t.row.Kept[key] },
	}
}

func (t *task) evidence(text string) { t.row.Evidence = append(t.row.Evidence, text) }

// guard is asked by the driver at the last moment before a command leaves. It puts the command on record first: after a crash, a command may be
// on record that never left, but none can have left that is not on record.
func (t *task) guard(ctx context.Context, cmd driver.Command) error {
	if err := t.run.c.holder.Check(t.run.fence); err != nil {
		return err
	}
	t.row.Sent = append(t.row.Sent, store.Sent{Text: cmd.Text, Relative: cmd.Class == driver.Relative, At: t.run.c.db.Now(), Attempt: t.row.Attempt})
	t.row.State = store.StepSent
	if err := t.run.rec.save(ctx, t.row); err != nil {
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
	t.conn, t.bmc = conn, free
	return conn, nil
}

func (t *task) close() {
	if t.conn == nil {
		return
	}
	if err := t.conn.Close(); err != nil {
		t.run.log.Debug("connection not closed cleanly", "node", t.node.UUID, "error", err)
	}
	t.bmc()
	t.conn = nil
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
	conn, err = d.Open(ctx, n)
	if err != nil {
		free()
		return nil, nil, err
	}
	return conn, free, nil
}

// poll looks at a step that goes on outside until it is done.
func (t *task) poll(ctx context.Context, def *step.Definition) (step.Result, error) {
	if t.row.Child && (def.Poll == nil || !t.run.c.cfg.AsyncChildren) {
		return 0, fault.New(fault.Unsupported, "the step goes on outside the conductor, which steps on children may only do when permit_child_node_step_async_result is set")
	}
	if t.row.State != store.StepWaiting {
		t.row.State, t.row.Deadline = store.StepWaiting, t.run.c.db.Now().Add(t.run.waitLimit(def))
		if err := t.run.rec.save(ctx, t.row); err != nil {
			return 0, err
		}
	}
	timer := time.NewTimer(t.run.c.cfg.PollInterval)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-timer.C:
	}
	if t.run.c.db.Now().After(t.row.Deadline) {
		return 0, fault.New(fault.Timeout, "the step was not done within %v", t.run.waitLimit(def))
	}
	return def.Poll(driver.WithGuard(ctx, t.guard), t.task())
}

func (r *run) waitLimit(def *step.Definition) time.Duration {
	if def.Timeout > 0 {
		return def.Timeout
	}
	return r.c.cfg.WaitTimeout
}

func (t *task) failed(err error) {
	t.row.State, t.row.Error = store.StepFailed, err.Error()
	var unknown *unknownError
	if errors.As(err, &unknown) {
		t.row.State = store.StepUnknown
	}
}

// verdict returns why the steps at one place failed; empty when none did. It names each node that failed with its cause, those that are done,
// and what to do.
func (r *run) verdict(rows []*store.OpStep) string {
	var bad, good []string
	for _, s := range rows {
		switch {
		case s.State.Finished():
			good = append(good, r.name(s.Node))
		case s.State == store.StepFailed, s.State == store.StepUnknown:
			bad = append(bad, fmt.Sprintf("%s: %s", r.name(s.Node), s.Error))
		}
	}
	if len(bad) == 0 {
		return ""
	}
	s := rows[0]
	what := fmt.Sprintf("Node %s: %s step %s failed", r.name(r.op.Node), flowOf(r.op.Kind), s.Name())
	if !s.Child {
		return fmt.Sprintf("%s: %s.%s", what, s.Error, r.wayOut())
	}
	text := fmt.Sprintf("%s on %d of %d child nodes: %s.", what, len(bad), len(rows), strings.Join(bad, "; "))
	if len(good) > 0 {
		text += fmt.Sprintf(" It is done on %s.", strings.Join(good, ", "))
	}
	return text + r.wayOut()
}

func (r *run) wayOut() string {
	switch r.op.Kind {
	case kindClean:
		return " Mend the cause, clear maintenance, set the node to manage and send the same clean again: only what is unfinished runs."
	case kindService:
		return " Mend the cause, clear maintenance and send the same service again: only what is unfinished runs."
	}
	return ""
}

// name is what people know a node by, with its UUID.
func (r *run) name(uuid string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name := r.names[uuid]; name != "" {
		return name
	}
	return uuid
}

func (r *run) know(n *node.Node) {
	if n.Name == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names[n.UUID] = n.Name
}
