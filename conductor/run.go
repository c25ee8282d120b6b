package conductor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/riser-project/riser/failpoint"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// run is one operation under one lease, from where its record says it stands to its end, or to the loss of the lease.
type run struct {
	c     *Conductor
	op    *store.Op
	spec  spec
	fence store.Fence
	rec   *recorder
	log   *slog.Logger

	steps   []*store.OpStep
	words   chan string // of operators and agents: abort, unhold, resume, fail
	aborted bool        // an abort waits for the end of a step that cannot be aborted
	idle    bool        // it waits, and has given its worker back

	out     chan struct{} // closed when the operation should not wait here any longer
	outOnce sync.Once

	mu    sync.Mutex
	names map[string]string // of the nodes met so far, by UUID
}

func newRun(c *Conductor, ref store.OpRef, f store.Fence) *run {
	return &run{
		c: c, op: &store.Op{ID: ref.ID, UUID: ref.UUID}, fence: f, names: map[string]string{}, words: make(chan string, 1), out: make(chan struct{}),
		log: c.log.With("operation", ref.UUID, "epoch", f.Epoch),
	}
}

// tell passes on the word that the record holds. A word that nobody has taken yet gives way to a later one.
func (r *run) tell(word string) {
	if word == "" {
		return
	}
	select {
	case <-r.words:
	default:
	}
	select {
	case r.words <- word:
	default:
	}
}

// leave asks an operation that waits to end here: it was ended by others, or goes on in another conductor.
func (r *run) leave() { r.outOnce.Do(func() { close(r.out) }) }

// yields reports whether the operation should end here at the next safe point, to go on in another conductor.
func (r *run) yields() bool { return r.c.stopping.Load() || r.c.holder.Leaving(r.fence.Shard) }

// errYielded ends an operation at a safe point: between steps, or while it waits.
var errYielded = errors.New("the operation goes on in another conductor, or after a restart")

// carryOut runs the operation and writes how it ended. An operation that is dropped, because the lease is lost, the process stops or the
// database is away, keeps its record as it is and goes on from there later.
func (r *run) carryOut(ctx context.Context) {
	r.rec = &recorder{c: r.c, fence: r.fence, ctx: ctx}
	err := r.guarded(ctx)
	switch {
	case err == nil:
	case dropped(ctx, err):
		r.log.Info("operation dropped; it goes on from its record", "reason", err)
	default:
		r.log.Error("operation could not be carried out", "error", err)
		text := fmt.Sprintf("riser could not carry out the %s: internal error, see the log of %s for operation %s", r.op.Kind, r.c.holder.Hostname(), r.op.UUID)
		if err := r.fail(ctx, text); err != nil {
			r.log.Error("the failure could not be recorded", "error", err)
		}
	}
}

// dropped reports whether err means that the operation must stop here without a word.
func dropped(ctx context.Context, err error) bool {
	return err != nil && (fault.Is(err, fault.Lost) || errors.Is(err, errYielded) || ctx.Err() != nil)
}

func (r *run) guarded(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if err := r.enter(ctx); err != nil {
		return err
	}
	switch r.op.Kind {
	case kindCall:
		return r.call(ctx)
	case kindPower:
		return r.powerOp(ctx)
	}
	failed, err := r.flow(ctx)
	if err != nil {
		return err
	}
	if failed == "" {
		return r.succeed(ctx)
	}
	if failed, err = r.giveUp(ctx, failed); err != nil {
		return err
	}
	return r.fail(ctx, failed)
}

// enter marks the operation as running here and reads its steps.
func (r *run) enter(ctx context.Context) error {
	return r.write(ctx, failpoint.Enter, func(tx *store.Tx) error {
		op, err := tx.Op(ctx, r.op.UUID)
		if fault.Is(err, fault.NotFound) {
			return fault.New(fault.Lost, "operation %s is gone, with its node", r.op.UUID)
		}
		if err != nil {
			return err
		}
		if r.spec, err = readSpec(op.Spec); err != nil {
			return err
		}
		if r.steps, err = tx.Steps(ctx, op.ID); err != nil {
			return err
		}
		if err := tx.UnsealSteps(ctx, op, r.steps); err != nil {
			return err
		}
		r.op = op
		r.log = r.c.log.With("operation", op.UUID, "kind", op.Kind, "node", op.Node, "epoch", r.fence.Epoch)
		return r.begin(ctx, tx)
	})
}

// begin writes that the operation runs here, and the first time that it has begun.
func (r *run) begin(ctx context.Context, tx *store.Tx) error {
	first := r.op.Started.IsZero()
	r.op.Epoch = r.fence.Epoch
	if first {
		r.op.Started, r.op.State = tx.Now(), store.OpRunning
	}
	if err := tx.SaveOp(ctx, r.op); err != nil || r.op.Kind == kindCall {
		return err
	}
	n, err := tx.NodeForUpdate(ctx, r.op.Node)
	if err != nil {
		return err
	}
	r.know(n)
	r.aborted = r.op.Aborting
	if r.op.State != store.OpRunning {
		return nil
	}
	n.Reservation = r.c.holder.Hostname()
	if first && r.op.Kind == kindInspect {
		n.InspectionStartedAt, n.InspectionFinishedAt = tx.Now(), noTime
	}
	if err := tx.SaveNode(ctx, n); err != nil {
		return err
	}
	if err := tx.RehostChildren(ctx, r.op, n.Reservation); err != nil || !first || flowOf(r.op.Kind) == "" {
		return err
	}
	return tx.InsertEvent(ctx, r.event(n, "INFO", eventType(r.op.Kind, r.spec)+"_start", r.startText()))
}

func (r *run) startText() string {
	names := []string{}
	for _, s := range r.steps {
		names = append(names, fmt.Sprintf("%s on %s", s.Name(), s.Node))
	}
	return clip(fmt.Sprintf("Starting %s with steps=%v", eventType(r.op.Kind, r.spec), names))
}

func (r *run) event(n *node.Node, severity, kind, text string) *store.Event {
	return &store.Event{
		UUID: uuid.NewString(), Node: n.UUID, Severity: severity, Type: kind, Text: text, Conductor: r.c.holder.Hostname(), Actor: r.op.Actor,
		Project: r.spec.Project, State: n.Provision, Target: n.TargetProvision,
	}
}

func (r *run) write(ctx context.Context, p failpoint.Pair, fn func(tx *store.Tx) error) error {
	return r.c.persist(ctx, r.fence, p, fn)
}

// flow runs the steps in the order of their list; those on children of one place in the list at the same time. failed says why it ended badly;
// err means that it did not end.
func (r *run) flow(ctx context.Context) (failed string, err error) {
	if r.op.State == store.OpRunning {
		if failed, err = r.prepare(ctx); failed != "" || err != nil {
			return failed, err
		}
	}
	for i := 0; i < len(r.steps); {
		j := i
		for j < len(r.steps) && r.steps[j].Seq == r.steps[i].Seq {
			j++
		}
		if failed, err = r.place(ctx, r.steps[i:j]); failed != "" || err != nil {
			return failed, err
		}
		if r.aborted {
			return fmt.Sprintf("Node %s: the operation was aborted by an operator, after step %s.", r.name(r.op.Node), r.steps[i].Name()), nil
		}
		i = j
	}
	return r.complete(ctx)
}

// place runs the steps that stand at one place of the list.
func (r *run) place(ctx context.Context, rows []*store.OpStep) (failed string, err error) {
	open := slices.DeleteFunc(slices.Clone(rows), func(s *store.OpStep) bool { return s.State.Finished() || s.Seq == extraSeq })
	if len(open) == 0 {
		return "", nil
	}
	if r.yields() {
		return "", errYielded
	}
	if err := r.showStep(ctx, open[0]); err != nil {
		return "", err
	}
	if !open[0].Child {
		if err := r.alone(ctx, open[0]); err != nil {
			return "", err
		}
	} else if err := r.fanOut(ctx, open); err != nil {
		return "", err
	}
	return r.verdict(rows), nil
}

// showStep makes the step the node's current one.
func (r *run) showStep(ctx context.Context, row *store.OpStep) error {
	switch r.op.Kind {
	case kindClean, kindDeploy, kindService:
	default:
		return nil
	}
	return r.write(ctx, failpoint.Show, func(tx *store.Tx) error {
		n, err := tx.NodeForUpdate(ctx, r.op.Node)
		if err != nil {
			return err
		}
		def, err := r.c.lookup().find(n, flowOf(r.op.Kind), node.Step{Interface: row.Interface, Step: row.Step})
		if err != nil {
			def = nil // the step is a child's, or fails in a moment with a text of its own
		}
		o := stepObject(row, def)
		if r.aborted {
			o["abort_after"] = true
		}
		switch r.op.Kind {
		case kindClean:
			n.CleanStep = o
		case kindDeploy:
			n.DeployStep = o
		case kindService:
			n.ServiceStep = o
		}
		return tx.SaveNode(ctx, n)
	})
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
