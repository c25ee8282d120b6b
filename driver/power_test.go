package driver_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// box is a machine with a power lamp, and a controller that may not tell what the lamp shows.
type box struct {
	lit   bool
	edge  time.Time // when lit becomes next
	next  bool
	reset time.Time

	lag      time.Duration // from a command to its effect
	boots    bool          // the controller reports boot progress
	resets   bool          // and the last reset
	dead     bool          // power comes, but the machine does not start
	commands []driver.PowerCommand
	sent     []string

	answer func(b *box, cmd driver.PowerCommand, act func()) error // nil: act, answer well
	report func(b *box, lit bool) (node.PowerState, error)         // nil: the truth
}

func (b *box) Address() string { return "https://bmc-1.example" }

func (b *box) now() bool {
	if !b.edge.IsZero() && !time.Now().Before(b.edge) {
		b.lit, b.edge = b.next, time.Time{}
		b.reset = time.Now()
	}
	return b.lit
}

func (b *box) PowerState(context.Context) (node.PowerState, error) {
	if b.report != nil {
		return b.report(b, b.now())
	}
	return word(b.now()), nil
}

func word(lit bool) node.PowerState {
	if lit {
		return node.PowerOn
	}
	return node.PowerOff
}

func (b *box) PowerCommands(context.Context) ([]driver.PowerCommand, error) { return b.commands, nil }

func (b *box) SendPower(_ context.Context, cmd driver.PowerCommand) error {
	b.sent = append(b.sent, string(cmd))
	act := func() {
		switch cmd {
		case driver.PowerOn:
			b.edge, b.next = time.Now().Add(b.lag), true
		case driver.ForceOff, driver.GracefulShutdown:
			b.edge, b.next = time.Now().Add(b.lag), false
		case driver.PowerCycle:
			b.lit, b.edge, b.next = false, time.Now().Add(b.lag+5*time.Second), true
		default:
			b.reset = time.Now().Add(b.lag)
		}
	}
	if b.answer != nil {
		return b.answer(b, cmd, act)
	}
	act()
	return nil
}

func (b *box) BootState(context.Context) (driver.BootState, error) {
	s := driver.BootState{Reports: b.boots}
	lit := b.now()
	if b.resets {
		s.Reset = b.reset
	}
	if !b.boots {
		return s, nil
	}
	switch up := time.Since(b.reset); {
	case !lit || b.dead || up < 3*time.Second:
		s.State = "None"
	case up < 20*time.Second:
		s.State, s.Alive = "UEFI", true
	default:
		s.State, s.Alive, s.Booted = "OsIsRunning", true, true
	}
	return s, nil
}

func lostAnswer(does bool) func(*box, driver.PowerCommand, func()) error {
	return func(_ *box, _ driver.PowerCommand, act func()) error {
		if does {
			act()
		}
		return fault.New(fault.Timeout, "BMC https://bmc-1.example: no answer")
	}
}

func accepts(*box, driver.PowerCommand, func()) error { return nil }

func TestChangePower(t *testing.T) {
	refuse := func(cmds ...driver.PowerCommand) func(*box, driver.PowerCommand, func()) error {
		return func(_ *box, cmd driver.PowerCommand, act func()) error {
			if slices.Contains(cmds, cmd) {
				return fault.New(fault.Unsupported, "%s is not supported", cmd)
			}
			act()
			return nil
		}
	}
	tests := map[string]struct {
		box    box
		target node.PowerState
		sent   []string
		lit    bool
		kind   fault.Kind
		says   string // in the error, or without one in the evidence
	}{
		"on from off waits for a sign of life": {
			box: box{lag: 4 * time.Second, boots: true}, target: node.PowerOn, sent: []string{"On"}, lit: true, says: `boot progress "UEFI"`,
		},
		"on when on sends nothing": {
			box: box{lit: true}, target: node.PowerOn, lit: true, says: "on already, nothing sent",
		},
		"off when off sends nothing": {
			box: box{}, target: node.PowerOff, says: "off already, nothing sent",
		},
		"soft off when off sends nothing": {
			box: box{}, target: node.SoftPowerOff, says: "off already, nothing sent",
		},
		"off waits for the edge": {
			box: box{lit: true, lag: 7 * time.Second}, target: node.PowerOff, sent: []string{"ForceOff"}, says: "power off seen after 8s",
		},
		"an accepted off that did nothing is told": {
			box: box{lit: true, answer: accepts}, target: node.PowerOff, sent: []string{"ForceOff"}, lit: true, kind: fault.Timeout,
			says: "BMC https://bmc-1.example accepted ForceOff but still reports power on after 1m0s; ",
		},
		"an accepted on that did nothing is told": {
			box: box{answer: accepts}, target: node.PowerOn, sent: []string{"On"}, kind: fault.Timeout,
			says: "BMC https://bmc-1.example accepted On but still reports power off after 1m0s; ",
		},
		"on without a start is told": {
			box: box{boots: true, dead: true}, target: node.PowerOn, sent: []string{"On"}, lit: true, kind: fault.Timeout, says: "the machine did not start",
		},
		"a machine that said on while it was dead is told": {
			box: box{lit: true, boots: true, dead: true}, target: node.PowerOn, lit: true, kind: fault.Timeout, says: "the machine did not start",
		},
		"a lost answer to On is settled by looking": {
			box: box{answer: lostAnswer(true)}, target: node.PowerOn, sent: []string{"On"}, lit: true, says: "the answer was lost",
		},
		"a lost request for off is repeated": {
			box: box{lit: true, answer: func(b *box, cmd driver.PowerCommand, act func()) error {
				return lostAnswer(len(b.sent) > 1)(b, cmd, act)
			}}, target: node.PowerOff, sent: []string{"ForceOff", "ForceOff"}, says: "power off seen",
		},
		"a refusal in passing is waited out": {
			box: box{answer: func(b *box, _ driver.PowerCommand, act func()) error {
				if len(b.sent) == 1 {
					return fault.New(fault.Conflict, "busy")
				}
				act()
				return nil
			}}, target: node.PowerOn, sent: []string{"On", "On"}, lit: true, says: "On refused: busy",
		},
		"a refusal because the state is there already is success": {
			box: box{lit: true, lag: 2 * time.Second, answer: func(_ *box, _ driver.PowerCommand, act func()) error {
				act()
				return fault.New(fault.Invalid, "already off")
			}}, target: node.PowerOff, sent: []string{"ForceOff"}, says: "power off seen",
		},
		"refused credentials are not tried again": {
			box: box{lit: true, answer: func(*box, driver.PowerCommand, func()) error { return fault.New(fault.Unauthorized, "wrong password") }}, target: node.PowerOff,
			sent: []string{"ForceOff"}, lit: true, kind: fault.Unauthorized, says: "wrong password",
		},
		"a guard that says no stops the change": {
			box: box{lit: true, answer: func(*box, driver.PowerCommand, func()) error { return fault.New(fault.Lost, "the lease is gone") }}, target: node.PowerOff,
			sent: []string{"ForceOff"}, lit: true, kind: fault.Lost, says: "the lease is gone",
		},
		"a controller that flaps now and then is waited for": {
			box: box{lit: true, report: func(b *box, lit bool) (node.PowerState, error) {
				return word(lit != (time.Now().Unix()%3 == 0)), nil
			}}, target: node.PowerOff, sent: []string{"ForceOff"}, says: "power off seen",
		},
		"a machine whose state is not known is told what to do": {
			box: box{report: func(b *box, lit bool) (node.PowerState, error) {
				if len(b.sent) == 0 {
					return "", nil
				}
				return word(lit), nil
			}}, target: node.PowerOn, sent: []string{"On"}, lit: true, says: "power on seen",
		},
		"a controller that never settles is told": {
			box: box{lit: true, report: func(b *box, _ bool) (node.PowerState, error) { return word(time.Now().Unix()%2 == 0), nil }}, target: node.PowerOff,
			lit: true, kind: fault.Unavailable, says: "does not settle",
		},
		"a reading that fails in passing is passed over": {
			box: box{lit: true, report: func(b *box, lit bool) (node.PowerState, error) {
				if time.Now().Unix()%4 == 0 {
					return "", fault.New(fault.Unavailable, "busy")
				}
				return word(lit), nil
			}}, target: node.PowerOff, sent: []string{"ForceOff"}, says: "power off seen",
		},
		"a soft off that the system ignores is told": {
			box: box{lit: true, answer: accepts}, target: node.SoftPowerOff, sent: []string{"GracefulShutdown"}, lit: true, kind: fault.Timeout, says: "still on after 10m0s",
		},
		"a soft off ends when off is seen": {
			box: box{lit: true, lag: 3 * time.Minute}, target: node.SoftPowerOff, sent: []string{"GracefulShutdown"}, says: "power off seen after 3m",
		},
		"a reboot is a restart with a later reset time": {
			box:    box{lit: true, resets: true, boots: true, lag: 2 * time.Second, commands: []driver.PowerCommand{driver.PowerOn, driver.ForceRestart, driver.PowerCycle}},
			target: node.Rebooting, sent: []string{"ForceRestart"}, lit: true, says: "restart seen: last reset",
		},
		"a soft reboot asks gracefully": {
			box: box{lit: true, boots: true}, target: node.SoftRebooting, sent: []string{"GracefulRestart"}, lit: true, says: `restart seen: boot progress "OsIsRunning" -> "None"`,
		},
		"a reboot of a machine that is off is a power on": {
			box: box{}, target: node.Rebooting, sent: []string{"On"}, lit: true, says: "a restart is a power on",
		},
		"a restart that is not listed falls back to a power cycle": {
			box:    box{lit: true, commands: []driver.PowerCommand{driver.PowerOn, driver.ForceOff, driver.PowerCycle}},
			target: node.Rebooting, sent: []string{"PowerCycle"}, lit: true, says: "restart seen: power off",
		},
		"a controller with neither gets off, a pause, and on": {
			box:    box{lit: true, commands: []driver.PowerCommand{driver.PowerOn, driver.ForceOff}},
			target: node.Rebooting, sent: []string{"ForceOff", "On"}, lit: true, says: "resting 10s",
		},
		"listed commands that are refused fall back too": {
			box: box{lit: true, answer: refuse(driver.ForceRestart, driver.PowerCycle)}, target: node.Rebooting,
			sent: []string{"ForceRestart", "PowerCycle", "ForceOff", "On"}, lit: true, says: "power on seen",
		},
		"a restart without a sign is told, not repeated": {
			box: box{lit: true, resets: true, answer: accepts}, target: node.Rebooting, sent: []string{"ForceRestart"}, lit: true, kind: fault.Timeout, says: "did not restart, or only in part",
		},
		"a restart whose answer was lost is found by its sign": {
			box: box{lit: true, resets: true, answer: lostAnswer(true)}, target: node.Rebooting, sent: []string{"ForceRestart"}, lit: true, says: "restart seen: last reset",
		},
		"a restart whose answer was lost without a sign is unknown": {
			box: box{lit: true, resets: true, answer: lostAnswer(false)}, target: node.Rebooting, sent: []string{"ForceRestart"}, lit: true, kind: fault.Timeout,
			says: "it is unknown whether the machine restarted",
		},
		"a controller that can show no sign is believed": {
			box: box{lit: true}, target: node.Rebooting, sent: []string{"ForceRestart"}, lit: true, says: "its answer is believed",
		},
		"a target that is none": {
			box: box{lit: true}, target: "sideways", lit: true, kind: fault.Invalid, says: `power target "sideways"`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := tt.box
				b.reset = time.Now().Add(-time.Hour)
				evidence, err := driver.ChangePower(t.Context(), &b, &b, tt.target, driver.Pace{})
				said := strings.Join(evidence, "\n")
				if err != nil {
					said = err.Error()
				}
				if tt.kind == 0 && err != nil || tt.kind != 0 && !fault.Is(err, tt.kind) {
					t.Errorf("error %v, want kind %v", err, tt.kind)
				}
				if !strings.Contains(said, tt.says) {
					t.Errorf("%q does not say %q", said, tt.says)
				}
				if d := cmp.Diff(tt.sent, b.sent); d != "" {
					t.Errorf("sent (-want +got):\n%s", d)
				}
				if b.now() != tt.lit {
					t.Errorf("the lamp is %v, want %v", b.lit, tt.lit)
				}
			})
		})
	}
}

func TestChangePowerEndsWithItsContext(t *testing.T) {
	for _, target := range []node.PowerState{node.PowerOff, node.SoftPowerOff} {
		synctest.Test(t, func(t *testing.T) {
			b := box{lit: true, answer: accepts}
			ctx, cancel := context.WithTimeout(t.Context(), 5500*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, err := driver.ChangePower(ctx, &b, nil, target, driver.Pace{})
			if !fault.Is(err, fault.Timeout) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: error %v is no time-out of the context", target, err)
			}
			if d := time.Since(start); d != 5500*time.Millisecond {
				t.Errorf("%s: returned after %s", target, d)
			}
		})
	}
}

func TestOffIsSeenBeforeOnIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var off, on time.Time
		b := box{lit: true, lag: 20 * time.Second, commands: []driver.PowerCommand{driver.PowerOn, driver.ForceOff}}
		b.answer = func(b *box, cmd driver.PowerCommand, act func()) error {
			if cmd == driver.PowerOn {
				on = time.Now()
				if b.now() {
					t.Error("On was sent while the lamp was lit")
				}
			} else {
				off = time.Now().Add(b.lag)
			}
			act()
			return nil
		}
		if _, err := driver.ChangePower(t.Context(), &b, nil, node.Rebooting, driver.Pace{Rest: 15 * time.Second}); err != nil {
			t.Fatal(err)
		}
		if rest := on.Sub(off); rest < 15*time.Second {
			t.Errorf("the machine rested %s, want 15s or more", rest)
		}
	})
}

type wrap struct{ driver.Conn }

func (w wrap) Unwrap() driver.Conn { return w.Conn }

type plain struct{}

func (plain) Close() error { return nil }

func TestAsLooksThroughWrappers(t *testing.T) {
	type both struct {
		plain
		*box
	}
	if _, ok := driver.As[driver.Power](wrap{wrap{both{box: &box{}}}}); !ok {
		t.Error("power is not found behind two wrappers")
	}
	if _, ok := driver.As[driver.Raw](wrap{plain{}}); ok {
		t.Error("raw is found where it is not")
	}
}

func TestSendingAsksTheGuard(t *testing.T) {
	no := fault.New(fault.Lost, "no")
	var asked []string
	ctx := driver.WithGuard(t.Context(), func(_ context.Context, cmd driver.Command) error {
		asked = append(asked, cmd.Class.String()+" "+cmd.Text)
		return no
	})
	if err := driver.Sending(ctx, driver.Command{Class: driver.Relative, Text: "raw 0x00"}); !errors.Is(err, no) {
		t.Errorf("Sending: %v, want the guard's own error", err)
	}
	if err := driver.Sending(t.Context(), driver.Command{Class: driver.Absolute}); err != nil {
		t.Errorf("Sending without a guard: %v", err)
	}
	if d := cmp.Diff([]string{"relative raw 0x00"}, asked); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
}
