package conductor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

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
	words   chan string // of operators: abort, unhold, resume
	aborted bool        // an abort waits for the end of a step that cannot be aborted
	idle    atomic.Bool

	mu    sync.Mutex
	names map[string]string // of the nodes met so far, by UUID
}

func newRun(c *Conductor, op *store.Op, f store.Fence) *run {
	return &run{
		c: c, op: op, fence: f, names: map[string]string{}, rec: &recorder{db: c.db, fence: f}, words: make(chan string, 1),
		log: c.log.With("operation", op.UUID, "kind", op.Kind, "node", op.Node, "epoch", f.Epoch),
	}
}

// tell passes on the word that the record holds; each word once.
func (r *run) tell(word string) {
	if word == "" {
		return
	}
	select {
	case r.words <- word:
	default:
	}
}

// carryOut runs the operation and writes how it ended. An operation that is dropped, because the lease is lost, the process stops or the
// database is away, keeps its record as it is and goes on from there later.
func (r *run) carryOut(ctx context.Context) {
	err := r.guarded(ctx)
	switch {
	case err == nil:
	case ctx.Err() != nil, fault.Is(err, fault.Lost):
		r.log.Info("operation dropped; it goes on from its record", "reason", err)
	case fault.Is(err, fault.Unavailable), fault.Is(err, fault.Full):
		r.log.Warn("operation interrupted; it goes on from its record", "error", err)
	default:
		r.log.Error("operation could not be carried out", "error", err)
		if err := r.fail(ctx, fmt.Sprintf("riser could not carry out the %s: internal error, see the log of %s for operation %s", r.op.Kind, r.c.holder.Hostname(), r.op.UUID)); err != nil {
			r.log.Error("the failure could not be recorded", "error", err)
		}
	}
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
	switch {
	case err != nil:
		return err
	case failed != "":
		return r.fail(ctx, failed)
	}
	return r.succeed(ctx)
}

// enter marks the operation as running here and reads its steps.
func (r *run) enter(ctx context.Context) (err error) {
	if r.spec, err = readSpec(r.op.Spec); err != nil {
		return err
	}
	return r.write(ctx, func(tx *store.Tx) error {
		op, err := tx.Op(ctx, r.op.UUID)
		if err != nil {
			return err
		}
		if !op.Ended.IsZero() {
			return fault.New(fault.Lost, "operation %s has ended already", op.UUID)
		}
		r.op = op
		if r.steps, err = tx.Steps(ctx, op.ID); err != nil {
			return err
		}
		first := op.Started.IsZero()
		op.Epoch = r.fence.Epoch
		if first {
			op.Started, op.State = tx.Now(), store.OpRunning
		}
		if err := tx.SaveOp(ctx, op); err != nil || op.Kind == kindCall {
			return err
		}
		n, err := tx.NodeForUpdate(ctx, op.Node)
		if err != nil {
			return err
		}
		r.know(n)
		if op.State == store.OpRunning {
			n.Reservation = r.c.holder.Hostname()
			if err := tx.SaveNode(ctx, n); err != nil {
				return err
			}
		}
		if !first || flowOf(op.Kind) == "" {
			return nil
		}
		return tx.InsertEvent(ctx, r.event(n, "INFO", eventType(op.Kind, r.spec)+"_start", r.startText()))
	})
}

func (r *run) startText() string {
	names := []string{}
	for _, s := range r.steps {
		names = append(names, fmt.Sprintf("%s on %s", s.Name(), s.Node))
	}
	return fmt.Sprintf("Starting %s with steps=%v", eventType(r.op.Kind, r.spec), names)
}

func (r *run) event(n *node.Node, severity, kind, text string) *store.Event {
	e := &store.Event{
		UUID: uuid.NewString(), Node: n.UUID, Severity: severity, Type: kind, Text: text, Conductor: r.c.holder.Hostname(), Actor: r.op.Actor,
		Project: r.spec.Project, State: n.Provision, Target: n.TargetProvision,
	}
	if !r.op.Ended.IsZero() {
		e.Duration = r.op.Ended.Sub(r.op.Started)
	}
	return e
}

func (r *run) write(ctx context.Context, fn func(tx *store.Tx) error) error {
	return r.c.db.WriteFenced(ctx, r.fence, fn)
}

// flow runs the steps in the order of their list; those on children of one place in the list at the same time. failed says why it ended badly;
// err means that it did not end.
func (r *run) flow(ctx context.Context) (failed string, err error) {
	if failed, err = r.prepare(ctx); failed != "" || err != nil {
		return failed, err
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
			return "the operation was aborted by an operator", nil
		}
		i = j
	}
	return r.complete(ctx)
}

// place runs the steps that stand at one place of the list.
func (r *run) place(ctx context.Context, rows []*store.OpStep) (failed string, err error) {
	open := slices.DeleteFunc(slices.Clone(rows), func(s *store.OpStep) bool { return s.State.Finished() })
	if len(open) == 0 {
		return "", nil
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
	return r.write(ctx, func(tx *store.Tx) error {
		n, err := tx.NodeForUpdate(ctx, r.op.Node)
		if err != nil {
			return err
		}
		o := stepObject(row, nil)
		switch r.op.Kind {
		case kindClean:
			n.CleanStep = o
		case kindDeploy:
			n.DeployStep = o
		case kindService:
			n.ServiceStep = o
		default:
			return nil
		}
		return tx.SaveNode(ctx, n)
	})
}

// succeed ends the operation well.
func (r *run) succeed(ctx context.Context) error {
	return r.end(ctx, store.OpDone, "", func(n *node.Node) {
		switch r.op.Kind {
		case kindClean:
			ev := node.EvDone
			if n.TargetProvision == node.Manageable || n.Retired {
				ev = node.EvManage
			}
			n.Move(ev, "")
		case kindDelete:
			n.InstanceUUID, n.InstanceInfo, n.InstanceName, n.Protected, n.ProtectedReason = "", nil, "", false, ""
			n.Move(node.EvClean, "")
		default:
			n.Move(node.EvDone, "")
		}
	})
}

// fail ends the operation badly. text names the node, the step, the cause and the way out.
func (r *run) fail(ctx context.Context, text string) error {
	state := store.OpFailed
	if r.aborted {
		state = store.OpAborted
	}
	return r.end(ctx, state, text, func(n *node.Node) {
		ran := len(n.CleanStep)+len(n.ServiceStep) > 0
		n.LastError = text
		switch {
		case r.op.Kind == kindClean && ran && !r.aborted:
			n.Maintenance, n.MaintenanceReason, n.Fault = true, text, node.FaultClean
		case r.op.Kind == kindService && ran && !r.aborted:
			n.Maintenance, n.MaintenanceReason, n.Fault = true, text, node.FaultService
		}
		if !n.Move(node.EvFail, "") {
			n.Move(node.EvAbort, "")
		}
	})
}

// end writes the end of the operation and of what it held, in one transaction, and starts what follows from it.
func (r *run) end(ctx context.Context, state store.OpState, text string, move func(n *node.Node)) error {
	return r.write(ctx, func(tx *store.Tx) error {
		r.op.State, r.op.Error, r.op.Ended, r.op.Control, r.op.Wait = state, text, tx.Now(), "", time.Time{}
		if err := tx.SaveOp(ctx, r.op); err != nil {
			return err
		}
		n, err := tx.NodeForUpdate(ctx, r.op.Node)
		if err != nil {
			return err
		}
		severity, suffix := "INFO", "_end"
		told := fmt.Sprintf("%s completed successfully", eventType(r.op.Kind, r.spec))
		if state != store.OpDone {
			severity, suffix, told = "ERROR", "", text
		}
		before := *n
		move(n)
		n.Reservation, n.CleanStep, n.DeployStep, n.ServiceStep = "", nil, nil, nil
		if n.Provision != before.Provision {
			n.ProvisionUpdatedAt = tx.Now()
		}
		if err := r.release(ctx, tx); err != nil {
			return err
		}
		if err := tx.InsertEvent(ctx, r.event(&before, severity, eventType(r.op.Kind, r.spec)+suffix, told)); err != nil {
			return err
		}
		if err := tx.PruneOps(ctx, n.UUID, r.c.cfg.KeepOps); err != nil {
			return err
		}
		if r.op.Kind == kindDelete && n.Provision == node.Cleaning {
			return r.follow(ctx, tx, n)
		}
		return tx.SaveNode(ctx, n)
	})
}

// release gives back the children that the operation held.
func (r *run) release(ctx context.Context, tx *store.Tx) error {
	var freed []string
	for _, s := range r.steps {
		if s.Node == r.op.Node || slices.Contains(freed, s.Node) {
			continue
		}
		freed = append(freed, s.Node)
		c, err := tx.NodeForUpdate(ctx, s.Node)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if s.State == store.StepSkipped && c.Reservation != "" && !r.touches(s.Node) {
			continue // somebody else holds it: this operation never did
		}
		c.Reservation = ""
		if err := tx.SaveNode(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// touches reports whether the operation had work to do on the node, and so held it.
func (r *run) touches(nodeUUID string) bool {
	return slices.ContainsFunc(r.steps, func(s *store.OpStep) bool { return s.Node == nodeUUID && s.State != store.StepSkipped })
}

// follow starts the cleaning that comes after a machine was given back.
func (r *run) follow(ctx context.Context, tx *store.Tx, n *node.Node) error {
	verb, _ := node.VerbOf("provide")
	in := &Intake{DB: r.c.db, Catalog: r.c.catalog, Drivers: r.c.drivers, Config: r.c.cfg}
	a := admission{in: in, tx: tx, cfg: r.c.cfg, n: n, req: Request{Verb: verb, Actor: r.op.Actor}}
	rows, _, err := a.plan(ctx, kindClean)
	if err != nil {
		return err
	}
	op := &store.Op{UUID: uuid.NewString(), Root: n.Root(), Node: n.UUID, Lease: n.Lease, Kind: kindClean, State: store.OpPlanned, Spec: spec{}.raw(), Actor: r.op.Actor}
	return begin(ctx, tx, n, op, rows, nil)
}

// errDropped is wrapped by errors after which nothing may be written any more.
var errDropped = errors.New("the operation was dropped")
