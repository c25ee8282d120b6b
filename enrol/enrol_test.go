package enrol_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/enrol"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

const (
	serial1 = "MT2113X00001"
	serial2 = "MT2113X00002"
)

func children(t *testing.T, w *attachsim.World, parent string) []*node.Node {
	t.Helper()
	var list []*node.Node
	w.Must(w.DB.Read(t.Context(), func(tx *store.Tx) error {
		n, err := tx.Node(t.Context(), parent)
		if err != nil {
			return err
		}
		list, err = tx.Children(t.Context(), n.UUID)
		return err
	}))
	return list
}

func TestCardsBecomeChildrenWhateverComesFirst(t *testing.T) {
	host := func(w *attachsim.World) { w.Report("cmp1", attachsim.Card(serial1, 0x81, 2, 4)) }
	dpu := func(w *attachsim.World) { w.DPU(serial1, "dpu-a.example") }
	operator := func(w *attachsim.World) { w.Node("cmp1") }
	for name, steps := range map[string][]func(*attachsim.World){
		"node, host, DPU": {operator, host, dpu},
		"node, DPU, host": {operator, dpu, host},
		"host, node, DPU": {host, operator, dpu},
		"host, DPU, node": {host, dpu, operator},
		"DPU, node, host": {dpu, operator, host},
		"DPU, host, node": {dpu, host, operator},
		"all of it twice": {operator, host, dpu, host, dpu},
	} {
		t.Run(name, func(t *testing.T) {
			w := attachsim.New(t)
			for _, step := range steps {
				step(w)
			}
			for range 2 {
				w.Must(w.Enrol.Reconcile(t.Context()))
			}
			list := children(t, w, "cmp1")
			if len(list) != 1 {
				t.Fatalf("%d children, want 1", len(list))
			}
			want := node.Card{Serial: serial1, PartNumber: "900-9D3B6-00CV-A", Chassis: "dpu-a.example"}
			if n := list[0]; n.Name != "dpu-a" || n.Card != want || n.Properties["chassis_name"] != "dpu-a.example" || n.Provision != node.Enroll {
				t.Errorf("child %q, card %+v, properties %v, state %s", n.Name, n.Card, n.Properties, n.Provision)
			}
		})
	}
}

func TestAChildIsPreparedAndItsVerificationAskedFor(t *testing.T) {
	var asked []string
	w := attachsim.New(t, func(o *enrol.Options) {
		o.DriverInfo = func(d *store.DPU) node.Object {
			return node.Object{"redfish_address": d.BMCAddress, "redfish_password": "hunter2"}
		}
		o.Prepare = func(n *node.Node) error {
			n.Interfaces = node.Interfaces{node.Power: "redfish"}
			return nil
		}
		o.Manage = func(_ context.Context, id string) error {
			asked = append(asked, id)
			return nil
		}
	})
	w.Node("cmp1")
	w.Report("cmp1", attachsim.Card(serial1, 0x81, 2, 4))
	w.DPU(serial1, "dpu-a")
	n := children(t, w, "cmp1")[0]
	if n.DriverInfo["redfish_address"] != "https://dpu-a-bmc.example" || n.DriverInfo["redfish_password"] != node.Masked || n.Interfaces[node.Power] != "redfish" {
		t.Errorf("driver_info %v, interfaces %v", n.DriverInfo, n.Interfaces)
	}
	if !slices.Contains(asked, n.UUID) {
		t.Errorf("verification was asked for %v, want %s", asked, n.UUID)
	}
}

func TestWhatAnOperatorRegisteredIsUsed(t *testing.T) {
	w := attachsim.New(t)
	parent := w.Node("cmp1")
	child := &node.Node{
		UUID: "9a3f0f2e-6f5d-4f5b-9a93-2e54a6f0a001", Name: "left-card", Driver: "redfish", Parent: parent.UUID, Provision: node.Manageable,
		Properties: node.Object{"card_serial_number": serial1},
	}
	w.Write(func(tx *store.Tx) error { return tx.InsertNode(t.Context(), child) })
	w.Report("cmp1", attachsim.Card(serial1, 0x81, 2, 4))
	w.DPU(serial1, "dpu-a")
	list := children(t, w, "cmp1")
	if len(list) != 1 || list[0].Name != "left-card" || list[0].Card.Serial != serial1 || list[0].Card.Chassis != "dpu-a" {
		t.Errorf("children %+v, want left-card alone with the card", list)
	}
}

func TestAHostIsTiedBySystemUUIDBeforeName(t *testing.T) {
	w := attachsim.New(t)
	const id = "4c4c4544-0044-4210-8031-c3c04f4b3533"
	right := w.Node("rack1-u7")
	w.Write(func(tx *store.Tx) error {
		right.DriverInternalInfo = node.Object{"system_uuid": strings.ToUpper(id)}
		return tx.SaveNode(t.Context(), right)
	})
	w.Node("cmp1")
	reply, err := w.Enrol.HostReport(t.Context(), "cmp1", &wire.HostReport{Version: 1, SystemUUID: id})
	w.Must(err)
	if reply.Node != right.UUID {
		t.Errorf("tied to %s, want the node with the system UUID", reply.Node)
	}
}

// refused returns the reason for which host's first card is refused.
func refused(t *testing.T, w *attachsim.World, host string) string {
	t.Helper()
	var why string
	w.Must(w.DB.Read(t.Context(), func(tx *store.Tx) error {
		cards, err := tx.HostCards(t.Context(), store.CardQuery{Host: host})
		if len(cards) > 0 {
			why = cards[0].Refused
		}
		return err
	}))
	return why
}

func wantNames(t *testing.T, text string, names ...string) {
	t.Helper()
	for _, name := range names {
		if !strings.Contains(text, name) {
			t.Errorf("%q does not name %q", text, name)
		}
	}
}

func TestAHostThatNamesAnothersCardIsRefused(t *testing.T) {
	w, _ := attachsim.Standard(t)
	w.Node("cmp2")
	reply := w.Report("cmp2", attachsim.Card(serial1, 0x81, 2, 4))
	why := refused(t, w, "cmp2")
	wantNames(t, why, serial1, "cmp1", "cmp2")
	if !slices.Contains(reply.Problems, why) {
		t.Errorf("the agent was told %v, want the refusal", reply.Problems)
	}
	if why := refused(t, w, "cmp1"); why != "" {
		t.Errorf("the card's own host suffers: %s", why)
	}
	var events []*store.Event
	w.Must(w.DB.Read(t.Context(), func(tx *store.Tx) error {
		n, err := tx.NodeByCard(t.Context(), serial1)
		if err != nil {
			return err
		}
		events, err = tx.Events(t.Context(), n.UUID, "", 0, false)
		return err
	}))
	if !slices.ContainsFunc(events, func(e *store.Event) bool { return e.Severity == "ERROR" && e.Text == why }) {
		t.Error("the history of the card's node does not have the refusal as an error")
	}
}

func TestASerialOnTwoCardsIsRefusedWithBothNames(t *testing.T) {
	w := attachsim.New(t)
	w.Node("cmp1")
	w.Report("cmp1", attachsim.Card(serial1, 0x81, 1, 4), attachsim.Card(serial1, 0x82, 1, 4))
	wantNames(t, refused(t, w, "cmp1"), serial1, "0000:81:00.0", "0000:82:00.0")
	w.DPU(serial1, "dpu-a")
	if n := len(children(t, w, "cmp1")); n != 0 {
		t.Errorf("%d children were made of an ambiguous serial", n)
	}
	w.Report("cmp1", attachsim.Card(serial1, 0x81, 1, 4), attachsim.Card(serial2, 0x82, 1, 4))
	if why := refused(t, w, "cmp1"); why != "" {
		t.Errorf("the ambiguity is gone, and the card still refused: %s", why)
	}
	if n := len(children(t, w, "cmp1")); n != 1 {
		t.Errorf("%d children after the ambiguity has gone, want 1", n)
	}
}

func TestASerialOfTwoDPUsIsRefusedUntilAnOperatorApproves(t *testing.T) {
	w, _ := attachsim.Standard(t)
	reply, err := w.Enrol.DPUReport(t.Context(), serial1, attachsim.DPUReport(serial1, "dpu-x", 2))
	w.Must(err)
	wantNames(t, strings.Join(reply.Problems, " "), serial1, "dpu-a", "dpu-x")
	if _, err := w.Binder.Orders(t.Context(), serial1, 0); !fault.Is(err, fault.Conflict) {
		t.Errorf("orders of an ambiguous serial: %v, want a conflict", err)
	}
	w.Must(w.Enrol.Approve(t.Context(), serial1, "system-dpu-a"))
	if _, err := w.Binder.Orders(t.Context(), serial1, 0); err != nil {
		t.Errorf("orders after the approval: %v", err)
	}
}

func TestPlaceholdersAreNoSerials(t *testing.T) {
	for name, serial := range map[string]string{
		"nothing": "", "N/A": "N/A", "None": "None", "zeros": "000000", "a default": "Default string", "a comma": "A,B", "blanks": "  ",
	} {
		t.Run(name, func(t *testing.T) {
			w := attachsim.New(t)
			w.Node("cmp1")
			w.Report("cmp1", attachsim.Card(serial, 0x81, 1, 4))
			if refused(t, w, "cmp1") == "" {
				t.Error("the card is not refused")
			}
			if _, err := w.Enrol.DPUReport(t.Context(), serial, attachsim.DPUReport(serial, "dpu-a", 1)); !fault.Is(err, fault.Invalid) {
				t.Errorf("report of a DPU: %v, want it invalid", err)
			}
			if n := len(children(t, w, "cmp1")); n != 0 {
				t.Errorf("%d children", n)
			}
		})
	}
}

func TestAMovedCardIsFlaggedOrFollowed(t *testing.T) {
	for name, follow := range map[string]bool{"flagged": false, "followed": true} {
		t.Run(name, func(t *testing.T) {
			w, _ := attachsim.Standard(t, func(o *enrol.Options) { o.FollowMoves = follow })
			w.Node("cmp2")
			w.Report("cmp1", attachsim.Card(serial2, 0x82, 2, 4))
			w.Report("cmp2", attachsim.Card(serial1, 0x81, 2, 4))
			moved := len(children(t, w, "cmp2")) == 1
			if moved != follow {
				t.Errorf("the card's node moved: %v, want %v", moved, follow)
			}
			if why := refused(t, w, "cmp2"); (why == "") != follow {
				t.Errorf("refused: %q", why)
			}
		})
	}
}

func TestAHeartbeatOfAnUnknownReportAsksForANewOne(t *testing.T) {
	w, _ := attachsim.Standard(t)
	ctx := t.Context()
	for name, beat := range map[string]func() (wire.Reply, error){
		"an unknown host":            func() (wire.Reply, error) { return w.Enrol.HostBeat(ctx, "cmp9", wire.Heartbeat{}) },
		"a host with another report": func() (wire.Reply, error) { return w.Enrol.HostBeat(ctx, "cmp1", wire.Heartbeat{Fingerprint: "x"}) },
		"an unknown DPU":             func() (wire.Reply, error) { return w.Enrol.DPUBeat(ctx, "MT9", wire.Heartbeat{}) },
		"a DPU with another report":  func() (wire.Reply, error) { return w.Enrol.DPUBeat(ctx, serial1, wire.Heartbeat{Fingerprint: "x"}) },
	} {
		reply, err := beat()
		if err != nil || !reply.Rediscover {
			t.Errorf("%s: reply %+v, error %v: want a new report asked for", name, reply, err)
		}
	}
	reply, err := w.Enrol.DPUBeat(ctx, serial1, wire.Heartbeat{Fingerprint: "dpu-a/" + serial1})
	if err != nil || reply.Rediscover || reply.Node == "" {
		t.Errorf("the known DPU: reply %+v, error %v", reply, err)
	}
}
