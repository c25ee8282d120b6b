package conductor

import (
	"slices"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/store"
)

// The functions of this file decide, from the record of a step alone, what a conductor may do next. They are pure: the engine acts on what they
// return, and the model in model_test.go explores every order of events over the same functions.

// move is how a conductor that picks up a step goes on with it.
type move uint8

const (
	moveRun    move = iota // run the step; commands of class Absolute may be repeated
	moveSettle             // find by evidence what became of a relative command that an earlier conductor sent
	moveWait               // go on waiting
	moveNone               // it has ended
)

// next decides how to go on with a step from its record. earlier is the number of commands in row.Sent that were sent before this conductor, or
// this start of it, picked the step up.
func next(row *store.OpStep, earlier int) move {
	switch {
	case row.State.Final():
		return moveNone
	case row.State == store.StepWaiting:
		return moveWait
	case unsettled(row.Sent[:earlier]) != nil:
		return moveSettle
	}
	return moveRun
}

// unsettled returns the last command of class Relative whose outcome is not on record, or nil.
func unsettled(sent []store.Sent) *store.Sent {
	for i := range slices.Backward(sent) {
		if s := &sent[i]; s.Relative && !s.Settled && !s.Void() {
			return s
		}
	}
	return nil
}

// admit decides whether cmd may leave. It returns row with the command on record, which has to be written before the command is sent. A relative
// command is refused, with the record of it, when it was sent before and nobody knows what came of that.
func admit(row store.OpStep, earlier int, epoch int64, cmd driver.Command, mark powerMark, now time.Time) (store.OpStep, *store.Sent) {
	if cmd.Class == driver.Relative {
		for i := range row.Sent[:earlier] {
			if s := &row.Sent[i]; s.Relative && !s.Settled && !s.Void() && s.Text == cmd.Text && s.Node == mark.node {
				return row, s
			}
		}
	}
	row.Sent = append(slices.Clone(row.Sent), store.Sent{
		Text: cmd.Text, Relative: cmd.Class == driver.Relative, At: now, Attempt: row.Attempt, Epoch: epoch, Node: mark.node, Power: string(mark.cmd), Call: mark.call, Reset: mark.reset,
	})
	if row.State != store.StepWaiting {
		row.State = store.StepSent
	}
	return row, nil
}

// settle returns row with what came of some of its commands on record.
func settle(row store.OpStep, which func(s *store.Sent) bool) store.OpStep {
	row.Sent = slices.Clone(row.Sent)
	for i := range row.Sent {
		if s := &row.Sent[i]; which(s) {
			s.Settled = true
		}
	}
	return row
}

// conclude decides how a step ends: done, failed or, when a relative command left and no answer to it is known, unknown.
func conclude(row store.OpStep, unknown bool, failed string, now time.Time) store.OpStep {
	row.State, row.Error, row.Ended = store.StepDone, failed, now
	switch {
	case unknown:
		row.State = store.StepUnknown
	case failed != "":
		row.State = store.StepFailed
	}
	return row
}
