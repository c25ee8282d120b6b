package instance_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/instance"
	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/virt"
	fakevirt "github.com/riser-project/riser/virt/fake"
)

// fuse makes one call of many fail: the call number at, before it is carried out or after.
type fuse struct {
	at    int // 0 is none
	after bool

	mu    sync.Mutex
	calls int
}

func (f *fuse) blow(call func() error) error {
	f.mu.Lock()
	f.calls++
	mine := f.calls == f.at
	f.mu.Unlock()
	if !mine {
		return call()
	}
	if f.after {
		if err := call(); err != nil {
			return err
		}
	}
	return fault.New(fault.Unavailable, "call %d failed as the test wants", f.at)
}

type flakyBackend struct {
	network.Backend
	fuse *fuse
}

func (b flakyBackend) EnsureNetwork(ctx context.Context, n network.Network, s []network.Subnet) error {
	return b.fuse.blow(func() error { return b.Backend.EnsureNetwork(ctx, n, s) })
}

func (b flakyBackend) EnsurePort(ctx context.Context, p network.Port, x *network.Binding) error {
	return b.fuse.blow(func() error { return b.Backend.EnsurePort(ctx, p, x) })
}

func (b flakyBackend) State(ctx context.Context, id string) (s network.State, err error) {
	err = b.fuse.blow(func() (err error) {
		s, err = b.Backend.State(ctx, id)
		return err
	})
	return s, err
}

type flakyDriver struct {
	virt.Driver
	fuse *fuse
}

func (d flakyDriver) Define(ctx context.Context, dom virt.Domain) error {
	return d.fuse.blow(func() error { return d.Driver.Define(ctx, dom) })
}

func (d flakyDriver) Start(ctx context.Context, id string) error {
	return d.fuse.blow(func() error { return d.Driver.Start(ctx, id) })
}

func (d flakyDriver) Stop(ctx context.Context, id string, hard bool) error {
	return d.fuse.blow(func() error { return d.Driver.Stop(ctx, id, hard) })
}

func (d flakyDriver) Destroy(ctx context.Context, id string) error {
	return d.fuse.blow(func() error { return d.Driver.Destroy(ctx, id) })
}

func (d flakyDriver) Attach(ctx context.Context, id string, f virt.Function) error {
	return d.fuse.blow(func() error { return d.Driver.Attach(ctx, id, f) })
}

func (d flakyDriver) Detach(ctx context.Context, id, address string) error {
	return d.fuse.blow(func() error { return d.Driver.Detach(ctx, id, address) })
}

// stage is a world in which nothing moves by itself: the test turns the crank.
type stage struct {
	*attachsim.World
	virt   *fakevirt.Driver            // of cmp1
	virts  map[string]*fakevirt.Driver // of each host
	fuse   *fuse
	runner *instance.Runner

	repeat  bool // every step is done twice
	restart bool // before every step the control plane starts anew
}

func newStage(t *testing.T, f *fuse) *stage {
	t.Helper()
	w, _ := attachsim.Standard(t)
	s := &stage{World: w, virts: map[string]*fakevirt.Driver{"cmp1": fakevirt.New(), "cmp2": fakevirt.New()}, fuse: f}
	s.virt = s.virts["cmp1"]
	s.anew()
	return s
}

// anew is a restart of the control plane.
func (s *stage) anew() {
	s.Restart(func(b network.Backend) network.Backend { return flakyBackend{b, s.fuse} })
	s.runner = instance.New(instance.Options{
		DB: s.DB, Placer: s.Placer, Binder: s.Binder,
		Virt: func(host string) (virt.Driver, error) { return flakyDriver{s.virts[host], s.fuse}, nil },
	})
}

// turn does one round of everything that happens by itself. Failures are the fuse's, and left for the next round.
func (s *stage) turn(ctx context.Context) {
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return s.runner.Reconcile(ctx) },
		func(ctx context.Context) error { return s.Binder.Reconcile(ctx) },
		func(ctx context.Context) error { return s.fuse.blow(func() error { return s.Poll(ctx) }) },
	} {
		if s.restart {
			s.anew()
		}
		_ = step(ctx)
		if s.repeat {
			_ = step(ctx)
		}
	}
}

// settle turns until ok, in a bounded number of rounds.
func (s *stage) settle(what string, ok func() bool) {
	s.T.Helper()
	for range 12 {
		if ok() {
			return
		}
		s.turn(s.T.Context())
	}
	if !ok() {
		s.T.Fatalf("in vain: waited for %s: %s", what, s.state())
	}
}

func (s *stage) servers() []*store.Server {
	var list []*store.Server
	s.Must(s.DB.Read(s.T.Context(), func(tx *store.Tx) (err error) {
		list, err = tx.Servers(s.T.Context(), store.ServerQuery{})
		return err
	}))
	return list
}

func (s *stage) state() string {
	text := ""
	for _, x := range s.servers() {
		text += fmt.Sprintf("server %s, task %q, %s; ", x.State, x.Task, x.Reason)
	}
	for _, c := range s.Claims(store.ClaimQuery{}) {
		text += fmt.Sprintf("claim of VF %d %s; ", c.VF, c.State)
	}
	return text
}

func (s *stage) idle(state store.ServerState) func() bool {
	return func() bool {
		list := s.servers()
		return len(list) == 1 && list[0].State == state && list[0].Task == ""
	}
}

// life takes a server through all it can do, checking what must hold after each.
func (s *stage) life() {
	ctx := s.T.Context()
	blue := s.Network("")
	first, second := s.Port(blue), s.Port(blue)
	server, err := s.runner.Create(ctx, instance.Spec{Name: "web", Flavor: "1", Ports: []instance.Attachment{{Port: first.ID}}})
	s.Must(err)
	s.settle("ACTIVE", s.idle(store.ServerActive))
	s.wantFunctions(server.UUID, first.ID)

	s.Must(s.runner.Attach(ctx, server.UUID, instance.Attachment{Port: second.ID}))
	s.settle("the second port", s.idle(store.ServerActive))
	s.wantFunctions(server.UUID, first.ID, second.ID)

	s.Must(s.runner.Command(ctx, server.UUID, "stop"))
	s.settle("SHUTOFF", s.idle(store.ServerStopped))
	s.Must(s.runner.Command(ctx, server.UUID, "start"))
	s.settle("ACTIVE again", s.idle(store.ServerActive))

	s.Must(s.runner.Detach(ctx, server.UUID, first.ID))
	s.settle("the first port to be free", func() bool { return s.idle(store.ServerActive)() && len(s.Claims(store.ClaimQuery{})) == 1 })
	s.wantFunctions(server.UUID, second.ID)

	s.Must(s.runner.Delete(ctx, server.UUID))
	s.settle("nothing left", func() bool { return len(s.servers()) == 0 && len(s.Claims(store.ClaimQuery{})) == 0 })
	s.settle("the backend to know", func() bool {
		one, _ := s.Backend.Port(first.ID)
		two, _ := s.Backend.Port(second.ID)
		return one.Binding == nil && two.Binding == nil
	})
	if state, _ := s.virt.State(ctx, server.UUID); state != virt.Absent {
		s.T.Errorf("the domain is %s", state)
	}
}

// wantFunctions checks that the guest has the functions of exactly these ports, and that their DPUs have them plugged.
func (s *stage) wantFunctions(server string, ports ...string) {
	s.T.Helper()
	var want, got []string
	for _, id := range ports {
		if p := s.ReadPort(id); p.Status != network.StatusActive {
			s.T.Errorf("port %s is %s: %s", id, p.Status, p.StatusReason)
		}
		for _, c := range s.Claims(store.ClaimQuery{Port: id}) {
			if c.State == store.ClaimPlugged {
				want = append(want, c.Address)
			}
		}
	}
	d, _ := s.virt.Domain(server)
	for _, f := range d.Functions {
		got = append(got, f.Address)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) || len(got) != len(ports) {
		s.T.Errorf("the guest has functions %v, claimed are %v for %d ports", got, want, len(ports))
	}
}

func TestTheLifeOfAServer(t *testing.T) {
	newStage(t, &fuse{}).life()
}

func TestEveryStepCanBeRepeated(t *testing.T) {
	s := newStage(t, &fuse{})
	s.repeat = true
	s.life()
}

func TestTheControlPlaneMayRestartBetweenAnyTwoSteps(t *testing.T) {
	s := newStage(t, &fuse{})
	s.restart = true
	s.life()
}

func TestAnyCallMayFailOnceOrLoseItsAnswer(t *testing.T) {
	count := &fuse{}
	newStage(t, count).life()
	if count.calls < 15 {
		t.Fatalf("a life has only %d calls", count.calls)
	}
	for at := 1; at <= count.calls; at += stride {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("call %d, after %v", at, after), func(t *testing.T) {
				t.Parallel()
				s := newStage(t, &fuse{at: at, after: after})
				s.restart = after
				s.life()
			})
		}
	}
}
