package conductor_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/store"
)

// The model explores every order of events of two conductors that work on one step, whose command must not be carried out twice: a lease that
// expires twice at most, a crash at most, two sends at most for each time that a conductor picks the step up, messages that come late or never,
// and a conductor that may stand still between any two of its events. Schemes S0 to S4b are abstractions of how such systems are built, from
// a lock that is a host name to riser's rules with a policy of "look, then send again". The scheme riser has its rules and the engine's own
// decisions: next, admit and conclude of decide.go; the one after it shows what these are worth without the rules for leases.
type scheme struct {
	name   string
	byName bool // the lock is a host name: a process that starts anew takes its old locks for its own, and frees them
	fenced bool // writes are refused unless the lease is held under the writer's epoch
	waits  bool // who takes over, or looks what became of a command, waits until nothing is on its way
	atSend bool // the holder looks at its lease at the moment of sending, not a moment before
	policy policy
}

// policy says what a conductor does when it does not know whether the command was carried out.
type policy uint8

const (
	again  policy = iota // sends it again
	looks                // looks at the machine, and sends it again when nothing has happened
	engine               // what the engine's own functions decide
)

var schemes = []scheme{
	{name: "S0 host-name lock, blind resend", byName: true},
	{name: "S1 lease with epoch, unfenced writes"},
	{name: "S2 + fenced writes", fenced: true},
	{name: "S3 + intent, and verify by evidence", fenced: true, policy: looks},
	{name: "S4 + wait for what is on its way", fenced: true, waits: true, policy: looks},
	{name: "S4b + own lease looked at when sending", fenced: true, waits: true, atSend: true, policy: looks},
	{name: "riser: S4b with the engine's decisions", fenced: true, waits: true, atSend: true, policy: engine},
	{name: "record: the engine's decisions and fenced writes alone", fenced: true, policy: engine},
}

// place is where a conductor stands.
type place uint8

const (
	idle   place = iota
	loads        // has the lease, is about to read the record
	writes       // is about to write that it will send
	checks       // is about to look at its lease
	sends
	awaits
	looking
	ends  // is about to write that it is done
	gives // is about to write that it does not know
	over
)

// record is the row of the step, as small as the model needs it.
type record struct {
	state   uint8 // index into recordStates
	attempt uint8
	sent    uint8 // commands on record
}

var recordStates = []store.StepState{store.StepPlanned, store.StepIntent, store.StepSent, store.StepDone, store.StepUnknown}

func (r record) final() bool { return recordStates[r.state].Final() }

// row is the record as the engine knows it.
func (r record) row() store.OpStep {
	row := store.OpStep{State: recordStates[r.state], Attempt: int(r.attempt)}
	for range r.sent {
		row.Sent = append(row.Sent, store.Sent{Text: restart.Text, Relative: true})
	}
	return row
}

func recordOf(row store.OpStep) record {
	return record{uint8(slices.Index(recordStates, row.State)), uint8(row.Attempt), uint8(len(row.Sent))}
}

var restart = driver.Command{Class: driver.Relative, Text: "ForceRestart"}

type actor struct {
	at      place
	epoch   uint8
	sends   uint8 // since it picked the step up
	earlier uint8 // commands on record when it did
	row     record
}

// letter is a command on its way to the machine.
type letter struct{ owner, epoch uint8 }

type world struct {
	owner   int8 // of the lease; -1 for nobody
	epoch   uint8
	valid   bool
	row     record
	actors  [2]actor
	mail    [4]letter // commands under way, in no order; the zero letter is none
	answers [2]bool   // an answer waits for the conductor
	runs    uint8     // how often the machine has carried the command out
	highest uint8     // epoch of a command that was carried out
	expired uint8
	crashed bool
}

// outcome is that of an event: the world after it, and the rules that it broke.
type outcome struct {
	world
	bad violation
}

// canonical is the world without what makes no difference any more.
func (w world) canonical() world {
	for i := range w.actors {
		if a := &w.actors[i]; a.at == over {
			*a = actor{at: over}
		}
		if at := w.actors[i].at; at != checks && at != sends && at != awaits {
			w.answers[i] = false
		}
	}
	slices.SortFunc(w.mail[:], func(a, b letter) int { return cmp.Or(cmp.Compare(b.owner, a.owner), cmp.Compare(b.epoch, a.epoch)) })
	return w
}

type violation uint8

const (
	staleWrite violation = 1 << iota
	ranTwice
	neverRan
	afterHandOver
)

var violations = []violation{staleWrite, ranTwice, neverRan, afterHandOver}

func (v violation) String() string {
	switch v {
	case staleWrite:
		return "a stale write"
	case ranTwice:
		return "carried out twice"
	case neverRan:
		return "done, and never carried out"
	}
	return "a command after a later owner's"
}

// next returns the worlds that one event leads to.
func (s scheme) next(w world) []outcome {
	var list []outcome
	add := func(n outcome) { list = append(list, outcome{n.canonical(), n.bad}) }
	if w.valid && w.expired < 2 {
		n := outcome{world: w}
		n.valid, n.expired = false, w.expired+1
		add(n)
	}
	for i, m := range w.mail {
		if m == (letter{}) {
			continue
		}
		if i > 0 && m == w.mail[i-1] {
			continue
		}
		lost := outcome{world: w}
		lost.mail[i] = letter{}
		add(lost)
		for _, answered := range []bool{true, false} {
			n := lost
			n.carryOut(m)
			n.answers[m.owner-1] = n.answers[m.owner-1] || answered
			add(n)
		}
	}
	for i := range w.actors {
		s.act(outcome{world: w}, i, add)
		if a := w.actors[i]; !w.crashed && a.at != idle && a.at != over {
			n := outcome{world: w}
			n.crashed, n.actors[i] = true, actor{}
			if s.byName && n.owner == int8(i) {
				n.owner = -1
			}
			add(n)
		}
	}
	return list
}

// carryOut is what the machine does with a command.
func (w *outcome) carryOut(m letter) {
	if w.runs++; w.runs > 1 {
		w.bad |= ranTwice
	}
	if m.epoch < w.highest {
		w.bad |= afterHandOver
	}
	w.highest = max(w.highest, m.epoch)
}

// act adds what conductor i may do next.
func (s scheme) act(w outcome, i int, add func(outcome)) {
	a := &w.actors[i]
	holds := w.valid && w.owner == int8(i) && w.epoch == a.epoch
	switch a.at {
	case idle:
		if w.valid && w.owner >= 0 || s.waits && w.mail != [4]letter{} || w.epoch >= 3 {
			return
		}
		w.owner, w.epoch, w.valid = int8(i), w.epoch+1, true
		*a = actor{at: loads, epoch: w.epoch}
	case loads:
		a.row, a.earlier = w.row, w.row.sent
		s.decide(a)
	case writes:
		if !s.intent(a) {
			a.at = gives // refused by the guard
			break
		}
		s.write(&w, i, a.row, checks)
	case checks:
		a.at = sends
		if !holds && s.fenced {
			a.at = over
		}
	case sends:
		if s.atSend && !holds {
			a.at = over
			break
		}
		free := slices.Index(w.mail[:], letter{})
		if free < 0 {
			return
		}
		w.mail[free] = letter{uint8(i) + 1, a.epoch}
		a.sends++
		a.at = awaits
	case awaits:
		if w.answers[i] {
			n := w
			n.answers[i], n.actors[i].at = false, ends
			add(n)
		}
		switch { // the answer is not waited for any longer
		case s.policy != again:
			a.at = looking
		case a.sends < 2:
			a.at = checks
		default:
			a.at = over
		}
	case looking:
		if s.waits && w.mail != [4]letter{} {
			return
		}
		switch {
		case w.runs > 0:
			a.at = ends
		case s.policy == engine && a.sends > 0:
			a.at = gives
		case s.policy == engine:
			a.at = writes // the step is run again; the guard refuses what was sent before
		case a.sends == 0:
			a.at = writes
		case a.sends < 2:
			a.at = checks
		default:
			a.at = over
		}
	case ends, gives:
		row := recordOf(conductor.Conclude(a.row.row(), a.at == gives, "", time.Time{}))
		if row.state == uint8(slices.Index(recordStates, store.StepDone)) && w.runs == 0 {
			w.bad |= neverRan
		}
		s.write(&w, i, row, over)
	case over:
		return
	}
	add(w)
}

// decide is what a conductor does with the record that it has read.
func (s scheme) decide(a *actor) {
	switch {
	case a.row.final():
		a.at = over
	case s.policy == engine:
		row := a.row.row()
		switch conductor.Next(&row, int(a.earlier)) {
		case conductor.MoveSettle:
			a.at = looking
		case conductor.MoveRun:
			a.at = writes
		default:
			a.at = over
		}
	case s.policy == looks && a.row.sent > 0:
		a.at = looking
	default:
		a.at = writes
	}
}

// intent puts the command on the record that is about to be written, and reports whether it may be sent.
func (s scheme) intent(a *actor) bool {
	if s.policy != engine {
		a.row.state, a.row.sent = 2, 1
		return true
	}
	row := a.row.row()
	row.Attempt++
	row, refused := conductor.Admit(row, int(a.earlier), int64(a.epoch), restart, conductor.NoMark, time.Time{})
	if refused != nil {
		return false
	}
	a.row = recordOf(row)
	return true
}

// write writes the record.
func (s scheme) write(w *outcome, i int, row record, then place) {
	a := &w.actors[i]
	current := w.owner == int8(i) && w.epoch == a.epoch
	if s.fenced && !(current && w.valid) {
		a.at = over // the work is dropped
		return
	}
	if a.epoch < w.epoch {
		w.bad |= staleWrite
	}
	w.row, a.row, a.at = row, row, then
}

// result is what the exploration of a scheme found.
type result struct {
	worlds, finished int
	shortest         map[violation]int // events until a violation
}

func (s scheme) explore() result {
	start := world{owner: -1}
	seen := map[world]bool{start: true}
	r := result{shortest: map[violation]int{}}
	for front, depth := []world{start}, 0; len(front) > 0; depth++ {
		var next []world
		for _, w := range front {
			r.worlds++
			after := s.next(w)
			if len(after) == 0 || w.row.final() {
				r.finished++
			}
			for _, n := range after {
				for _, v := range violations {
					if _, known := r.shortest[v]; !known && n.bad&v != 0 {
						r.shortest[v] = depth + 1
					}
				}
				if !seen[n.world] {
					seen[n.world] = true
					next = append(next, n.world)
				}
			}
		}
		front = next
	}
	return r
}

func TestModelOfLeasesAndCommands(t *testing.T) {
	broken := map[string]map[violation]int{ // with the events that it takes
		"S0": {staleWrite: 5, ranTwice: 10, afterHandOver: 13},
		"S1": {staleWrite: 5, ranTwice: 10, afterHandOver: 13},
		"S2": {ranTwice: 10, afterHandOver: 13},
		"S3": {ranTwice: 11, afterHandOver: 14},
		"S4": {ranTwice: 14, afterHandOver: 14},
	}
	for _, s := range schemes {
		t.Run(s.name, func(t *testing.T) {
			start := time.Now()
			r := s.explore()
			t.Logf("%d worlds, %d of them finished, in %v", r.worlds, r.finished, time.Since(start).Round(time.Millisecond))
			var id string
			if _, err := fmt.Sscan(s.name, &id); err != nil {
				t.Fatal(err)
			}
			for _, v := range violations {
				if got, want := r.shortest[v], broken[id][v]; got != want {
					t.Errorf("%s: after %d events, want %d (0 means never)", v, got, want)
				}
			}
			if r.finished == 0 {
				t.Error("no order of events comes to an end")
			}
		})
	}
}
