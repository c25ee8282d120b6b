package dpu_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nltest"

	"github.com/riser-project/riser/devlink"
	"github.com/riser-project/riser/internal/sim/devlinksim"
	simhost "github.com/riser-project/riser/internal/sim/host"
	"github.com/riser-project/riser/internal/sim/ovs"
	"github.com/riser-project/riser/ovsdb"
)

// until waits for something that no server tells of.
func (l *lab) until(what string, holds func() bool) {
	l.t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			l.t.Fatalf("%s: not within %v", what, patience)
		}
		time.Sleep(time.Millisecond)
	}
}

// startOVN starts an OVN in which the card is a chassis.
func (l *lab) startOVN() *ovsdb.Northbound {
	l.t.Helper()
	ovn, err := ovs.StartOVN(anyPort)
	must(l.t, err)
	l.t.Cleanup(func() { _ = ovn.Close() })
	must(l.t, ovn.AddChassis(l.vswitch))
	nb, err := ovsdb.OpenNorthbound(ovsdb.Config{Endpoint: ovn.Endpoint()})
	must(l.t, err)
	l.t.Cleanup(func() { _ = nb.Close() })
	must(l.t, nb.Ready(l.t.Context()))
	return nb
}

// logicalPort makes a port that OVN may claim on the card by an interface of that version.
func (l *lab) logicalPort(nb *ovsdb.Northbound, port, version string) {
	l.t.Helper()
	_, err := nb.SetSwitch(l.t.Context(), ovsdb.LogicalSwitch{Name: "net-1"})
	must(l.t, err)
	_, err = nb.SetPort(l.t.Context(), ovsdb.LogicalPort{Name: port, Switch: "net-1", Options: map[string]string{
		ovsdb.OptionRequestedChassis: "dpu1.example", ovsdb.OptionIfaceIDVer: version,
	}})
	must(l.t, err)
}

// iface returns the row of an interface.
func (l *lab) iface(name string) ovs.Row {
	l.t.Helper()
	rows, err := l.vswitch.Rows("Interface", ovs.Row{"name": name})
	must(l.t, err)
	if len(rows) != 1 {
		l.t.Fatalf("%d interfaces are named %s", len(rows), name)
	}
	return rows[0]
}

func (l *lab) uuid(name string) string { return l.iface(name).UUID() }

func (l *lab) mtu(name string) int {
	mtu, _ := l.iface(name)["mtu_request"].(int)
	return mtu
}

// twin returns a connection that has the rights of the agent.
func (l *lab) twin() *ovsdb.Switch {
	l.t.Helper()
	must(l.t, l.view.Ready(l.t.Context()))
	return l.view
}

func (l *lab) identity() ovsdb.Identity {
	l.t.Helper()
	id, err := l.twin().Identity()
	must(l.t, err)
	return id
}

// cmsOptions sets ovn-cms-options.
func (l *lab) cmsOptions(list string) {
	l.t.Helper()
	for option := range strings.SplitSeq(list, ",") {
		_, err := l.twin().AddCMSOption(l.t.Context(), option)
		must(l.t, err)
	}
}

// port returns the port of a function as the kernel has it.
func (l *lab) port(f devlink.Function) devlink.Port {
	l.t.Helper()
	p, ok := l.kernel.Port(devlinksim.FunctionPort(f, "").ID)
	if !ok {
		l.t.Fatalf("the kernel has no port for %s", f)
	}
	return p
}

// refuseAddresses makes the kernel one that lets this side set no address, and counts the attempts.
func (l *lab) refuseAddresses() *atomic.Int32 {
	var attempts, dialed atomic.Int32
	l.config.Devlink = func() (*genetlink.Conn, error) {
		kernel, err := l.kernel.Dial()
		if err != nil || dialed.Add(1)%2 == 0 { // each second connection is a watcher's
			return kernel, err
		}
		return genetlink.NewConn(nltest.Dial(func(reqs []netlink.Message) ([]netlink.Message, error) {
			return ask(kernel, reqs, &attempts)
		})), nil
	}
	return &attempts
}

// deaf makes the kernel one that announces nothing.
func (l *lab) deaf() {
	silent := devlinksim.New()
	var dialed atomic.Int32
	l.config.Devlink = func() (*genetlink.Conn, error) {
		if dialed.Add(1)%2 == 0 { // each second connection is a watcher's
			return silent.Dial()
		}
		return l.kernel.Dial()
	}
}

// cmdPortSet is DEVLINK_CMD_PORT_SET.
const cmdPortSet = 6

// ask answers a request as the kernel does, except one that would set an address.
func ask(kernel *genetlink.Conn, reqs []netlink.Message, attempts *atomic.Int32) ([]netlink.Message, error) {
	if len(reqs) == 0 {
		return nil, io.EOF
	}
	req := reqs[0]
	var m genetlink.Message
	if err := m.UnmarshalBinary(req.Data); err != nil {
		return nil, err
	}
	if m.Header.Command == cmdPortSet {
		attempts.Add(1)
		return nltest.Error(int(syscall.EOPNOTSUPP), reqs)
	}
	answers, err := kernel.Execute(m, uint16(req.Header.Type), req.Header.Flags)
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return nltest.Error(int(errno), reqs)
	}
	out := make([]netlink.Message, 0, len(answers)+1)
	for _, a := range answers {
		data, err := a.MarshalBinary()
		if err != nil {
			return nil, err
		}
		out = append(out, netlink.Message{Header: netlink.Header{Type: req.Header.Type, Sequence: req.Header.Sequence, PID: req.Header.PID}, Data: data})
	}
	if req.Header.Flags&netlink.Dump == netlink.Dump {
		return nltest.Multipart(append(out, netlink.Message{Header: netlink.Header{Sequence: req.Header.Sequence, PID: req.Header.PID}}))
	}
	return out, err
}

// vpdTree is a sysfs with a card whose VPD has a serial number.
func vpdTree(t *testing.T, bus uint8, serial string) string {
	t.Helper()
	h, err := simhost.New(filepath.Join(t.TempDir(), "sys"), simhost.Config{})
	must(t, err)
	t.Cleanup(func() { _ = h.Close() })
	card, err := simhost.BlueField3(simhost.BlueField{Serial: serial, UUID: "3c53d07eec484d8aab34dabd24fe5782", Bus: bus, MAC: "b8:3f:d2:00:82:00", PFs: 2, VFs: 1})
	must(t, err)
	must(t, h.Plug(card))
	return h.Root()
}

// log keeps what an agent logs.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// until waits for a text in the log.
func (l *log) until(t testing.TB, text string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !strings.Contains(l.String(), text) {
		if time.Now().After(deadline) {
			t.Fatalf("the log has no %q:\n%s", text, l)
		}
		time.Sleep(time.Millisecond)
	}
}

func (l *lab) keepLog() *log {
	kept := &log{}
	l.config.Log = slog.New(slog.NewTextHandler(kept, nil))
	return kept
}
