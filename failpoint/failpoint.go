// Package failpoint names the places of the engine at which a test may kill, stop, delay or fail the process. The places cost nothing unless
// the program was built with -tags failpoints; then the variable RISER_FAILPOINTS says what happens at which of them.
package failpoint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Variable is the environment variable that says what happens where, as Parse reads it. "list" prints the names of all points, at the first
// point that the program comes to, and ends it.
const Variable = "RISER_FAILPOINTS"

// Point is a place in the code.
type Point string

// Pair is a write or a command with a point before it and one after it.
type Pair string

// Before is the point at which the thing has not begun.
func (p Pair) Before() Point { return Point(p) + ".before" }

// After is the point at which the thing is done, and the code that asked for it does not know yet.
func (p Pair) After() Point { return Point(p) + ".after" }

// The writes of the engine, each in a transaction of its own, and what goes to a controller.
const (
	Commit Pair = "store.commit" // of any transaction that writes

	Accept      Pair = "intake.provision" // a provision verb is taken in
	AcceptPower Pair = "intake.power"
	AcceptCall  Pair = "intake.call"

	Enter      Pair = "op.enter"    // the operation begins, or goes on, in a conductor
	Show       Pair = "op.show"     // the node shows the step
	AddStep    Pair = "op.add-step" // a step that nobody asked for, such as the power off of a teardown
	Record     Pair = "step.record" // rows of steps, those below, in one transaction
	StepIntent Pair = "step.intent" // an attempt begins
	StepSent   Pair = "step.sent"   // a command is about to leave
	StepKeep   Pair = "step.keep"   // the step keeps a value, or power was seen to change
	StepEnd    Pair = "step.end"    // the step is done, or failed, or unknown
	Pause      Pair = "op.pause"    // the operation waits or is held
	Word       Pair = "op.word"     // a word of an operator or an agent was heard
	Retake     Pair = "op.retake"   // the wait is over
	Identity   Pair = "op.identity" // what the machine says of itself
	Inventory  Pair = "op.inventory"
	End        Pair = "op.end"
	Answer     Pair = "op.answer" // of a call

	SyncPower Pair = "sync.power" // a power state that nobody asked for
	SyncLost  Pair = "sync.lost"  // maintenance, because the controller is silent

	Join         Pair = "lease.join"
	Renew        Pair = "lease.renew"
	Take         Pair = "lease.take"
	ReleaseLease Pair = "lease.release"

	Connect Pair = "bmc.connect"
	Command Pair = "bmc.command" // before: on record, about to leave; after: a power command was answered
	Run     Pair = "step.run"
	Poll    Pair = "step.poll"
	Look    Pair = "bmc.look" // power and identity are read
	Close   Pair = "bmc.close"
)

// Pairs lists all pairs.
var Pairs = [...]Pair{
	Commit, Accept, AcceptPower, AcceptCall, Enter, Show, AddStep, Record, StepIntent, StepSent, StepKeep, StepEnd, Pause, Word, Retake, Identity, Inventory,
	End, Answer, SyncPower, SyncLost, Join, Renew, Take, ReleaseLease, Connect, Command, Run, Poll, Look, Close,
}

// Points returns all points.
func Points() []Point {
	points := make([]Point, 0, 2*len(Pairs))
	for _, p := range Pairs {
		points = append(points, p.Before(), p.After())
	}
	return points
}

// Kind is what happens at a point.
type Kind string

// The kinds. Kill ends the process as kill -9 does, Stop freezes it until somebody sends SIGCONT.
const (
	Kill  Kind = "kill"
	Stop  Kind = "stop"
	Delay Kind = "delay"
	Error Kind = "error"
)

// Action is what happens at a point, and at which of the visits.
type Action struct {
	Kind  Kind
	Delay time.Duration
	Text  string // of the error
	Visit int    // the only visit at which it happens, from 1; 0 means each
}

// Parse reads actions, such as "op.end.before=kill; store.commit.after=error(lost)@3; bmc.command.before=delay(2s)": a point, what happens there
// (kill, stop, delay(duration) or error(text)), and after @ the only visit at which it does.
func Parse(text string) (map[Point]Action, error) {
	actions := map[Point]Action{}
	for _, part := range strings.Split(text, ";") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		name, what, ok := strings.Cut(part, "=")
		if !ok || !slices.Contains(Points(), Point(name)) {
			return nil, fmt.Errorf("failpoint %q: want NAME=ACTION with the name of a point", part)
		}
		a, err := parseAction(what)
		if err != nil {
			return nil, fmt.Errorf("failpoint %s: %w", name, err)
		}
		actions[Point(name)] = a
	}
	return actions, nil
}

func parseAction(text string) (a Action, err error) {
	if at := strings.LastIndexByte(text, '@'); at > strings.LastIndexByte(text, ')') {
		if a.Visit, err = strconv.Atoi(text[at+1:]); err != nil || a.Visit < 1 {
			return a, fmt.Errorf("visit %q must be a number from 1", text[at+1:])
		}
		text = text[:at]
	}
	word, arg, _ := strings.Cut(strings.TrimSuffix(text, ")"), "(")
	a.Kind = Kind(word)
	switch a.Kind {
	case Kill, Stop:
	case Error:
		a.Text = arg
	case Delay:
		if a.Delay, err = time.ParseDuration(arg); err != nil || a.Delay < 0 {
			return a, fmt.Errorf("delay %q must be a duration such as 2s", arg)
		}
	default:
		return a, fmt.Errorf("action %q is not one of kill, stop, delay(duration), error(text)", text)
	}
	return a, nil
}
