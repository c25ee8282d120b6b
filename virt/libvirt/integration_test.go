//go:build integration

package libvirt_test

import (
	"context"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/riser-project/riser/internal/lab"
	"github.com/riser-project/riser/virt"
	"github.com/riser-project/riser/virt/libvirt"
	"github.com/riser-project/riser/virt/virttest"
)

// node describes the host of libvirt's test driver.
const node = `<node><cpu><mhz>2000</mhz><model>i686</model><active>4</active><nodes>1</nodes><sockets>1</sockets><cores>4</cores><threads>1</threads></cpu>
<memory>8192000</memory></node>`

func TestContractOnLibvirtsTestDriver(t *testing.T) {
	l := lab.StartLibvirt(t, "")
	virttest.Run(t, func(t *testing.T) virttest.Harness {
		return virttest.Harness{
			Driver:    open(t, libvirt.Options{URI: l.TestDriver(t, node) + "?socket=" + l.Socket}),
			Functions: [2]string{"0000:82:00.3", "0000:82:00.4"},
			Cold:      true,
		}
	})
}

// proxy passes connections on to a daemon until they are cut, as by the daemon's restart.
type proxy struct {
	path string

	mu    sync.Mutex
	conns []net.Conn
}

func startProxy(t *testing.T, to string) *proxy {
	t.Helper()
	p := &proxy{path: filepath.Join(t.TempDir(), "s")}
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", p.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		p.cut()
	})
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := new(net.Dialer).DialContext(t.Context(), "unix", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, near, far)
			p.mu.Unlock()
			go func() { _, _ = io.Copy(near, far) }()
			go func() { _, _ = io.Copy(far, near) }()
		}
	}()
	return p
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// A domain of 96 MB, emulated, which finds nothing to boot from. It runs all the same, and goes on while the connection to libvirtd breaks off.
func TestAQEMUDomainOutlivesTheConnection(t *testing.T) {
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("qemu-system-x86 is not installed")
	}
	p := startProxy(t, lab.StartLibvirt(t, "").Socket)
	d := open(t, libvirt.Options{URI: "qemu:///system?socket=" + p.path, Type: "qemu"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	events := make(chan virt.Event, 64)
	watched := make(chan error, 1)
	go func() { watched <- d.Watch(ctx, func(e virt.Event) { events <- e }) }()
	expect := func(want virt.State) {
		t.Helper()
		for {
			select {
			case e := <-events:
				if e.ID == id && e.State == want {
					return
				}
			case <-ctx.Done():
				t.Fatalf("no event says that the domain is %s", want)
			}
		}
	}
	must(d.Define(ctx, virt.Domain{ID: id, Name: "tiny", VCPUs: 1, MemoryMB: 96}))
	t.Cleanup(func() { _ = d.Destroy(context.WithoutCancel(ctx), id) })
	must(d.Start(ctx, id))
	expect(virt.Running)
	p.cut()
	expect(virt.Running) // told again after the new connection
	if s, err := d.State(ctx, id); err != nil || s != virt.Running {
		t.Errorf("the domain is %s, error %v", s, err)
	}
	must(d.Start(ctx, id))
	must(d.Stop(ctx, id, true))
	expect(virt.Stopped)
	must(d.Destroy(ctx, id))
	expect(virt.Absent)
	cancel()
	<-watched
}
