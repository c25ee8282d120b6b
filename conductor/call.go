package conductor

import (
	"context"
	"encoding/json"
	"sort"
	"time"

	"github.com/google/uuid"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/failpoint"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
	"github.com/riser-project/riser/store"
)

// call is something a machine can be asked or told outside of a flow.
type call struct {
	changes bool // needs the node for itself
	run     func(ctx context.Context, c driver.Conn, args node.Object) (any, error)
}

// calls is the list of them, by the name that an API handler uses.
var calls = map[string]call{
	"get_boot_device":            {run: getBootDevice},
	"get_supported_boot_devices": {run: getBootDevices},
	"set_boot_device":            {changes: true, run: setBootDevice},
	"set_boot_mode":              {changes: true, run: setBootMode},
	"set_secure_boot":            {changes: true, run: setSecureBoot},
	"inject_nmi":                 {changes: true, run: injectNMI},
	"get_indicators":             {run: getIndicators},
	"get_indicator":              {run: getIndicator},
	"set_indicator":              {changes: true, run: setIndicator},
	"get_sensors":                {run: getSensors},
	"get_virtual_media":          {run: getMedia},
	"attach_virtual_media":       {changes: true, run: attachMedia},
	"detach_virtual_media":       {changes: true, run: detachMedia},
	"call_vendor":                {changes: true, run: callVendor},
	"send_raw":                   {changes: true, run: sendRaw},
	"get_identity":               {run: getIdentity},
}

// Calls returns the names of the calls, sorted.
func Calls() []string {
	names := make([]string, 0, len(calls))
	for name := range calls {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func (in *Intake) call(ctx context.Context, ref string, c Call) (json.RawMessage, error) {
	what, ok := calls[c.Name]
	if !ok {
		return nil, fault.New(fault.Invalid, "call %q is not one of %v", c.Name, Calls())
	}
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	op := &store.Op{UUID: uuid.NewString(), Kind: kindCall, State: store.OpPlanned, Spec: spec{Call: c.Name}.raw(), Actor: c.Actor}
	woken, unsubscribe := in.DB.Subscribe(store.TopicOp(op.UUID))
	defer unsubscribe()
	err := in.write(ctx, failpoint.AcceptCall, func(tx *store.Tx) error {
		n, err := tx.Node(ctx, ref)
		if err != nil {
			return err
		}
		if what.changes && n.Reservation != "" {
			return Locked(n)
		}
		if _, err := conductorOf(ctx, tx, n); err != nil {
			return err
		}
		op.Root, op.Node, op.Lease = n.Root(), n.UUID, n.Lease
		return tx.InsertOp(ctx, op, []*store.OpStep{{Node: n.UUID, Interface: node.Management, Step: c.Name, Args: c.Args, State: store.StepPlanned}})
	})
	if err != nil {
		return nil, err
	}
	return in.await(ctx, op.UUID, woken)
}

// await waits for the end of a call and returns its answer.
func (in *Intake) await(ctx context.Context, id string, woken <-chan struct{}) (json.RawMessage, error) {
	look := time.NewTicker(time.Second) // a wake-up can be lost
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, fault.New(fault.Timeout, "the conductor did not answer in time: the request (operation %s) may still be carried out", id)
		case <-woken:
		case <-look.C:
		}
		var op *store.Op
		err := in.DB.Read(ctx, func(tx *store.Tx) (err error) { op, err = tx.Op(ctx, id); return err })
		if err != nil {
			return nil, err
		}
		if op.Ended.IsZero() {
			continue
		}
		if op.State == store.OpDone {
			return op.Result, nil
		}
		var r callFault
		if err := json.Unmarshal(op.Result, &r); err != nil {
			return nil, fault.New(fault.Internal, "%s", op.Error)
		}
		return nil, fault.New(r.Kind, "%s", op.Error)
	}
}

// callFault keeps the kind of a call's error in the operation's result.
type callFault struct {
	Kind fault.Kind `json:"kind"`
}

// call asks the machine, or tells it, what an API request wants, and leaves the answer in the operation.
func (r *run) call(ctx context.Context) error {
	row := r.steps[0]
	nodes, err := r.load(ctx, r.steps)
	if err != nil {
		return err
	}
	t := newTask(r, row, nodes[0])
	defer t.close()
	answer, err := t.answerCall(ctx)
	if dropped(ctx, err) {
		return err
	}
	return r.answer(ctx, t, answer, err)
}

func (t *task) answerCall(ctx context.Context) (answer any, err error) {
	switch {
	case t.node == nil:
		return nil, fault.New(fault.NotFound, "the node is gone")
	case next(t.row, t.earlier) == moveSettle:
		return nil, &unknownError{sent: *unsettled(t.row.Sent)}
	case t.run.c.db.Now().Sub(t.run.op.Created) > CallTimeout:
		return nil, fault.New(fault.Timeout, "nobody waits for the answer any more: the request was not carried out")
	}
	now := t.run.c.db.Now()
	t.change(func(row store.OpStep) store.OpStep {
		row.Attempt++
		row.State, row.Started = store.StepIntent, now
		return row
	})
	what := calls[t.run.spec.Call]
	ctx, cancel := context.WithTimeoutCause(ctx, CallTimeout, fault.New(fault.Timeout, "the controller did not answer within %v", CallTimeout))
	defer cancel()
	_, err = t.call(ctx, failpoint.Run, func(ctx context.Context, _ *step.Task) (step.Result, error) {
		conn, err := t.open(ctx)
		if err != nil {
			return step.Done, err
		}
		answer, err = what.run(ctx, conn, t.row.Args)
		return step.Done, err
	})
	return answer, err
}

// answer leaves the answer of a call, or why there is none, where the request waits for it.
func (r *run) answer(ctx context.Context, t *task, answer any, failed error) error {
	t.finish(failed)
	op := *r.op
	op.State, op.Ended = store.OpDone, r.c.db.Now()
	if failed != nil {
		op.State, op.Error = store.OpFailed, t.row.Error
		answer = callFault{fault.KindOf(failed)}
	}
	var err error
	if op.Result, err = json.Marshal(answer); err != nil {
		return err
	}
	return r.write(ctx, failpoint.Answer, func(tx *store.Tx) error {
		if err := tx.SaveStep(ctx, t.row); err != nil {
			return err
		}
		if err := tx.SaveOp(ctx, &op); err != nil {
			return err
		}
		return tx.PruneOps(ctx, op.Node, r.c.cfg.KeepOps)
	})
}
