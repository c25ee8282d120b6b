package nodedev_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riser-project/riser/pci"
	"github.com/riser-project/riser/pci/nodedev"
)

// daemon speaks as much of libvirt's RPC (virnetprotocol.x, remote_protocol.x) as listing node devices takes.
type daemon struct {
	uri string

	mu       sync.Mutex
	devices  []nodedev.Document
	vanished map[string]bool          // listed, but gone when asked for
	slow     map[string]chan struct{} // answered when the channel is closed
	flags    uint32                   // of the last listing
	asked    int
	conns    []net.Conn
	mute     bool // answers nothing
}

func serve(t *testing.T, devices ...nodedev.Document) *daemon {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "sock")
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "unix", socket)
	must(t, err)
	d := &daemon{uri: "nodedev:///system?socket=" + socket, devices: devices, vanished: map[string]bool{}, slow: map[string]chan struct{}{}}
	t.Cleanup(func() { l.Close(); d.hangUp() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			d.conns = append(d.conns, conn)
			d.mu.Unlock()
			go d.talk(conn)
		}
	}()
	return d
}

// hangUp breaks every connection, as a restart of the daemon does.
func (d *daemon) hangUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		c.Close()
	}
	d.conns = nil
}

func (d *daemon) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

func (d *daemon) talk(conn net.Conn) {
	var writing sync.Mutex
	for {
		var size uint32
		if binary.Read(conn, binary.BigEndian, &size) != nil {
			return
		}
		packet := make([]byte, size-4)
		if _, err := io.ReadFull(conn, packet); err != nil {
			return
		}
		go func() { // calls are answered out of order
			status, payload, ok := d.answer(binary.BigEndian.Uint32(packet[8:]), packet[24:])
			if !ok {
				return
			}
			var reply bytes.Buffer
			write(&reply, uint32(28+len(payload)))
			reply.Write(packet[:12]) // program, version, procedure
			write(&reply, uint32(1)) // a reply
			reply.Write(packet[16:20])
			write(&reply, status)
			reply.Write(payload)
			writing.Lock()
			defer writing.Unlock()
			_, _ = conn.Write(reply.Bytes())
		}()
	}
}

// answer returns status and payload of the answer to a call.
func (d *daemon) answer(procedure uint32, args []byte) (status uint32, payload []byte, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mute {
		return 0, nil, false
	}
	var b bytes.Buffer
	switch procedure {
	case 66: // authentication methods: none
		write(&b, []uint32{1, 0})
	case 1, 2: // open, close
	case 285: // list all node devices
		d.flags = binary.BigEndian.Uint32(args[4:])
		write(&b, uint32(len(d.devices)))
		for _, device := range d.devices {
			text(&b, device.Name)
		}
		write(&b, uint32(len(d.devices)))
	case 114: // XML of a node device
		d.asked++
		n := binary.BigEndian.Uint32(args)
		name := string(args[4 : 4+n])
		if wait := d.slow[name]; wait != nil {
			d.mu.Unlock()
			<-wait
			d.mu.Lock()
		}
		i := slices.IndexFunc(d.devices, func(device nodedev.Document) bool { return device.Name == name })
		if i < 0 || d.vanished[name] {
			write(&b, []uint32{53, 5, 1}) // no such node device
			text(&b, "no node device with matching name '"+name+"'")
			write(&b, uint32(2))
			return 1, b.Bytes(), true
		}
		text(&b, d.devices[i].XML)
	}
	return 0, b.Bytes(), true
}

func write(b *bytes.Buffer, v any) { _ = binary.Write(b, binary.BigEndian, v) }

func text(b *bytes.Buffer, s string) {
	write(b, uint32(len(s)))
	b.WriteString(s)
	b.Write(make([]byte, -len(s)&3))
}

func open(t *testing.T, d *daemon) *nodedev.Daemon {
	t.Helper()
	l, err := nodedev.Open(d.uri)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

func dial(t *testing.T, d *daemon) *nodedev.Conn {
	t.Helper()
	c, err := nodedev.Dial(t.Context(), d.uri)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	c.Timeout = 50 * time.Millisecond
	return c
}

func TestScanOverLibvirtsRPC(t *testing.T) {
	card := bluefield(t, 0x82, 4)
	all := documents(t, card)
	d := serve(t, all...)
	l := open(t, d)
	got, err := l.Scan(t.Context())
	must(t, err)
	agree(t, got, scan(t, all...))
	if d.flags != 1|2|16 {
		t.Errorf("the flags were %#x; want those of the capabilities system, pci and net alone", d.flags)
	}
}

func TestFingerprintChangesWithTheDevices(t *testing.T) {
	d := serve(t, documents(t, bluefield(t, 0x82, 1))...)
	l := open(t, d)
	first, err := l.Fingerprint(t.Context())
	must(t, err)
	if again, err := l.Fingerprint(t.Context()); err != nil || again != first {
		t.Errorf("nothing happened, and the fingerprint went from %s to %s, %v", first, again, err)
	}
	if d.asked != 0 {
		t.Errorf("%d documents were asked for", d.asked)
	}
	d.set(func() { d.devices = d.devices[1:] })
	if now, err := l.Fingerprint(t.Context()); err != nil || now == first {
		t.Errorf("a device is gone, and the fingerprint is still %s, %v", now, err)
	}
}

func TestDaemonSurvivesLibvirtsRestart(t *testing.T) {
	d := serve(t, documents(t, bluefield(t, 0x82, 1))...)
	l := open(t, d)
	_, err := l.Scan(t.Context())
	must(t, err)
	d.hangUp()
	if _, err = l.Scan(t.Context()); err != nil { // the loss may be noticed by this call only
		_, err = l.Scan(t.Context())
	}
	must(t, err)
	d.hangUp()
	if _, err = l.Fingerprint(t.Context()); err != nil {
		_, err = l.Fingerprint(t.Context())
	}
	must(t, err)
	must(t, l.Close())
	must(t, l.Close())
	_, err = l.Scan(t.Context())
	must(t, err)
}

func TestADeviceThatVanishesIsLeftOut(t *testing.T) {
	all := documents(t, bluefield(t, 0x82, 1))
	d := serve(t, all...)
	d.vanished[all[1].Name] = true
	got, err := dial(t, d).List(t.Context())
	must(t, err)
	if len(got) != len(all)-1 {
		t.Errorf("%d documents; want %d", len(got), len(all)-1)
	}
}

func TestAHangingDeviceIsGivenUp(t *testing.T) {
	all := documents(t, bluefield(t, 0x82, 1), bluefield(t, 0xc1, 1))
	d := serve(t, all...)
	c := dial(t, d)
	pf := name(pci.Address{Bus: 0x82})
	answered := make(chan struct{})
	d.set(func() { d.slow[pf] = answered })
	start := time.Now()
	h, err := nodedev.Scan(t.Context(), c.List)
	must(t, err)
	if took := time.Since(start); took > time.Second {
		t.Errorf("the scan took %v", took)
	}
	if got := strings.Join(h.Problems, "\n"); !strings.Contains(got, "node device "+pf+": libvirt gave no answer within 50ms") {
		t.Errorf("problems are %q", got)
	}
	if n := len(h.Cards); n != 2 || h.Cards[1].Serial != "MT2313XZ00C1" {
		t.Errorf("found %d cards: %+v", n, h.Cards)
	}

	c.Timeout = time.Minute // nobody must wait for it again
	asked := d.asked
	h, err = nodedev.Scan(t.Context(), c.List)
	must(t, err)
	if again := d.asked - asked; again != len(all)-1 {
		t.Errorf("%d documents were asked for; want %d", again, len(all)-1)
	}

	close(answered)
	d.set(func() { delete(d.slow, pf) })
	for range 1000 { // the late answer may still be on its way
		h, err = nodedev.Scan(t.Context(), c.List)
		must(t, err)
		if len(h.Problems) == 0 {
			break
		}
	}
	if len(h.Problems) > 0 || h.Cards[0].Serial != "MT2313XZ0082" {
		t.Errorf("after the answer: %+v, problems %q", h.Cards[0], h.Problems)
	}

	// A card that was known is still known when libvirt hangs on it again.
	c.Timeout = 50 * time.Millisecond
	hangs := make(chan struct{})
	defer close(hangs)
	d.set(func() { d.slow[pf] = hangs })
	h, err = nodedev.Scan(t.Context(), c.List)
	must(t, err)
	if len(h.Problems) != 1 || h.Cards[0].Serial != "MT2313XZ0082" {
		t.Errorf("when it hangs again: %+v, problems %q", h.Cards[0], h.Problems)
	}
}

func TestCallsEndWithTheirContext(t *testing.T) {
	d := serve(t, documents(t, bluefield(t, 0x82, 1))...)
	c := dial(t, d)
	l := open(t, d)
	_, err := l.Fingerprint(t.Context())
	must(t, err)
	d.set(func() { d.mute = true })
	for name, call := range map[string]func(context.Context) error{
		"list":        func(ctx context.Context) error { _, err := c.List(ctx); return err },
		"fingerprint": func(ctx context.Context) error { _, err := l.Fingerprint(ctx); return err },
		"dial":        func(ctx context.Context) error { _, err := nodedev.Dial(ctx, d.uri); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := call(ctx); err == nil || ctx.Err() == nil {
			t.Errorf("%s: %v, and the context's error is %v", name, err, ctx.Err())
		}
		cancel()
	}
}

func TestURIsOfThisMachineOnly(t *testing.T) {
	for _, tt := range []struct {
		name, uri, err string
	}{
		{"a local driver", "qemu:///system", ""},
		{"the test driver", "test:///default", ""},
		{"the Unix transport by name", "qemu+unix:///system?socket=/x", ""},
		{"another host", "qemu://other/system", "want one on this machine"},
		{"ssh", "qemu+ssh:///system", "want one on this machine"},
		{"tcp to this host", "qemu+tcp:///system", "want one on this machine"},
		{"no driver", "/system", "want one on this machine"},
		{"no URI", ":", "libvirt URI"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := nodedev.Open(tt.uri)
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("got %v; want %q", err, tt.err)
			}
		})
	}
	if _, err := nodedev.Dial(t.Context(), "qemu:///system?socket="+filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a daemon that is not there: %v", err)
	}
	if _, err := nodedev.Dial(t.Context(), "x"); err == nil {
		t.Error("a URI that is none was dialled")
	}
}
