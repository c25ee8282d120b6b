package bmc

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	ipmibmc "github.com/bougou/go-ipmi/pkg/bmc"
	"github.com/bougou/go-ipmi/pkg/hal"
	"github.com/bougou/go-ipmi/pkg/hal/mock"
	"github.com/bougou/go-ipmi/pkg/handlers"
	"github.com/bougou/go-ipmi/pkg/server"
	"github.com/bougou/go-ipmi/pkg/transport"
	"github.com/bougou/go-ipmi/pkg/types"
)

// IPMI is the IPMI 2.0 face of a controller, on a UDP port of its own. It shares the machine, the record of requests and the lies with the
// Redfish face; the requests have the method "IPMI", network function and command for a path, and the data for a body.
type IPMI struct {
	Host string
	Port int

	controller *Controller
	state      *ipmibmc.BMC
	server     *server.Server
	stop       context.CancelFunc
	swallow    atomic.Bool  // the next answer is lost
	logins     atomic.Int64 // requests to open a session

	mu    sync.Mutex
	flags [5]byte         // boot flags, parameter 5 of the boot options
	open  map[uint32]bool // sessions that were used
}

// readCommands are the IPMI commands that change nothing. All others count as changes.
var readCommands = map[uint8][]uint8{
	0x00: {0x00, 0x01, 0x07, 0x09, 0x0f}, 0x04: {0x20, 0x21, 0x27, 0x2d}, 0x06: {0x01, 0x04, 0x08, 0x37, 0x38, 0x3a, 0x3b, 0x3c, 0x3d, 0x42, 0x54},
	0x0a: {0x10, 0x11, 0x20, 0x21, 0x22, 0x23, 0x40, 0x43, 0x48}, 0x0c: {0x02, 0x22}, 0x32: {0x68, 0x69, 0x97, 0x9a, 0x9c, 0xa3},
}

func newIPMI(c *Controller, o Options) (*IPMI, error) {
	conn, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp", o.at(c.machine))
	if err != nil {
		return nil, fmt.Errorf("listen for the IPMI of %s: %w", c.machine.Name, err)
	}
	at, _ := conn.LocalAddr().(*net.UDPAddr)
	p := &IPMI{Host: o.Listen, Port: at.Port, controller: c}
	board := mock.New()
	board.SetConsole(consolePort{p})
	fru, err := types.PackFRU(types.FRUPackConfig{
		Board: &types.FRUPackBoard{MfgDate: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), Mfg: c.machine.Manufacturer, Product: c.machine.Model,
			Serial: "B" + c.machine.Serial, PartNumber: c.machine.PartNumber},
		Product: &types.FRUPackProduct{
			Manufacturer: c.machine.Manufacturer, Name: c.machine.Model, PartModel: c.machine.PartNumber, Version: "A0", Serial: c.machine.Serial + "   ",
		},
	})
	if err == nil {
		err = board.Storage().FRU().Write(context.Background(), 0, fru)
	}
	if err == nil {
		err = board.Storage().SDR().Write(context.Background(), 1, fullSensor(1, "CPU1 Temp"))
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("inventory of %s: %w", c.machine.Name, err)
	}
	b := ipmibmc.New(ipmibmc.DeviceInfo{DeviceID: 32, DeviceRevision: 1, FirmwareMajor: 1, IPMIVersion: 0x20, ManufacturerID: 0x8119, ProductID: 1},
		guid(c.machine.UUID), board)
	p.state = b
	user, err := b.Users.Add(2, o.Username)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("user of %s: %w", c.machine.Name, err)
	}
	user.SetPassword([]byte(o.Password))
	user.Enabled = true
	user.ChannelAccess[1] = ipmibmc.UserChannelAccess{MaxPrivilege: ipmibmc.PrivilegeLevelAdministrator, Enabled: true}
	p.server = server.NewServer(b, &line{conn, p}, server.WithHandlerRegistry(p.commands()), server.WithV15Disabled(), server.WithCipherSuites(o.Ciphers))
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	go func() { _ = p.server.Serve(ctx) }()
	return p, nil
}

func (p *IPMI) close() error {
	p.stop()
	return p.server.Close()
}

// Sessions returns how many sessions are open.
func (p *IPMI) Sessions() int { return p.state.Sessions.Count() }

// Logins returns how many sessions were asked for so far.
func (p *IPMI) Logins() int { return int(p.logins.Load()) }

// ForgetSessions ends all sessions without a word, as a restart of the controller does.
func (p *IPMI) ForgetSessions() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.open {
		_ = p.state.Sessions.Close(id) // it may have ended by itself
	}
	p.open = nil
}

// guid is a UUID as SMBIOS lays it out: the first three fields have their bytes turned (SMBIOS 7.2.1).
func guid(uuid string) (g [16]byte) {
	b, err := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
	if err != nil || len(b) != 16 {
		return g
	}
	slices.Reverse(b[0:4])
	slices.Reverse(b[4:6])
	slices.Reverse(b[6:8])
	copy(g[:], b)
	return g
}

// line is the wire: a controller without power, or one that hangs, hears nothing, and an answer may be lost.
type line struct {
	transport.PacketConn
	face *IPMI
}

// openSession is the payload type of a request to open a session (IPMI 2.0, table 13-16).
const openSession = 0x10

func (l *line) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := l.PacketConn.ReadFrom(b)
		if n > 5 && b[4] == 6 && b[5]&0x3f == openSession {
			l.face.logins.Add(1)
		}
		c := l.face.controller
		if err != nil || !c.lying("hang") && c.machine.server.alive(c.machine) {
			return n, from, err
		}
	}
}

func (l *line) WriteTo(b []byte, to net.Addr) (int, error) {
	if l.face.swallow.Swap(false) {
		return len(b), nil
	}
	return l.PacketConn.WriteTo(b, to)
}

// commands are the standard ones, with those of the chassis on the physical machine, and those of a BlueField.
func (p *IPMI) commands() *handlers.Registry {
	r := handlers.NewRegistry()
	r.Use(p.recorded)
	handlers.RegisterAllHandlers(r)
	add := func(netFn, cmd uint8, do func(data []byte) ([]byte, types.CompletionCode)) {
		r.RegisterFunc(types.Command{ID: cmd, NetFn: types.NetFn(netFn)}, func(_ context.Context, _ *handlers.HandlerContext, data []byte) ([]byte,
			types.CompletionCode, error) {
			s := p.controller.machine.server
			s.mu.Lock()
			defer s.mu.Unlock()
			s.advance()
			answer, code := do(data)
			return answer, code, nil
		})
	}
	add(0x00, 0x01, p.chassisStatus)
	add(0x00, 0x02, p.chassisControl)
	add(0x00, 0x08, p.setBootOptions)
	add(0x00, 0x09, p.getBootOptions)
	add(0x04, 0x2d, p.sensorReading)
	add(0x06, 0x37, func([]byte) ([]byte, types.CompletionCode) {
		g := guid(p.controller.machine.UUID)
		return g[:], types.CodeOK
	})
	if p.controller.machine.Slot > 0 {
		for cmd := range blueFieldCommands {
			add(0x32, cmd, func(data []byte) ([]byte, types.CompletionCode) {
				return blueFieldCommands[cmd](p.controller.machine, data)
			})
		}
	}
	return r
}

// recorded keeps each command that is not about sessions, and has it lose its answer when the controller is to.
func (p *IPMI) recorded(next handlers.Handler) handlers.Handler {
	return handlers.HandlerFunc(func(ctx context.Context, h *handlers.HandlerContext, data []byte) ([]byte, types.CompletionCode, error) {
		fn, cmd := uint8(h.Command.NetFn), h.Command.ID
		change := !slices.Contains(readCommands[fn], cmd) && (fn != 0x06 || cmd != 0x3b && cmd != 0x3c && cmd != 0x48 && cmd != 0x49)
		c := p.controller
		if h.Session != nil {
			p.mu.Lock()
			if p.open == nil {
				p.open = map[uint32]bool{}
			}
			p.open[h.Session.BMCID] = true
			p.mu.Unlock()
		}
		c.mu.Lock()
		c.keep(&Request{Time: time.Now(), Method: "IPMI", Path: fmt.Sprintf("0x%02x 0x%02x", fn, cmd), Body: fmt.Sprintf("% x", data),
			Size: int64(len(data)), read: !change})
		c.mu.Unlock()
		if change && c.lying("lost-request") {
			p.swallow.Store(true)
			return nil, types.CodeOK, nil
		}
		answer, code, err := next.Handle(ctx, h, data)
		if change && c.lying("lost-answer") {
			p.swallow.Store(true)
		}
		return answer, code, err
	})
}

func (p *IPMI) chassisStatus([]byte) ([]byte, types.CompletionCode) {
	on := p.controller.machine.powered()
	switch {
	case p.controller.lying("on-while-dead"):
		on = true
	case p.controller.lying("alternating"):
		p.controller.mu.Lock()
		p.controller.serial++
		on = p.controller.serial%2 == 0
		p.controller.mu.Unlock()
	}
	status := byte(0)
	if on {
		status = 1
	}
	return []byte{status, 0, 0}, types.CodeOK
}

// controls are the chassis controls (IPMI 2.0, table 28-4) as reset types.
var controls = map[byte]string{0: "ForceOff", 1: "On", 2: "PowerCycle", 3: "ForceRestart", 4: "Nmi", 5: "GracefulShutdown"}

func (p *IPMI) chassisControl(data []byte) ([]byte, types.CompletionCode) {
	if len(data) != 1 {
		return nil, types.CodeRequestDataLengthInvalid
	}
	kind, ok := controls[data[0]&0x0f]
	if !ok {
		return nil, types.CodeRequestDataFieldInvalid
	}
	for _, l := range p.controller.told() {
		if l.reset == nil {
			continue
		}
		if a, done := l.reset(p.controller, kind); done {
			if a.status >= 400 {
				return nil, types.CodeNotSupported
			}
			return nil, types.CodeOK
		}
	}
	p.controller.machine.command(kind)
	return nil, types.CodeOK
}

// bootTargets are the device selectors of the boot flags (IPMI 2.0, table 28-14) as boot sources.
var bootTargets = map[byte]string{0: "None", 1: "Pxe", 2: "Hdd", 3: "Hdd", 4: "Diags", 5: "Cd", 6: "BiosSetup", 15: "Floppy"}

func (p *IPMI) setBootOptions(data []byte) ([]byte, types.CompletionCode) {
	if len(data) < 2 {
		return nil, types.CodeRequestDataLengthInvalid
	}
	if data[0]&0x7f != 5 {
		return nil, types.CodeOK
	}
	if p.controller.lying("boot-forgotten") {
		return nil, types.CodeOK
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flags = [5]byte{}
	copy(p.flags[:], data[1:])
	m := p.controller.machine
	m.boot.enabled = "Disabled"
	if p.flags[0]&0x80 != 0 {
		m.boot.enabled = "Once"
		if p.flags[0]&0x40 != 0 {
			m.boot.enabled = "Continuous"
		}
	}
	m.boot.target = bootTargets[p.flags[1]>>2&0x0f]
	return nil, types.CodeOK
}

func (p *IPMI) getBootOptions(data []byte) ([]byte, types.CompletionCode) {
	if len(data) < 1 || data[0]&0x7f != 5 {
		return nil, types.CodeParameterNotSupported
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	flags := p.flags
	if p.controller.machine.boot.enabled == "Disabled" {
		flags[0] &^= 0x80
	}
	return append([]byte{1, 5}, flags[:]...), types.CodeOK
}

func (p *IPMI) sensorReading(data []byte) ([]byte, types.CompletionCode) {
	if len(data) != 1 || data[0] != 1 {
		return nil, types.CodeRequestedDataNotPresent
	}
	reading := byte(22)
	if p.controller.machine.powered() {
		reading = 42
	}
	return []byte{reading, 0xc0, 0, 0}, types.CodeOK
}

// privilegeNames are the fields of the host's privileges by number.
var privilegeNames = []string{
	"HostPrivFlashAccess", "HostPrivFwUpdate", "HostPrivNicReset", "HostPrivNvGlobal", "HostPrivNvHost", "HostPrivNvInternalCpu", "HostPrivNvPort", "HostPrivPccUpdate",
}

var privilegeValues = []string{"Default", "Enabled", "Disabled"}

// blueFieldCommands are the raw commands of a BlueField's controller, network function 0x32.
var blueFieldCommands = map[uint8]func(m *Machine, data []byte) ([]byte, types.CompletionCode){
	0x69: func(m *Machine, _ []byte) ([]byte, types.CompletionCode) {
		return []byte{bit(m.config.bmcRshim && m.config.hostRshim == "Disabled")}, types.CodeOK
	},
	0x6a: func(m *Machine, data []byte) ([]byte, types.CompletionCode) {
		if len(data) != 1 || data[0] > 1 {
			return nil, types.CodeRequestDataFieldInvalid
		}
		m.config.bmcRshim = data[0] == 1
		return nil, types.CodeOK
	},
	0x9a: func(m *Machine, _ []byte) ([]byte, types.CompletionCode) {
		var values []byte
		for _, name := range privilegeNames {
			values = append(values, byte(max(slices.Index(privilegeValues, m.config.privileges[name]), 0)))
		}
		return values, types.CodeOK
	},
	0x9b: func(m *Machine, data []byte) ([]byte, types.CompletionCode) {
		if len(data) != 2 || int(data[0]) >= len(privilegeNames) || int(data[1]) >= len(privilegeValues) {
			return nil, types.CodeRequestDataFieldInvalid
		}
		m.config.privileges = set(m.config.privileges, privilegeNames[data[0]], privilegeValues[data[1]])
		return nil, types.CodeOK
	},
	0x9c: func(m *Machine, _ []byte) ([]byte, types.CompletionCode) {
		return []byte{bit(m.config.mode == "DpuMode")}, types.CodeOK
	},
	0x9d: func(m *Machine, data []byte) ([]byte, types.CompletionCode) {
		if len(data) != 1 || data[0] > 1 {
			return nil, types.CodeRequestDataFieldInvalid
		}
		m.config.modeNext = []string{"NicMode", "DpuMode"}[data[0]]
		return nil, types.CodeOK
	},
	0xa1: func(m *Machine, data []byte) ([]byte, types.CompletionCode) {
		if len(data) != 1 || data[0] != 2 && data[0] != 3 {
			return nil, types.CodeRequestDataFieldInvalid
		}
		if data[0] == 2 {
			m.command("ForceRestart")
		}
		return nil, types.CodeOK
	},
	0xa3: func(m *Machine, _ []byte) ([]byte, types.CompletionCode) {
		return []byte{bit(m.booted(time.Now()))}, types.CodeOK
	},
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// fullSensor is a full sensor record (IPMI 2.0, section 43.1) of a temperature that is read as it is, in degrees Celsius.
func fullSensor(number byte, name string) []byte {
	r := make([]byte, 48, 48+len(name))
	r[0], r[2], r[3] = number, 0x51, 0x01 // record id, version, type
	r[5], r[7], r[8], r[9] = 0x20, number, 3, 1
	r[12], r[13] = 0x01, 0x01 // temperature, threshold
	r[21] = 1                 // degrees C
	r[24] = 1                 // M
	r[44] = 255
	r[47] = 0xc0 | byte(len(name))
	r = append(r, name...)
	r[4] = byte(len(r) - 5)
	return r
}

// consolePort is the machine's serial port. A system that runs greets whoever connects, and echoes what it is sent.
type consolePort struct{ face *IPMI }

func (p consolePort) Open(context.Context) (hal.ConsoleConn, error) {
	m := p.face.controller.machine
	t := &terminal{}
	if m.State().Booted {
		t.out = []byte("\r\n" + m.Name + " login: ")
	}
	return t, nil
}

type terminal struct {
	mu  sync.Mutex
	out []byte
}

func (t *terminal) ReadAvailable(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := copy(b, t.out)
	t.out = t.out[n:]
	return n, nil
}

func (t *terminal) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out = append(t.out, b...)
	return len(b), nil
}

func (t *terminal) Close() error { return nil }

func (t *terminal) SendBreak(context.Context) error { return hal.ErrNotSupported }
