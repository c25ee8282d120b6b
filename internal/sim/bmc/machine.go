// Package bmc simulates servers and the DPU cards in their slots, as their management controllers show them: a physical model of power and
// boot, and in front of each machine a controller that speaks the real protocol, with the resources, names and quirks of real ones, and that
// can be told to lie.
package bmc

import (
	"slices"
	"time"
)

// Timing is how long the physical things take. A zero duration stands for the default, which is quick.
type Timing struct {
	On       time.Duration // from the command until the power is there; 20 ms
	Off      time.Duration // from the command until the power is gone; 20 ms
	Shutdown time.Duration // a system's own end; 60 ms
	Boot     time.Duration // from power to a running system; 300 ms
	Update   time.Duration // a firmware update; 200 ms
	Copy     time.Duration // a card's copy of new firmware in the background; 200 ms
}

func (t Timing) withDefaults() Timing {
	for _, d := range []struct {
		v    *time.Duration
		want time.Duration
	}{
		{&t.On, 20 * time.Millisecond}, {&t.Off, 20 * time.Millisecond}, {&t.Shutdown, 60 * time.Millisecond}, {&t.Boot, 300 * time.Millisecond},
		{&t.Update, 200 * time.Millisecond}, {&t.Copy, 200 * time.Millisecond},
	} {
		if *d.v == 0 {
			*d.v = d.want
		}
	}
	return t
}

// Identity is what is written on a machine.
type Identity struct {
	Name         string // for people; "host", "card-1"
	Serial       string
	UUID         string
	Manufacturer string
	Model        string
	PartNumber   string
	BaseMAC      string // lower case with colons; cards only
	Version      string // of the controller's firmware
}

// Machine is a host or a card as physics has it. Its state is guarded by its server's lock.
type Machine struct {
	Identity
	Controller *Controller
	IPMI       *IPMI // nil without Options.IPMI
	Slot       int   // of a card, from 1; 0 for a host

	server    *Server
	number    int // of the server
	dedicated bool
	relay     bool      // a host's main power; of a card with its own supply, that supply
	asleep    bool      // a card's processor is held in standby
	stuck     bool      // power comes but nothing starts
	start     time.Time // of the boot that runs; zero when nothing runs
	reset     time.Time // of the last start
	boots     int
	pending   []event
	cycle     bool // a card that was told to cycle and waits for its host to stand by

	boot     bootOverride
	bootFrom string // device of the last boot, in Redfish words
	config   config
}

type bootOverride struct {
	enabled, target, mode string // Redfish BootSourceOverride words
}

type event struct {
	at   time.Time
	kind eventKind
}

type eventKind int

const (
	powerOn eventKind = iota
	powerOff
	restart
)

// State is what an observer in the rack sees.
type State struct {
	Power    bool   // the machine has main power and is not held in standby
	Booted   bool   // its system runs
	Progress string // DSP0268 BootProgress word of a host, BlueField word of a card
	Boots    int    // starts since the simulator began
	BootFrom string // device of the last start, in Redfish words ("Hdd", "Pxe")
}

// State returns the truth about the machine, whatever its controller says.
func (m *Machine) State() State {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	now := m.server.advance()
	return State{Power: m.powered(), Booted: m.booted(now), Progress: m.progress(now), Boots: m.boots, BootFrom: m.bootFrom}
}

// fed reports whether main power reaches the machine.
func (m *Machine) fed() bool {
	switch {
	case !m.server.ac:
		return false
	case m.Slot > 0 && !m.dedicated:
		return m.server.Host.relay
	}
	return m.relay
}

func (m *Machine) powered() bool { return m.fed() && !m.asleep }

func (m *Machine) booted(now time.Time) bool {
	return m.powered() && !m.stuck && !m.start.IsZero() && now.Sub(m.start) >= m.server.timing.Boot
}

var (
	hostStages = []string{"PrimaryProcessorInitializationStarted", "BusInitializationStarted", "MemoryInitializationStarted",
		"SystemHardwareInitializationComplete", "OSBootStarted"}
	cardStages = []string{"BootRom", "BL2", "BL31", "UEFI", "OsStarting"}
)

func (m *Machine) progress(now time.Time) string {
	stages, done := hostStages, "OSRunning"
	if m.Slot > 0 {
		stages, done = cardStages, "OsIsRunning"
	}
	switch {
	case m.Slot > 0 && m.fed() && m.asleep:
		return "LowPowerStandby"
	case !m.powered() || m.start.IsZero() || m.stuck:
		return "None"
	case m.booted(now):
		return done
	}
	i := int(now.Sub(m.start) * time.Duration(len(stages)) / m.server.timing.Boot)
	return stages[min(i, len(stages)-1)]
}

// begin starts the machine at a moment when it has power.
func (m *Machine) begin(at time.Time) {
	m.start, m.reset = at, at
	m.boots++
	m.bootFrom = "Hdd"
	if m.boot.enabled == "Once" || m.boot.enabled == "Continuous" {
		m.bootFrom = m.boot.target
	}
	if m.boot.enabled == "Once" {
		m.boot.enabled, m.boot.target = "Disabled", "None"
	}
	m.config.apply()
}

func (m *Machine) end() { m.start = time.Time{} }

// advance lets everything happen that is due, in its order, and returns the time.
func (s *Server) advance() time.Time {
	now := time.Now()
	for {
		var next *Machine
		for _, m := range s.machines() {
			if len(m.pending) > 0 && !m.pending[0].at.After(now) && (next == nil || m.pending[0].at.Before(next.pending[0].at)) {
				next = m
			}
		}
		if next == nil {
			return now
		}
		e := next.pending[0]
		next.pending = next.pending[1:]
		s.happen(next, e)
	}
}

func (s *Server) happen(m *Machine, e event) {
	if !s.ac {
		return
	}
	switch e.kind {
	case powerOn:
		s.switchOn(m, e.at)
	case powerOff:
		s.switchOff(m, e.at)
	case restart:
		if m.powered() {
			m.begin(e.at)
		}
	}
}

func (s *Server) switchOn(m *Machine, at time.Time) {
	if m.powered() {
		return
	}
	if m.Slot > 0 {
		m.relay, m.asleep = true, false
		if m.fed() {
			m.begin(at)
		}
		return
	}
	m.relay = true
	m.begin(at)
	for _, card := range s.Cards {
		if !card.dedicated {
			card.asleep = false
			card.config.cold()
			card.begin(at)
		}
	}
}

func (s *Server) switchOff(m *Machine, at time.Time) {
	m.end()
	if m.Slot > 0 {
		if m.fed() {
			m.asleep = true
		}
		return
	}
	m.relay = false
	for _, card := range s.Cards {
		if !card.dedicated {
			card.end()
			card.pending, card.cycle = nil, false
		} else if card.cycle {
			card.cycle = false
			card.config.cold()
			card.begin(at)
		}
	}
}

// after plans an event. A power command overrides what was planned before it.
func (m *Machine) after(d time.Duration, kind eventKind) {
	if kind != restart {
		m.pending = nil
	}
	m.pending = append(m.pending, event{time.Now().Add(d), kind})
	slices.SortStableFunc(m.pending, func(a, b event) int { return a.at.Compare(b.at) })
}

// command does what a DSP0268 ResetType asks of the machine, and reports whether the type is known.
func (m *Machine) command(kind string) bool {
	t := m.server.timing
	on := m.powered()
	switch kind {
	case "On", "ForceOn":
		m.after(t.On, powerOn)
	case "ForceOff":
		m.after(t.Off, powerOff)
	case "GracefulShutdown":
		m.after(t.Shutdown, powerOff)
	case "PushPowerButton":
		if on {
			m.after(t.Shutdown, powerOff)
		} else {
			m.after(t.On, powerOn)
		}
	case "ForceRestart":
		m.after(t.Off, restart)
	case "GracefulRestart":
		m.after(t.Shutdown, restart)
	case "PowerCycle":
		m.powerCycle(on)
	case "Nmi":
	default:
		return false
	}
	return true
}

// powerCycle is off and on. A card in a running host keeps the request until the host stands by: it must not vanish under a live bus.
func (m *Machine) powerCycle(on bool) {
	t := m.server.timing
	if m.Slot > 0 && m.server.Host.relay {
		m.cycle = true
		return
	}
	m.pending = nil
	now := time.Now()
	if on {
		m.pending = append(m.pending, event{now.Add(t.Off), powerOff})
	}
	m.pending = append(m.pending, event{now.Add(2*t.Off + t.On), powerOn})
}
