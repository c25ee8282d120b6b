package binding_test

import (
	"context"
	"testing"
	"time"

	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/store"
)

// late is a backend whose answer about a port is old when it arrives: what it has told its watchers since is newer.
type late struct {
	network.Backend
	meanwhile func(port string)
}

func (l *late) State(ctx context.Context, id string) (network.State, error) {
	old, err := l.Backend.State(ctx, id)
	l.meanwhile(id)
	return old, err
}

func TestAnOldAnswerDoesNotUndoANewerEvent(t *testing.T) {
	w, dpus := attachsim.Standard(t)
	w.Backend.Manual()
	// The loop may still ask while the test ends, when its context is over.
	read := func(id string) *store.VPort {
		p := &store.VPort{}
		ctx := context.WithoutCancel(t.Context())
		if err := w.DB.Read(ctx, func(tx *store.Tx) (err error) {
			p, err = tx.VPort(ctx, id)
			return err
		}); err != nil {
			t.Error(err)
		}
		return p
	}
	w.Restart(func(b network.Backend) network.Backend {
		return &late{Backend: b, meanwhile: func(port string) {
			if !read(port).Profile.Bound {
				return
			}
			w.Backend.Up(port, true, "")
			for end := time.Now().Add(5 * time.Second); !read(port).Up; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Error("the watcher's event did not arrive")
					return
				}
			}
		}}
	})
	w.Start(w.Binder.Run)
	p := w.Port(w.Network(""))
	place(t, w, p)
	w.Must(dpus[0].Poll(t.Context()))
	for end := time.Now().Add(5 * time.Second); w.ReadPort(p.ID).Status != network.StatusActive; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			got := w.ReadPort(p.ID)
			t.Fatalf("the port is %s (%s)", got.Status, got.StatusReason)
		}
	}
	time.Sleep(20 * time.Millisecond)
	if got := w.ReadPort(p.ID); got.Status != network.StatusActive {
		t.Errorf("the port went back to %s (%s)", got.Status, got.StatusReason)
	}
}

func TestACardWithoutOrdersIsToldOnceThatThereAreNone(t *testing.T) {
	w, dpus := attachsim.Standard(t)
	all, err := w.Binder.Orders(t.Context(), dpus[0].Serial, 0)
	w.Must(err)
	if !all.Full || len(all.Orders) != 0 || all.Revision == 0 {
		t.Errorf("the first answer: %+v", all)
	}
	next, err := w.Binder.Orders(t.Context(), dpus[0].Serial, all.Revision)
	w.Must(err)
	if next.Full || len(next.Orders) != 0 || next.Revision != all.Revision {
		t.Errorf("the next answer: %+v", next)
	}
}
