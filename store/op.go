package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"strconv"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// OpState is the state of an operation.
type OpState string

// States of an operation. Done, Failed and Aborted are final.
const (
	OpPlanned OpState = "planned"
	OpRunning OpState = "running"
	OpWaiting OpState = "waiting" // for something outside the conductor, until a deadline
	OpHeld    OpState = "held"    // until an operator says unhold
	OpDone    OpState = "done"
	OpFailed  OpState = "failed"
	OpAborted OpState = "aborted"
)

// StepState is the state of a step on one node.
type StepState string

// States of a step. A step that was sent and not seen to take effect is Unknown: it is shown, and never guessed away.
const (
	StepPlanned  StepState = "planned"
	StepIntent   StepState = "intent"   // an attempt is under way; nothing was sent yet
	StepSent     StepState = "sent"     // a command that changes something has left
	StepVerified StepState = "verified" // its effect was observed
	StepWaiting  StepState = "waiting"  // it goes on outside the conductor
	StepDone     StepState = "done"
	StepFailed   StepState = "failed"
	StepUnknown  StepState = "unknown"
	StepSkipped  StepState = "skipped" // an earlier operation had done it
)

// Final reports whether the step will not change again in its operation.
func (s StepState) Final() bool {
	switch s {
	case StepDone, StepFailed, StepUnknown, StepSkipped:
		return true
	}
	return false
}

// Finished reports whether the step's work is done.
func (s StepState) Finished() bool { return s == StepDone || s == StepSkipped }

// Op is an operation on a node and, through its steps, on the node's children.
type Op struct {
	ID     int64
	UUID   string
	Root   string // UUID of the root node, whose lease covers the operation
	Node   string // UUID of the node that was asked
	Lease  int
	Kind   string
	State  OpState
	Spec   json.RawMessage // what was asked, in the words of the kind
	Result json.RawMessage // the answer, where the kind has one
	Error  string
	Actor  string
	Epoch  int64 // of the lease under which it last ran

	Control  string    // the last word that nobody has heard yet
	Aborting bool      // an abort was asked for
	Wait     time.Time // deadline of a wait

	Created time.Time
	Started time.Time
	Ended   time.Time
}

// Sent is a command that left for a controller.
type Sent struct {
	Text     string    `json:"text"`
	Relative bool      `json:"relative,omitempty"`
	At       time.Time `json:"at"`
	Attempt  int       `json:"attempt"`
	Epoch    int64     `json:"epoch,omitempty"`   // of the lease under which it left
	Node     string    `json:"node,omitempty"`    // UUID, when it went to the controller of a relative
	Power    string    `json:"power,omitempty"`   // the power command it was
	Call     int       `json:"call,omitempty"`    // the step's power change that it belongs to, from 1
	Answer   string    `json:"answer,omitempty"`  // of a power command: Accepted, Refused or NotCarriedOut; empty when none is known
	Reset    time.Time `json:"reset,omitzero"`    // before a restart: the machine's last reset, by its own clock
	Settled  bool      `json:"settled,omitempty"` // what came of it is on record
}

// Answers to a power command.
const (
	Accepted      = "accepted"
	Refused       = "refused"
	NotCarriedOut = "not carried out" // as was found later
)

// Void reports whether it is known that the command changed nothing.
func (s *Sent) Void() bool { return s.Answer == Refused || s.Answer == NotCarriedOut }

// OpStep is one step of an operation on one node.
type OpStep struct {
	ID        int64
	Op        int64
	Seq       int // position in the list that was asked for, from 0
	Node      string
	Interface node.Interface
	Step      string
	Args      node.Object
	Child     bool // runs on a child of the node that was asked
	State     StepState
	Attempt   int
	Epoch     int64
	Sent      []Sent
	Evidence  []string
	Kept      node.Object
	Error     string
	Deadline  time.Time
	Started   time.Time
	Ended     time.Time
}

// Name returns the step's full name, "interface.step".
func (s *OpStep) Name() string { return string(s.Interface) + "." + s.Step }

type rawJSON = json.RawMessage

var ops = table[Op]{"ops", []column[Op]{
	text("uuid", func(o *Op) *string { return &o.UUID }),
	text("root", func(o *Op) *string { return &o.Root }),
	text("node", func(o *Op) *string { return &o.Node }),
	count("lease_shard", func(o *Op) *int { return &o.Lease }),
	text("kind", func(o *Op) *string { return &o.Kind }),
	spelled("state", func(o *Op) *OpState { return &o.State }),
	jsonText("spec", func(o *Op) *rawJSON { return &o.Spec }),
	jsonText("result", func(o *Op) *rawJSON { return &o.Result }),
	text("error", func(o *Op) *string { return &o.Error }),
	text("actor", func(o *Op) *string { return &o.Actor }),
	text("control", func(o *Op) *string { return &o.Control }),
	boolean("aborting", func(o *Op) *bool { return &o.Aborting }),
	number("epoch", func(o *Op) *int64 { return &o.Epoch }),
	when("deadline", func(o *Op) *time.Time { return &o.Wait }),
	when("created_at", func(o *Op) *time.Time { return &o.Created }),
	when("started_at", func(o *Op) *time.Time { return &o.Started }),
	when("ended_at", func(o *Op) *time.Time { return &o.Ended }),
}}

var opSteps = table[OpStep]{"op_steps", []column[OpStep]{
	number("op", func(s *OpStep) *int64 { return &s.Op }),
	count("seq", func(s *OpStep) *int { return &s.Seq }),
	text("node", func(s *OpStep) *string { return &s.Node }),
	spelled("interface", func(s *OpStep) *node.Interface { return &s.Interface }),
	text("step", func(s *OpStep) *string { return &s.Step }),
	jsonText("args", func(s *OpStep) *node.Object { return &s.Args }),
	boolean("child", func(s *OpStep) *bool { return &s.Child }),
	spelled("state", func(s *OpStep) *StepState { return &s.State }),
	count("attempt", func(s *OpStep) *int { return &s.Attempt }),
	number("epoch", func(s *OpStep) *int64 { return &s.Epoch }),
	jsonText("sent", func(s *OpStep) *[]Sent { return &s.Sent }),
	jsonText("evidence", func(s *OpStep) *[]string { return &s.Evidence }),
	jsonText("kept", func(s *OpStep) *node.Object { return &s.Kept }),
	text("error", func(s *OpStep) *string { return &s.Error }),
	when("deadline", func(s *OpStep) *time.Time { return &s.Deadline }),
	when("started_at", func(s *OpStep) *time.Time { return &s.Started }),
	when("ended_at", func(s *OpStep) *time.Time { return &s.Ended }),
}}

// TopicOps wakes conductors when there is work. TopicOp wakes those who wait for one operation.
const TopicOps = "ops"

// TopicOp is the topic of the operation with this UUID.
func TopicOp(uuid string) string { return "op:" + uuid }

// InsertOp adds an operation with its steps, fills its ID and Created, and wakes the conductors. Its Lease is the node's. Secrets in arguments
// are sealed apart from them.
func (tx *Tx) InsertOp(ctx context.Context, o *Op, steps []*OpStep) error {
	o.Created = tx.Now()
	query, args, err := ops.insert(o)
	if err != nil {
		return err
	}
	if err := tx.queryRow(ctx, query+" RETURNING id", args...).Scan(&o.ID); err != nil {
		return err
	}
	secrets := map[string]node.Object{}
	for _, s := range steps {
		s.Op = o.ID
		if _, secret := Mask(s.Args); secret {
			secrets[strconv.Itoa(s.Seq)] = s.Args
		}
		if err := tx.InsertStep(ctx, s); err != nil {
			return err
		}
	}
	if len(secrets) > 0 {
		sealed, err := tx.db.sealer.seal(o.UUID, secrets)
		if err != nil {
			return err
		}
		if _, err := tx.exec(ctx, "UPDATE ops SET secrets = ? WHERE id = ?", sealed, o.ID); err != nil {
			return err
		}
	}
	tx.Wake(TopicOps)
	return nil
}

// InsertStep adds a step to the operation that it names, and fills its ID. Secrets in its arguments are masked.
func (tx *Tx) InsertStep(ctx context.Context, s *OpStep) error {
	row := *s
	row.Args, _ = Mask(s.Args)
	query, args, err := opSteps.insert(&row)
	if err != nil {
		return err
	}
	return tx.queryRow(ctx, query+" RETURNING id", args...).Scan(&s.ID)
}

// UnsealSteps puts the secrets back into the arguments of the operation's steps. They must not be shown or logged afterwards.
func (tx *Tx) UnsealSteps(ctx context.Context, o *Op, steps []*OpStep) error {
	var sealed []byte
	if err := tx.queryRow(ctx, "SELECT secrets FROM ops WHERE id = ?", o.ID).Scan(&sealed); err != nil {
		return err
	}
	secrets, err := tx.db.sealer.open(o.UUID, sealed)
	for _, s := range steps {
		if args, ok := secrets[strconv.Itoa(s.Seq)]; ok {
			s.Args = args
		}
	}
	return err
}

// stillOurs is the condition under which the rows of an operation may be written: it has not ended, and lies in the shard whose fence the
// transaction shows, if it shows one.
func (tx *Tx) stillOurs(args []any) (string, []any) {
	if tx.fence == nil {
		return "ended_at = 0", args
	}
	return "ended_at = 0 AND lease_shard = ?", append(args, tx.fence.Shard)
}

// errEnded is the fault for a write to an operation that has ended, is gone, or lies in another conductor's shard now.
var errEnded = fault.New(fault.Lost, "the operation has ended, or lies in another shard: it is dropped")

// SaveOp writes o, but for what was asked and its words, and wakes those who wait for it. The error is fault.Lost when it has ended already or
// has moved to another shard.
func (tx *Tx) SaveOp(ctx context.Context, o *Op) error {
	set, args, err := ops.set(o, "uuid", "root", "node", "lease_shard", "kind", "spec", "actor", "control", "aborting", "created_at")
	if err != nil {
		return err
	}
	ours, args := tx.stillOurs(append(args, o.ID))
	changed, err := tx.exec(ctx, "UPDATE ops SET "+set+" WHERE id = ? AND "+ours, args...)
	if err == nil && changed == 0 {
		err = errEnded
	}
	tx.Wake(TopicOp(o.UUID))
	return err
}

// SaveStep writes what changes in s while it runs. The error is fault.Lost when its operation has ended or has moved to another shard.
func (tx *Tx) SaveStep(ctx context.Context, s *OpStep) error {
	set, args, err := opSteps.set(s, "op", "seq", "node", "interface", "step", "args", "child")
	if err != nil {
		return err
	}
	ours, args := tx.stillOurs(append(args, s.ID, s.Op))
	changed, err := tx.exec(ctx, "UPDATE op_steps SET "+set+" WHERE id = ? AND EXISTS (SELECT 1 FROM ops WHERE id = ? AND "+ours+")", args...)
	if err == nil && changed == 0 {
		err = errEnded
	}
	return err
}

// WordAbort is the word that ends an operation: at once, or after its step.
const WordAbort = "abort"

// ControlOp leaves word for the conductor that runs the operation: "abort", "unhold", "resume", or "fail" from an agent. A later word takes the
// place of one that was not heard yet; that an abort was asked for stays on record.
func (tx *Tx) ControlOp(ctx context.Context, o *Op, word string) error {
	o.Control, o.Aborting = word, o.Aborting || word == WordAbort
	_, err := tx.exec(ctx, "UPDATE ops SET control = ?, aborting = CASE WHEN ? = 1 THEN 1 ELSE aborting END WHERE id = ? AND ended_at = 0",
		word, asFlag(word == WordAbort), o.ID)
	tx.Wake(TopicOps)
	return err
}

// HeardOp takes the word from the operation, unless another was left in the meantime.
func (tx *Tx) HeardOp(ctx context.Context, o *Op, word string) error {
	_, err := tx.exec(ctx, "UPDATE ops SET control = '' WHERE id = ? AND control = ?", o.ID, word)
	return err
}

// OpRef is as much of an open operation as it takes to know whether it has to be started, and what was said to it.
type OpRef struct {
	ID      int64
	UUID    string
	Lease   int
	Control string
}

// OpenOpRefs returns the operations of these lease shards that have not ended, oldest first.
func (tx *Tx) OpenOpRefs(ctx context.Context, shards []int) ([]OpRef, error) {
	w := &where{}
	w.add("ended_at = 0")
	in(w, "lease_shard", shards)
	var list []OpRef
	err := tx.each(ctx, "SELECT id, uuid, lease_shard, control FROM ops"+w.sql()+" ORDER BY id", w.args, func(rows *sql.Rows) error {
		var o OpRef
		err := rows.Scan(&o.ID, &o.UUID, &o.Lease, &o.Control)
		list = append(list, o)
		return err
	})
	return list, err
}

// childrenOf selects the children on which an operation, the argument, has steps of its own to run.
const childrenOf = "(SELECT node FROM op_steps WHERE op = ? AND child = 1 AND state <> 'skipped')"

// ReserveChildren reserves the children on which the operation has steps to run for host. When another operation holds one of them, it returns
// that one's UUID and reserves none.
func (tx *Tx) ReserveChildren(ctx context.Context, o *Op, host string) (held string, err error) {
	err = tx.each(ctx, "SELECT uuid, reservation FROM nodes WHERE uuid IN "+childrenOf+" ORDER BY id {update}", []any{o.ID}, func(rows *sql.Rows) error {
		var uuid, reservation string
		err := rows.Scan(&uuid, &reservation)
		if reservation != "" && held == "" {
			held = uuid
		}
		return err
	})
	if err != nil || held != "" {
		return held, err
	}
	return "", tx.hostChildren(ctx, o, host)
}

// ReleaseChildren gives the children of ReserveChildren back.
func (tx *Tx) ReleaseChildren(ctx context.Context, o *Op) error { return tx.hostChildren(ctx, o, "") }

// RehostChildren shows host as the one that holds the children, after a takeover.
func (tx *Tx) RehostChildren(ctx context.Context, o *Op, host string) error {
	return tx.hostChildren(ctx, o, host)
}

func (tx *Tx) hostChildren(ctx context.Context, o *Op, host string) error {
	_, err := tx.exec(ctx, "UPDATE nodes SET reservation = ?, updated_at = ?, version = version + 1 WHERE reservation <> ? AND uuid IN "+childrenOf,
		host, toMicros(tx.Now()), host, o.ID)
	return err
}

// Op returns the operation with this UUID. The error is fault.NotFound when there is none.
func (tx *Tx) Op(ctx context.Context, uuid string) (*Op, error) {
	list, err := tx.ops(ctx, &where{conds: []string{"uuid = ?"}, args: []any{uuid}}, "")
	if err == nil && len(list) == 0 {
		return nil, fault.New(fault.NotFound, "Operation %s could not be found.", uuid)
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// OpenOps returns the operations of these lease shards that have not ended, oldest first.
func (tx *Tx) OpenOps(ctx context.Context, shards []int) ([]*Op, error) {
	w := &where{}
	w.add("ended_at = 0")
	in(w, "lease_shard", shards)
	return tx.ops(ctx, w, " ORDER BY id")
}

// OpenOp returns the operation under way on the node, or nil. kinds, if given, are the kinds that count.
func (tx *Tx) OpenOp(ctx context.Context, nodeUUID string, kinds ...string) (*Op, error) {
	w := &where{}
	w.add("ended_at = 0")
	w.add("node = ?", nodeUUID)
	if len(kinds) > 0 {
		in(w, "kind", kinds)
	}
	list, err := tx.ops(ctx, w, " ORDER BY id LIMIT 1")
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

// LastOp returns the newest operation of this kind on the node, or nil.
func (tx *Tx) LastOp(ctx context.Context, nodeUUID, kind string) (*Op, error) {
	w := &where{}
	w.add("node = ?", nodeUUID)
	w.add("kind = ?", kind)
	list, err := tx.ops(ctx, w, " ORDER BY id DESC LIMIT 1")
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

// NodeOps returns the operations on the node, newest first, at most limit of them, from before the operation with UUID marker if that is given.
func (tx *Tx) NodeOps(ctx context.Context, nodeUUID, marker string, limit int) ([]*Op, error) {
	w := &where{}
	w.add("node = ?", nodeUUID)
	order, err := tx.keyset(ctx, w, keyset{table: "ops", key: "id", desc: true, marker: marker, limit: limit, missing: func(ref string) error {
		return fault.New(fault.NotFound, "Operation %s could not be found.", ref)
	}})
	if err != nil {
		return nil, err
	}
	return tx.ops(ctx, w, order)
}

func (tx *Tx) ops(ctx context.Context, w *where, order string) ([]*Op, error) {
	var list []*Op
	err := tx.each(ctx, "SELECT "+ops.names("", nil)+", id FROM ops"+w.sql()+order, w.args, func(rows *sql.Rows) error {
		o := &Op{}
		if err := rows.Scan(append(ops.dests(o, nil), &o.ID)...); err != nil {
			return err
		}
		list = append(list, o)
		return nil
	})
	return list, err
}

// Steps returns the steps of an operation, in the order of the list and then of their nodes' creation.
func (tx *Tx) Steps(ctx context.Context, op int64) ([]*OpStep, error) {
	var list []*OpStep
	err := tx.each(ctx, "SELECT "+opSteps.names("", nil)+", id FROM op_steps WHERE op = ? ORDER BY seq, id", []any{op}, func(rows *sql.Rows) error {
		s := &OpStep{}
		if err := rows.Scan(append(opSteps.dests(s, nil), &s.ID)...); err != nil {
			return err
		}
		list = append(list, s)
		return nil
	})
	return list, err
}

// PruneOps removes the oldest ended operations of the node beyond keep.
func (tx *Tx) PruneOps(ctx context.Context, nodeUUID string, keep int) error {
	_, err := tx.exec(ctx, `DELETE FROM ops WHERE node = ? AND ended_at <> 0 AND id <= (
		SELECT id FROM ops WHERE node = ? AND ended_at <> 0 ORDER BY id DESC LIMIT 1 OFFSET ?)`, nodeUUID, nodeUUID, keep)
	return err
}

// TouchedSince reports whether an operation newer than the one with this id has done anything to the node.
func (tx *Tx) TouchedSince(ctx context.Context, nodeUUID string, op int64) (bool, error) {
	var n int
	err := tx.queryRow(ctx, `SELECT COUNT(*) FROM op_steps WHERE node = ? AND op > ? AND sent <> ''`, nodeUUID, op).Scan(&n)
	return n > 0, err
}
