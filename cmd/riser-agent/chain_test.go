package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/riser-project/riser/agent/dpu"
	"github.com/riser-project/riser/api/agents"
	"github.com/riser-project/riser/binding"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/internal/sim/devlinksim"
	"github.com/riser-project/riser/internal/sim/ovs"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/network/ovn"
	"github.com/riser-project/riser/placement"
	"github.com/riser-project/riser/store"
)

// chain is everything between a claim and a representor: the control plane on its store, the agents' API over HTTP, OVN, and cards whose own Linux
// runs the agent.
type chain struct {
	*attachsim.World
	binder *binding.Binder
	url    string
	ovn    *ovs.OVN
	cards  map[string]*ownLinux // by serial number
}

// ownLinux is what runs on a card.
type ownLinux struct {
	kernel  *devlinksim.Kernel
	vswitch *ovs.Switch
}

const vfsPerPF = 4

func newChain(t *testing.T, plugByOVN bool) *chain {
	t.Helper()
	w := attachsim.New(t)
	w.Node("cmp1")
	c := &chain{World: w, cards: map[string]*ownLinux{}}
	var err error
	c.ovn, err = ovs.StartOVN("tcp:127.0.0.1:0")
	w.Must(err)
	t.Cleanup(func() { w.Must(c.ovn.Close()) })
	backend, err := ovn.Open(ovn.Options{Endpoint: c.ovn.Endpoint()})
	w.Must(err)
	t.Cleanup(func() { w.Must(backend.Close()) })
	c.binder = binding.New(binding.Options{DB: w.DB, Backend: backend, PlugByOVN: plugByOVN, Resync: 50 * time.Millisecond})
	server := httptest.NewServer(agents.New(agents.Options{DB: w.DB, Enrol: w.Enrol, Binding: c.binder, Log: slog.New(slog.DiscardHandler)}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// card adds a card whose own Linux has this host name, and starts its agent.
func (c *chain) card(serial, chassis string) *ownLinux {
	c.T.Helper()
	kernel := devlinksim.New()
	var pfs []net.HardwareAddr
	for pf := range 2 {
		mac, err := net.ParseMAC(attachsim.MAC(serial, pf))
		c.Must(err)
		pfs = append(pfs, mac)
	}
	kernel.AddCard(devlinksim.Card{Serial: serial, PartNumber: "900-9D3B6-00CV-A", VFs: vfsPerPF, Hosts: [][]net.HardwareAddr{pfs}})
	vswitch, err := ovs.StartSwitch(ovs.SwitchConfig{
		Endpoint: "tcp:127.0.0.1:0", SystemID: "system-" + chassis, Hostname: chassis, Netdev: kernel.HasNetdev,
	})
	c.Must(err)
	c.T.Cleanup(func() { c.Must(vswitch.Close()) })
	c.Must(c.ovn.AddChassis(vswitch))
	c.T.Cleanup(func() { _ = c.ovn.Close() }) // before the switch
	c.Start(func(ctx context.Context) {
		err := dpu.Run(ctx, dpu.Config{
			Server: c.url, Devlink: kernel.Dial, OVSDB: vswitch.Endpoint(), Settle: 50 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			c.T.Error(err)
		}
	})
	own := &ownLinux{kernel, vswitch}
	c.cards[serial] = own
	return own
}

// until waits for something in the store.
func (c *chain) until(what string, holds func() bool) {
	c.T.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			c.T.Fatalf("%s: not within 20 s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// enrolled waits until a card is the node of a DPU that has reported.
func (c *chain) enrolled(serial, chassis string) {
	c.T.Helper()
	c.until("card "+serial+" enrolled as "+chassis, func() bool {
		found := false
		c.Must(c.DB.Read(c.T.Context(), func(tx *store.Tx) error {
			n, err := tx.NodeByCard(c.T.Context(), serial)
			found = err == nil && n.Card.Chassis == chassis
			return nil
		}))
		return found
	})
}

// place claims a function for a new port and binds it.
func (c *chain) place(networkID string) (*store.VPort, *store.Claim, error) {
	p := c.Port(networkID)
	_, claims, err := c.Placer.Place(c.T.Context(), placement.Request{Server: uuid.NewString(), NUMANode: -1, Ports: []placement.Port{{ID: p.ID}}},
		func(tx *store.Tx, _ string, claims []*store.Claim) error {
			return c.binder.Bind(c.T.Context(), tx, claims[0], "compute:nova")
		})
	if err != nil {
		return p, nil, err
	}
	return p, claims[0], nil
}

// active waits until a port is ACTIVE.
func (c *chain) active(id string) {
	c.T.Helper()
	var last string
	defer func() {
		if c.T.Failed() {
			c.T.Logf("the port was %s", last)
		}
	}()
	c.until("port "+id+" ACTIVE", func() bool {
		p := c.ReadPort(id)
		last = p.Status + ": " + p.StatusReason
		return p.Status == network.StatusActive
	})
}

// interfaces returns the interface of each port in a card's switch, and fails if a port has two.
func (c *chain) interfaces(own *ownLinux) map[string]string {
	c.T.Helper()
	rows, err := own.vswitch.Rows("Interface", nil)
	c.Must(err)
	out := map[string]string{}
	for _, row := range rows {
		if id := row.Map("external_ids")["iface-id"]; id != "" {
			if out[id] != "" {
				c.T.Errorf("port %s has two interfaces", id)
			}
			out[id], _ = row["name"].(string)
		}
	}
	return out
}

func TestFromAClaimToARepresentorAndBack(t *testing.T) {
	t.Parallel()
	c := newChain(t, false)
	c.Start(c.binder.Run)
	cards := map[string]string{"MT2113X00001": "dpu-a", "MT2113X00002": "dpu-b"}
	for serial, chassis := range cards {
		c.card(serial, chassis)
	}
	c.Report("cmp1", attachsim.Card("MT2113X00001", 0x81, 2, vfsPerPF), attachsim.Card("MT2113X00002", 0x82, 2, vfsPerPF))
	for serial, chassis := range cards {
		c.enrolled(serial, chassis)
	}
	networkID := c.Network("")
	ports := map[string]*store.Claim{}
	for range 6 {
		p, claim, err := c.place(networkID)
		c.Must(err)
		ports[p.ID] = claim
	}
	for id, claim := range ports {
		c.active(id)
		pf := 0
		if claim.PFMAC == attachsim.MAC(claim.Card, 1) {
			pf = 1
		}
		if got, want := c.interfaces(c.cards[claim.Card])[id], fmt.Sprintf("c1pf%dvf%d", pf, claim.VF); got != want {
			t.Errorf("VF %d of the PF with address %s is plugged as %q, want %s", claim.VF, claim.PFMAC, got, want)
		}
	}
	for id := range ports {
		c.Write(func(tx *store.Tx) error { return c.binder.Delete(t.Context(), tx, id) })
	}
	c.until("all functions free", func() bool { return len(c.Claims(store.ClaimQuery{})) == 0 })
	for serial, own := range c.cards {
		if left := c.interfaces(own); len(left) != 0 {
			t.Errorf("card %s still has %v", serial, left)
		}
	}
}

func TestOrdersOfAnOlderDatabaseAreOvertaken(t *testing.T) {
	t.Parallel()
	c := newChain(t, false)
	c.Start(c.binder.Run)
	own := c.card("MT2113X00001", "dpu-a")
	c.Report("cmp1", attachsim.Card("MT2113X00001", 0x81, 2, vfsPerPF))
	c.enrolled("MT2113X00001", "dpu-a")
	p, _, err := c.place(c.Network(""))
	c.Must(err)
	c.active(p.ID)
	// The database is put back to a state in which the order has a lower generation than the card has carried out.
	c.Write(func(tx *store.Tx) error {
		list, err := tx.Orders(t.Context(), store.OrderQuery{Card: "MT2113X00001", Port: p.ID, Lock: true})
		if err != nil {
			return err
		}
		list[0].Generation, list[0].Reported = 0, 0
		return tx.SaveOrder(t.Context(), list[0])
	})
	c.until("an order above the one that was carried out", func() bool {
		rows, err := own.vswitch.Rows("Interface", ovs.Row{"name": c.interfaces(own)[p.ID]})
		return err == nil && len(rows) == 1 && rows[0].Map("external_ids")["riser-generation"] == "2"
	})
	c.active(p.ID)
}

func TestOneSerialNumberOnTwoCards(t *testing.T) {
	t.Parallel()
	c := newChain(t, false)
	const serial = "MT2113X00001"
	c.card(serial, "dpu-a")
	c.Report("cmp1", attachsim.Card(serial, 0x81, 2, vfsPerPF))
	c.enrolled(serial, "dpu-a")
	p, _, err := c.place(c.Network(""))
	c.Must(err)
	first := c.cards[serial]
	c.until("the plug", func() bool { return c.interfaces(first)[p.ID] != "" })
	second := c.card(serial, "dpu-b")
	c.until("both refused", func() bool {
		_, err := c.binder.Orders(t.Context(), serial, 0)
		return fault.Is(err, fault.Conflict) && strings.Contains(err.Error(), "dpu-a") && strings.Contains(err.Error(), "dpu-b")
	})
	if _, _, err := c.place(c.Network("")); err == nil {
		t.Error("a port was bound to a card that may be either of two")
	}
	if got := c.interfaces(second); len(got) != 0 {
		t.Errorf("the second card has plugged %v", got)
	}
	if c.interfaces(first)[p.ID] == "" {
		t.Error("the first card has lost a port that it had before")
	}
}

func TestOrdersForOVN(t *testing.T) {
	t.Parallel()
	c := newChain(t, true)
	c.Start(c.binder.Run)
	own := c.card("MT2113X00001", "dpu-a")
	c.Report("cmp1", attachsim.Card("MT2113X00001", 0x81, 2, vfsPerPF))
	c.enrolled("MT2113X00001", "dpu-a")
	p, claim, err := c.place(c.Network(""))
	c.Must(err)
	c.until("that the port waits for ovn-controller", func() bool {
		return strings.Contains(c.ReadPort(p.ID).StatusReason, "ovn-controller to plug c1pf")
	})
	var rows []ovs.Row
	c.until("the port in OVN", func() bool {
		rows, err = c.ovn.Rows("Logical_Switch_Port", ovs.Row{"name": p.ID})
		return err == nil && len(rows) == 1 && len(rows[0].Map("options")) > 0
	})
	want := map[string]string{
		"requested-chassis": "dpu-a", "vif-plug-type": "representor", "vif-plug-mtu-request": "1442",
		"vif-plug:representor:pf-mac": claim.PFMAC, "vif-plug:representor:vf-num": fmt.Sprint(claim.VF),
	}
	if got := rows[0].Map("options"); !maps.Equal(got, want) {
		t.Errorf("OVN is told %v, want %v", got, want)
	}
	if got := c.interfaces(own); len(got) != 0 {
		t.Errorf("the agent has plugged %v", got)
	}
	root, err := own.vswitch.Rows("Open_vSwitch", nil)
	c.Must(err)
	if got := root[0].Map("external_ids")["ovn-cms-options"]; got != "card-serial-number=MT2113X00001" {
		t.Errorf("ovn-cms-options is %q", got)
	}
}
