package devlink_test

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/riser-project/riser/devlink"
	"github.com/riser-project/riser/internal/sim/devlinksim"
)

func watch(t *testing.T, c *devlink.Conn) *devlink.Watcher {
	t.Helper()
	w, err := c.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func next(t *testing.T, w *devlink.Watcher) devlink.Event {
	t.Helper()
	e, err := w.Next()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAWatcherTellsOfNewRenamedAndRemovedPorts(t *testing.T) {
	k := devlinksim.New()
	w := watch(t, connect(t, k))
	vf := devlink.Function{Handle: handle(t, "pci/0000:03:00.0"), Controller: 1, External: true, Kind: devlink.KindPF}.VF(3)
	port := devlinksim.FunctionPort(vf, "eth7")
	k.SetPort(port)
	k.Rename(port.ID, "c1pf0vf3")
	k.RemovePort(port.ID)
	for _, want := range []struct {
		kind   devlink.EventKind
		netdev string
	}{{devlink.PortNew, "eth7"}, {devlink.PortNew, "c1pf0vf3"}, {devlink.PortDel, "c1pf0vf3"}} {
		e := next(t, w)
		if e.Kind != want.kind || e.Port.Netdev != want.netdev || e.Port.Function != vf {
			t.Errorf("got %s of %s (%s), want %s of %s", e.Kind, e.Port.Netdev, e.Port.Function, want.kind, want.netdev)
		}
	}
}

func TestChangesBetweenWatchAndDumpAreNotLost(t *testing.T) {
	k := devlinksim.New()
	c := connect(t, k)
	w := watch(t, c)
	k.AddCard(card(t, 1))
	if got := len(dump(t, c)); got != 6 {
		t.Fatalf("%d ports, want 6", got)
	}
	for i := range 6 {
		if e := next(t, w); e.Kind != devlink.PortNew {
			t.Errorf("event %d is %s, want new", i, e.Kind)
		}
	}
}

func TestLostChangesAreAnOverflowAndTheWatcherGoesOn(t *testing.T) {
	k := devlinksim.New()
	c := connect(t, k)
	w := watch(t, c)
	k.AddCard(card(t, 2))
	port := devlinksim.FunctionPort(devlink.Function{Handle: handle(t, "pci/0000:03:00.0"), Controller: 1, External: true,
		Kind: devlink.KindPF, PF: 0}.SF(88), "c1pf0sf88")
	k.Overflow(func() { k.SetPort(port) })
	e := next(t, w)
	if e.Kind != devlink.Overflow || !errors.Is(e.Err, syscall.ENOBUFS) {
		t.Fatalf("got %+v, want an overflow by ENOBUFS", e)
	}
	if _, err := devlink.NewTable(dump(t, c), nil).Lookup(port.Function); err != nil {
		t.Errorf("after the new dump: %v", err)
	}
	k.RemovePort(port.ID)
	if e := next(t, w); e.Kind != devlink.PortDel || e.Port.ID != port.ID {
		t.Errorf("after the overflow: %+v, want the removal of %s", e, port.ID)
	}
}

func TestAChangeThatCannotBeReadIsAnOverflow(t *testing.T) {
	k := devlinksim.New()
	w := watch(t, connect(t, k))
	k.Notify(3, nil)                              // another command of the family: no business of the watcher
	k.Notify(8, []byte{5, 0, 128, 0, 1, 0, 0, 0}) // a removal with a VF number of one byte
	if e := next(t, w); e.Kind != devlink.Overflow || e.Err == nil {
		t.Errorf("got %+v, want an overflow with its reason", e)
	}
}

func TestAWatcherEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(cancel context.CancelFunc, w *devlink.Watcher)
		want error
	}{
		{"by its context", func(cancel context.CancelFunc, _ *devlink.Watcher) { cancel() }, context.Canceled},
		{"by Close", func(_ context.CancelFunc, w *devlink.Watcher) { _ = w.Close() }, net.ErrClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := devlinksim.New()
			c := connect(t, k)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			w, err := c.Watch(ctx)
			if err != nil {
				t.Fatal(err)
			}
			go tt.end(cancel, w)
			if _, err := w.Next(); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			_ = w.Close()
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if n := k.Sockets(); errors.Is(tt.want, net.ErrClosed) && n != 0 {
				t.Errorf("%d sockets left open", n)
			}
		})
	}
}

func TestWatchNeedsTheFamily(t *testing.T) {
	k := devlinksim.New()
	c := connect(t, k)
	k.Unload()
	if _, err := c.Watch(t.Context()); !errors.Is(err, devlink.ErrNoFamily) {
		t.Errorf("got %v, want ErrNoFamily", err)
	}
}
