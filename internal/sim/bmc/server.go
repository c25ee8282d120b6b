package bmc

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"
)

// Options describe a simulated server. The zero value is a host without cards that is off, with quick physics.
type Options struct {
	Number   int                   // of the server in its fleet: makes serials, UUIDs and MAC addresses of its own
	Cards    int                   // BlueField-3 cards in its slots
	On       bool                  // the host is on, and booted, at the start
	Supply   bool                  // the cards have a power supply of their own
	Aux      bool                  // the slots do not feed the cards' controllers while the host is off, so these vanish with it
	IPMI     bool                  // the controllers speak IPMI too
	Ciphers  []types.CipherSuiteID // of IPMI; 3 and 17
	TLS      bool                  // the controllers speak HTTPS, with a certificate of their own
	Listen   string                // IP address to listen on; 127.0.0.1
	Port     int                   // of the host's controller, TCP and UDP; the cards' have the next ones. Without it, those that are free
	Username string                // root
	Password string                // 0penBmc
	Sessions int                   // that a controller keeps at once; 8
	Timing   Timing

	// Latency is the mean time of an answer over Redfish, which varies as it does in the field: most come sooner, one in a hundred takes five
	// times as long, and a few ten times. Zero answers at once.
	Latency time.Duration
}

// Server is a host and the cards in its slots.
type Server struct {
	Host  *Machine
	Cards []*Machine

	mu     sync.Mutex
	ac     bool
	aux    bool
	timing Timing
}

// NewServer builds a server and starts its controllers. Close stops them.
func NewServer(o Options) (*Server, error) {
	if o.Username == "" {
		o.Username = "root"
	}
	if o.Password == "" {
		o.Password = "0penBmc"
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1"
	}
	if len(o.Ciphers) == 0 {
		o.Ciphers = []types.CipherSuiteID{types.CipherSuiteID3, types.CipherSuiteID17}
	}
	if o.Sessions == 0 {
		o.Sessions = 8
	}
	s := &Server{ac: true, aux: o.Aux, timing: o.Timing.withDefaults()}
	s.Host = &Machine{Identity: hostIdentity(o.Number), server: s, number: o.Number, relay: o.On}
	s.Host.config = newConfig(hostSettings)
	for slot := 1; slot <= o.Cards; slot++ {
		card := &Machine{Identity: cardIdentity(o.Number, slot), Slot: slot, server: s, number: o.Number, dedicated: o.Supply, relay: o.Supply || o.On}
		card.config = newConfig(cardSettings)
		s.Cards = append(s.Cards, card)
	}
	long := time.Now().Add(-time.Hour)
	for _, m := range s.machines() {
		m.boot = bootOverride{"Disabled", "None", "UEFI"}
		if m.fed() {
			m.begin(long)
		}
	}
	for _, m := range s.machines() { // all machines are as they shall be before the first is spoken to
		c, err := newController(m, o)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		m.Controller = c
		if !o.IPMI {
			continue
		}
		if m.IPMI, err = newIPMI(c, o); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// at is the address that m's controller listens on.
func (o Options) at(m *Machine) string {
	port := 0
	if o.Port != 0 {
		port = o.Port + m.Slot
	}
	return net.JoinHostPort(o.Listen, strconv.Itoa(port))
}

func hostIdentity(number int) Identity {
	return Identity{
		Name: fmt.Sprintf("host-%d", number), Serial: fmt.Sprintf("SRV%07d", 1000+number), UUID: fmt.Sprintf("4c4c4544-0051-4a10-8052-%012x",
			0xb7c04f000000+number),
		Manufacturer: "Simulated Servers", Model: "S2000", PartNumber: "0S2000A00", Version: "7.10.30.00",
	}
}

func cardIdentity(number, slot int) Identity {
	n := number*16 + slot
	return Identity{
		Name: fmt.Sprintf("host-%d-card-%d", number, slot), Serial: fmt.Sprintf("MT2313X%05d", n), UUID: fmt.Sprintf("c0c459a0-5469-4745-aa79-%012x",
			0x785cbb000000+n),
		Manufacturer: "https://www.mellanox.com", Model: "BlueField-3 SmartNIC Main Card", PartNumber: "900-9D3B6-00CV-AA0",
		BaseMAC: fmt.Sprintf("5c:25:73:%02x:%02x:%02x", n>>12&0xff, n>>4&0xff, n<<4&0xf0), Version: "BF-24.10-10",
	}
}

func (s *Server) machines() []*Machine {
	all := make([]*Machine, 0, 1+len(s.Cards))
	return append(append(all, s.Host), s.Cards...)
}

// SetAC connects or cuts the mains. With it go the controllers; when it returns, machines stay off until they are told otherwise, and a card
// with its own supply starts.
func (s *Server) SetAC(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.advance()
	if s.ac == on {
		return
	}
	s.ac = on
	for _, m := range s.machines() {
		m.pending, m.cycle, m.asleep = nil, false, false
		m.end()
		m.relay = on && m.dedicated
		m.config.cold()
		if m.fed() {
			m.begin(now)
		}
		if m.Controller != nil {
			m.Controller.restarted()
		}
	}
}

// alive reports whether m's controller has power.
func (s *Server) alive(m *Machine) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	if m.Slot > 0 && s.aux && !m.fed() {
		return false
	}
	return s.ac
}

// Close stops the controllers. It may be called twice.
func (s *Server) Close() error {
	var errs []error
	for _, m := range s.machines() {
		if m.Controller != nil {
			errs = append(errs, m.Controller.close())
		}
		if m.IPMI != nil {
			errs = append(errs, m.IPMI.close())
		}
	}
	return errors.Join(errs...)
}
