package instance_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/instance"
	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/virt"
)

const serial3 = "MT2113X00003"

// newTwoHosts is a stage with a second host, cmp2, which has fewer functions.
func newTwoHosts(t *testing.T, f *fuse) *stage {
	t.Helper()
	s := newStage(t, f)
	s.Node("cmp2")
	s.Report("cmp2", attachsim.Card(serial3, 0x83, 1, 2))
	s.DPU(serial3, "dpu-c")
	return s
}

// wantAt checks that the server runs on host with VF 0 of a card for each of its ports, and is nowhere else.
func (s *stage) wantAt(server, host, serial string, running virt.State, ports ...string) {
	s.T.Helper()
	for name, driver := range s.virts {
		state, err := driver.State(s.T.Context(), server)
		s.Must(err)
		if want := map[bool]virt.State{true: running, false: virt.Absent}[name == host]; state != want {
			s.T.Errorf("the domain on %s is %s, want %s", name, state, want)
		}
	}
	d, _ := s.virts[host].Domain(server)
	if len(d.Functions) != len(ports) {
		s.T.Errorf("the domain has functions %v for %d ports", d.Functions, len(ports))
	}
	for i, id := range ports {
		p := s.ReadPort(id)
		if p.Status != network.StatusActive || p.HostID != host || p.Profile.CardSerial != serial || p.Profile.VF != i || p.Profile.PCISlot != d.Functions[i].Address {
			s.T.Errorf("port %s is %s on %s with profile %+v, the domain has %v", id, p.Status, p.HostID, p.Profile, d.Functions)
		}
	}
}

// wantClaims waits until as many functions are claimed, and none is kept for nothing.
func (s *stage) wantClaims(n int) {
	s.T.Helper()
	s.settle(fmt.Sprint(n, " claims"), func() bool { return len(s.Claims(store.ClaimQuery{})) == n })
}

func (s *stage) beat(host string, ttl time.Duration) {
	s.T.Helper()
	s.Write(func(tx *store.Tx) error {
		_, err := tx.BeatHost(s.T.Context(), host, ttl)
		return err
	})
}

// journey takes a server from host to host in all ways.
func (s *stage) journey() {
	ctx := s.T.Context()
	p := s.Port(s.Network(""))
	server, err := s.runner.Create(ctx, instance.Spec{Name: "web", Flavor: "1", Ports: []instance.Attachment{{Port: p.ID}}})
	s.Must(err)
	id := server.UUID
	s.settle("ACTIVE", s.idle(store.ServerActive))
	s.wantAt(id, "cmp1", "MT2113X00001", virt.Running, p.ID)

	s.Must(s.runner.Migrate(ctx, id, ""))
	s.settle("VERIFY_RESIZE", s.idle(store.ServerResized))
	s.wantAt(id, "cmp2", serial3, virt.Running, p.ID)
	s.wantClaims(1)
	s.Must(s.runner.Revert(ctx, id))
	s.settle("ACTIVE after the revert", s.idle(store.ServerActive))
	s.wantAt(id, "cmp1", "MT2113X00001", virt.Running, p.ID)
	s.wantClaims(1)

	s.Must(s.runner.Command(ctx, id, "stop"))
	s.settle("SHUTOFF", s.idle(store.ServerStopped))
	s.Must(s.runner.Migrate(ctx, id, "cmp2"))
	s.settle("VERIFY_RESIZE of a stopped server", s.idle(store.ServerResized))
	s.Must(s.runner.Confirm(ctx, id))
	s.settle("SHUTOFF", s.idle(store.ServerStopped))
	s.wantAt(id, "cmp2", serial3, virt.Stopped, p.ID)
	s.Must(s.runner.Command(ctx, id, "start"))
	s.settle("ACTIVE", s.idle(store.ServerActive))
	s.Must(s.runner.Rebuild(ctx, id, "other"))
	s.settle("ACTIVE after the rebuild", s.idle(store.ServerActive))
	s.wantAt(id, "cmp2", serial3, virt.Running, p.ID)
	s.wantClaims(1)

	s.beat("cmp2", -time.Second)
	s.Must(s.runner.Evacuate(ctx, id, ""))
	s.settle("ACTIVE after the evacuation", s.idle(store.ServerActive))
	if state, _ := s.virts["cmp2"].State(ctx, id); state != virt.Running {
		s.T.Errorf("the domain on the silent host is %s: nobody can have told it to stop", state)
	}
	s.beat("cmp2", time.Hour)
	s.settle("the old domain to be destroyed", func() bool {
		state, _ := s.virts["cmp2"].State(ctx, id)
		return state == virt.Absent && len(s.leftovers()) == 0
	})
	s.wantAt(id, "cmp1", "MT2113X00001", virt.Running, p.ID)

	s.Must(s.runner.Delete(ctx, id))
	s.settle("nothing left", func() bool { return len(s.servers()) == 0 && len(s.Claims(store.ClaimQuery{})) == 0 })
	for _, d := range s.pfs() {
		if d.Free != d.VFs {
			s.T.Errorf("PF %s of %s has %d free VFs of %d", d.Address, d.Host, d.Free, d.VFs)
		}
	}
}

func (s *stage) leftovers() (list []store.Leftover) {
	s.Must(s.DB.Read(s.T.Context(), func(tx *store.Tx) (err error) {
		list, err = tx.Leftovers(s.T.Context(), "")
		return err
	}))
	return list
}

// pfs returns the PFs of all hosts.
func (s *stage) pfs() (list []*store.HostPF) {
	s.Must(s.DB.Read(s.T.Context(), func(tx *store.Tx) (err error) {
		list, err = tx.HostPFs(s.T.Context(), store.PFQuery{})
		return err
	}))
	return list
}

func TestTheJourneyOfAServer(t *testing.T) { newTwoHosts(t, &fuse{}).journey() }

func TestEveryStepOfAJourneyCanBeRepeated(t *testing.T) {
	s := newTwoHosts(t, &fuse{})
	s.repeat = true
	s.journey()
}

func TestTheControlPlaneMayRestartDuringAJourney(t *testing.T) {
	s := newTwoHosts(t, &fuse{})
	s.restart = true
	s.journey()
}

func TestAnyCallOfAJourneyMayFailOnceOrLoseItsAnswer(t *testing.T) {
	count := &fuse{}
	newTwoHosts(t, count).journey()
	for at := 1; at <= count.calls; at += journeyStride {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("call %d, after %v", at, after), func(t *testing.T) {
				t.Parallel()
				s := newTwoHosts(t, &fuse{at: at, after: after})
				s.restart = after
				s.journey()
			})
		}
	}
}

func TestRefusalsOfAMove(t *testing.T) {
	s := newTwoHosts(t, &fuse{})
	ctx := t.Context()
	server, err := s.runner.Create(ctx, instance.Spec{Name: "web", Flavor: "1", Ports: []instance.Attachment{{Port: s.Port(s.Network("")).ID}}})
	s.Must(err)
	s.settle("ACTIVE", s.idle(store.ServerActive))
	for name, tt := range map[string]struct {
		do   func() error
		kind fault.Kind
		text string
	}{
		"to the host where it is":         {func() error { return s.runner.Migrate(ctx, server.UUID, "cmp1") }, fault.Invalid, "to current host"},
		"to a host that is not":           {func() error { return s.runner.Migrate(ctx, server.UUID, "cmp9") }, fault.NotFound, "cmp9"},
		"away from a host that lives":     {func() error { return s.runner.Evacuate(ctx, server.UUID, "") }, fault.Invalid, "Compute service of cmp1 is still in use."},
		"back without a migration":        {func() error { return s.runner.Revert(ctx, server.UUID) }, fault.Conflict, "while it is in vm_state active"},
		"a confirmation without any move": {func() error { return s.runner.Confirm(ctx, server.UUID) }, fault.Conflict, "while it is in vm_state active"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tt.do(); !fault.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %v, want %v with %q", err, tt.kind, tt.text)
			}
		})
	}
	s.beat("cmp2", -time.Second)
	if err := s.runner.Migrate(ctx, server.UUID, ""); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "cmp2: the host's agent is silent") {
		t.Errorf("a migration with nowhere to go: %v", err)
	}
	if list := s.servers(); list[0].Task != "" || list[0].State != store.ServerActive || len(s.Claims(store.ClaimQuery{})) != 1 {
		t.Errorf("after the refusals: %s", s.state())
	}
}

func TestAServerDeletedOnItsWayLeavesNothing(t *testing.T) {
	for turns := range 5 {
		t.Run(fmt.Sprint("after round ", turns), func(t *testing.T) {
			s := newTwoHosts(t, &fuse{})
			ctx := t.Context()
			server, err := s.runner.Create(ctx, instance.Spec{Name: "web", Flavor: "1", Ports: []instance.Attachment{{Port: s.Port(s.Network("")).ID}}})
			s.Must(err)
			s.settle("ACTIVE", s.idle(store.ServerActive))
			s.Must(s.runner.Migrate(ctx, server.UUID, ""))
			for range turns {
				s.turn(ctx)
			}
			s.Must(s.runner.Delete(ctx, server.UUID))
			s.settle("nothing left", func() bool { return len(s.servers()) == 0 && len(s.Claims(store.ClaimQuery{})) == 0 })
			for name, driver := range s.virts {
				if state, _ := driver.State(ctx, server.UUID); state != virt.Absent {
					t.Errorf("the domain on %s is %s", name, state)
				}
			}
		})
	}
}
