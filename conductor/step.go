package conductor

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/riser-project/riser/failpoint"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
	"github.com/riser-project/riser/store"
)

// fanOut runs one step on several children, at most ChildWidth at the same time. A child that fails does not stop the others. When the
// operation is wanted elsewhere, no more are begun, and those under way come to their end.
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
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		if r.yields() {
			wg.Wait()
			cancel(errYielded)
			break
		}
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

// load reads the nodes of rows with their secrets; a node that is gone is nil.
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

// one runs a step on one child and records how it ended. An error means that it was dropped, not that the step failed.
func (r *run) one(ctx context.Context, row *store.OpStep, n *node.Node) error {
	t := newTask(r, row, n)
	defer t.close()
	var res step.Result
	def, err := t.define()
	if err == nil {
		res, err = t.attempt(ctx, def)
	}
	if err == nil && res == step.Wait {
		res, err = t.poll(ctx, def)
	}
	if dropped(ctx, err) {
		return err
	}
	if err == nil && res != step.Done {
		err = fmt.Errorf("the step asked to hold, which a step on a child cannot do")
	}
	t.finish(err)
	return t.save(failpoint.StepEnd)
}

// poll looks at a step on a child that goes on outside until it is done.
func (t *task) poll(ctx context.Context, def *step.Definition) (step.Result, error) {
	r := t.run
	if def.Poll == nil || !r.c.cfg.AsyncChildren {
		return 0, fault.New(fault.Unsupported, "%s", asyncText)
	}
	if t.row.State != store.StepWaiting {
		t.change(func(row store.OpStep) store.OpStep { return waiting(row, r.c.db.Now().Add(r.waitLimit(def))) })
		if err := t.save(failpoint.Pause); err != nil {
			return 0, err
		}
	}
	over := r.timer(t.row.Deadline, r.waitLimit(def))
	defer over.Stop()
	for {
		t.close() // others may have the controller meanwhile
		look := time.NewTimer(r.c.cfg.PollInterval)
		select {
		case <-ctx.Done():
			look.Stop()
			return 0, context.Cause(ctx)
		case <-over.C:
			look.Stop()
			return 0, fault.New(fault.Timeout, "the step was not done within %v", r.waitLimit(def))
		case <-look.C:
		}
		if r.yields() {
			return 0, errYielded
		}
		if res, err := t.call(ctx, failpoint.Poll, def.Poll); err != nil || res != step.Wait {
			return res, err
		}
	}
}

// asyncText says why a child's step may not wait.
const asyncText = "the step goes on outside the conductor, which steps on children may only do when permit_child_node_step_async_result is set"

// waiting is the row of a step that goes on outside. What it sent so far has come to that, and need not be found out.
func waiting(row store.OpStep, deadline time.Time) store.OpStep {
	row.State, row.Deadline = store.StepWaiting, deadline
	return settle(row, func(*store.Sent) bool { return true })
}

// timer ends at a deadline on record, but after limit at the latest. From here on it runs by the monotonic clock: a clock that is set does not
// end a wait, nor make it longer. Without a deadline it never ends.
func (r *run) timer(deadline time.Time, limit time.Duration) *time.Timer {
	if deadline.IsZero() {
		t := time.NewTimer(time.Hour)
		t.Stop()
		return t
	}
	return time.NewTimer(min(deadline.Sub(r.c.db.Now()), limit))
}

func (r *run) waitLimit(def *step.Definition) time.Duration {
	if def.Timeout > 0 {
		return def.Timeout
	}
	return r.c.cfg.WaitTimeout
}

// A verdict tells of so many children, of each in so many characters.
const (
	told      = 20
	toldRunes = 150
)

// verdict returns why the steps at one place failed; empty when none did. It names the nodes that failed with their causes, those that are done,
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
	what := fmt.Sprintf("Node %s: %s step %s failed", r.name(r.op.Node), r.op.Kind, s.Name())
	if !s.Child {
		return fmt.Sprintf("%s: %s.%s", what, s.Error, r.wayOut())
	}
	text := fmt.Sprintf("%s on %d of %d child nodes: %s.", what, len(bad), len(rows), few(bad, "; "))
	if len(good) > 0 {
		text += fmt.Sprintf(" It is done on %s.", few(good, ", "))
	}
	return text + r.wayOut()
}

// few joins the first of a list, so that the text stays short enough for last_error.
func few(list []string, sep string) string {
	if len(list) == 1 {
		return list[0]
	}
	var b strings.Builder
	for i, s := range list[:min(len(list), told)] {
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(cut(s, toldRunes))
	}
	if len(list) > told {
		fmt.Fprintf(&b, "%sand %d more (see the node's operations)", sep, len(list)-told)
	}
	return b.String()
}

func (r *run) wayOut() string {
	switch r.op.Kind {
	case kindClean:
		if !r.spec.Manual {
			return " Mend the cause, clear maintenance, and set the node to manage and provide again."
		}
		return " Mend the cause, clear maintenance, set the node to manage and send the same clean again: only what is unfinished runs."
	case kindService:
		return " Mend the cause, clear maintenance and send the same service again: only what is unfinished runs."
	case kindDeploy:
		return " Mend the cause and deploy the node again, or undeploy it."
	}
	return ""
}
