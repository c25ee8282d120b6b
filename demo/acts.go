package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/riser-project/riser/client"
	"github.com/riser-project/riser/internal/sim/bmc"
	"github.com/riser-project/riser/internal/sim/ovs"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/node"
)

// play is the acts, and what one leaves for the next.
type play struct {
	*world
	*story
	children []client.Node
}

// patience is how long anything in the story may take.
const patience = 20 * time.Second

// until looks every few milliseconds until ok says so.
func until(ctx context.Context, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		good, err := ok()
		if err != nil || good {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %v", what, patience)
		case <-tick.C:
		}
	}
}

// stage tells what is there.
func (p *play) stage(context.Context) error {
	p.say("riser serve        %s  (embedded SQLite; bare metal, compute, networking, agents)", p.url)
	p.say("server             BMC %s, system UUID %s", p.server.Host.Controller.URL, p.server.Host.UUID)
	p.say("hypervisor         %s: a PCI tree of 2 cards, each %d PFs x %d VFs; riser-agent host reads it", hypervisor, pfs, vfs)
	for i, c := range p.cards {
		p.say("card %d             %s, serial %q on its label; BMC %s; own Linux %s with Open vSwitch, riser-agent dpu",
			i+1, c.bmc.Model, c.bmc.Serial, c.bmc.Controller.URL, c.chassis)
	}
	p.say("OVN                northbound database with a northd, and an ovn-controller on each card")
	return nil
}

// enrol registers the host alone and waits for its cards to appear.
func (p *play) enrol(ctx context.Context) error {
	start := time.Now()
	_, err := p.api.CreateNode(ctx, node.Object{"name": hostNode, "driver": "redfish", "driver_info": node.Object{
		"redfish_address": p.server.Host.Controller.URL, "redfish_username": user, "redfish_password": password,
	}})
	if err != nil {
		return err
	}
	p.did(time.Since(start), "node %s created: driver redfish, the only thing an operator types", hostNode)
	start = time.Now()
	if err := p.api.SetProvision(ctx, hostNode, client.Provision{Target: "manage"}); err != nil {
		return err
	}
	n, err := p.api.WaitProvision(ctx, hostNode, node.Manageable, nil)
	if err != nil {
		return err
	}
	p.did(time.Since(start), "its BMC answers and says who it is: manageable, %s", n.Power)
	start = time.Now()
	err = until(ctx, "the cards become child nodes", func() (bool, error) {
		p.children, err = p.api.Children(ctx, hostNode)
		if err != nil || len(p.children) < len(p.cards) {
			return false, err
		}
		for _, c := range p.children {
			if c.Provision != node.Manageable {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	took := time.Since(start)
	p.did(took, "%d cards are its children: the serials in the host's VPD, in the cards' own reports and at their BMCs agree", len(p.children))
	parents, err := p.api.Nodes(ctx, nil)
	if err != nil {
		return err
	}
	if len(parents) != 1 || len(p.children) != len(p.cards) {
		return fmt.Errorf("the node list shows %d nodes and /children %d, want 1 and %d", len(parents), len(p.children), len(p.cards))
	}
	p.say("GET /v1/nodes shows %d node; GET /v1/nodes/%s/children shows %d", len(parents), hostNode, len(p.children))
	if n, err = p.api.Node(ctx, hostNode); err != nil {
		return err
	}
	p.block("tree", p.children, p.tree(n)...)
	p.remember(took, "one node by hand, its cards by themselves", fmt.Sprintf("%d child nodes, each serial told by three sides", len(p.children)))
	return nil
}

// tree draws the machines.
func (p *play) tree(host *client.Node) []string {
	lines := []string{fmt.Sprintf("%s  %s  %s, %s", host.Name, host.Driver, host.Power, host.Provision)}
	for i := range p.children {
		c := &p.children[i]
		branch := "├─"
		if i == len(p.children)-1 {
			branch = "└─"
		}
		lines = append(lines, fmt.Sprintf("%s %s  %s  %s, %s  card %s  part %s  chassis %s", branch, c.Name, c.Driver, c.Power, c.Provision, c.CardSerial(),
			c.Properties["part_number"], c.Chassis()))
	}
	return lines
}

func step(i node.Interface, name string, args node.Object, onChildren bool, only ...string) node.Step {
	return node.Step{Interface: i, Step: name, Args: args, OnChildren: onChildren, LimitToChildren: only}
}

// clean sends one manual clean to the host and tells each child's result. want is the state it should end in.
func (p *play) clean(ctx context.Context, want node.State, list []node.Step) (*client.Node, error) {
	for _, m := range p.machines() {
		m.Controller.Forget()
	}
	if err := p.api.SetProvision(ctx, hostNode, client.Provision{Target: "clean", Steps: list}); err != nil {
		return nil, err
	}
	n, err := p.api.WaitProvision(ctx, hostNode, "", nil)
	if err != nil {
		return nil, err
	}
	ops, err := p.api.Operations(ctx, hostNode, 1)
	if err != nil {
		return nil, err
	}
	if n.Provision != want || len(ops) == 0 {
		return nil, fmt.Errorf("the clean ended in %q: %s", n.Provision, n.LastError)
	}
	for i := range ops[0].Steps {
		p.result(&ops[0].Steps[i])
	}
	return n, nil
}

func (p *play) result(s *client.OperationStep) {
	what := fmt.Sprintf("%-27s on %-8s", s.Name(), s.Label())
	switch s.State {
	case "done":
		p.did(s.Took(), "%s  done", what)
		for _, e := range s.Evidence {
			p.block("evidence", nil, "  "+e)
		}
	case "skipped":
		p.did(0, "%s  not again: %s", what, strings.Join(s.Evidence, "; "))
	case "planned":
		p.say("· %s  not begun", what)
	default:
		p.broke(s.Took(), "%s  %s", what, s.State)
	}
}

func (p *play) machines() []*bmc.Machine {
	return append([]*bmc.Machine{p.server.Host}, p.server.Cards...)
}

// received tells what each controller was really told since the last clean.
func (p *play) received() string {
	var all []string
	for _, m := range p.machines() {
		var got []string
		for _, r := range m.Controller.Changes() {
			if !strings.Contains(r.Path, "/SessionService/") {
				got = append(got, fmt.Sprintf("%s %s %s", r.Method, strings.TrimPrefix(r.Path, "/redfish/v1"), r.Body))
			}
		}
		if len(got) > 0 {
			p.block("received", got, fmt.Sprintf("the BMC of %s:", p.owner(m)))
			for _, g := range got {
				p.block("received", nil, "  "+g)
			}
		}
		all = append(all, fmt.Sprintf("%s %d", p.owner(m), len(got)))
	}
	return "commands: " + strings.Join(all, ", ")
}

// owner is the name of a machine's node.
func (p *play) owner(m *bmc.Machine) string {
	for i := range p.children {
		if p.children[i].CardSerial() == m.Serial {
			return p.children[i].Name
		}
	}
	return hostNode
}

// jobA acts on the server and its cards with one list of steps.
func (p *play) jobA(ctx context.Context) error {
	start := time.Now()
	last := p.children[len(p.children)-1].Name
	list := []node.Step{
		step(node.Power, "power_on", nil, true),
		step(node.Management, "set_boot_device", node.Object{"device": "pxe"}, true),
		step(node.Power, "wait", node.Object{"seconds": 0.6}, false),
		step(node.Power, "reboot", nil, true, last),
		step(node.Power, "power_on", nil, false),
	}
	p.say("clean_steps: power_on and set_boot_device pxe on all children; wait for them to boot; reboot on %s alone; power_on on the host", last)
	if _, err := p.clean(ctx, node.Manageable, list); err != nil {
		return err
	}
	took := time.Since(start)
	p.say("what the machines really received:")
	seen := p.received()
	p.remember(took, "a clean: 3 steps on children, 2 on the host", seen)
	return nil
}

// failure makes one BMC hang, and shows that only its card fails and only it is tried again.
func (p *play) failure(ctx context.Context) error {
	broken := p.children[len(p.children)-1]
	m := p.machine(broken.CardSerial())
	if err := m.Controller.Tell("hang"); err != nil {
		return err
	}
	list := []node.Step{step(node.Management, "set_boot_device", node.Object{"device": "uefihttp"}, true)}
	p.say("the BMC of %s accepts connections and says nothing; clean_steps: set_boot_device uefihttp on all children", broken.Name)
	start := time.Now()
	n, err := p.clean(ctx, node.CleanFail, list)
	if err != nil {
		return err
	}
	p.say("last_error of %s:", hostNode)
	p.quote(n.LastError)
	p.remember(time.Since(start), "a clean while one BMC hangs", "fails on "+broken.Name+" only; the other card is done")
	if err := m.Controller.Tell(); err != nil {
		return err
	}
	p.say("the BMC answers again; the operator clears maintenance, says manage, and sends the same clean")
	if err := errors.Join(p.api.SetMaintenance(ctx, hostNode, false, ""), p.api.SetProvision(ctx, hostNode, client.Provision{Target: "manage"})); err != nil {
		return err
	}
	start = time.Now()
	if _, err = p.clean(ctx, node.Manageable, list); err != nil {
		return err
	}
	took := time.Since(start)
	p.remember(took, "the same clean again", "runs only where it is unfinished; "+p.received())
	return nil
}

func (p *play) machine(serial string) *bmc.Machine {
	for _, m := range p.server.Cards {
		if m.Serial == serial {
			return m
		}
	}
	return nil
}

// jobB attaches an instance to a VF whose representor is on a card.
func (p *play) jobB(ctx context.Context) error {
	net, err := p.api.CreateNetwork(ctx, node.Object{"name": "tenant-net"})
	if err != nil {
		return err
	}
	port, err := p.api.CreatePort(ctx, node.Object{"network_id": net.ID, "name": "port-1", "binding:vnic_type": network.VNICRemoteManaged})
	if err != nil {
		return err
	}
	p.say("port %s on network %s: vnic type %s, MAC %s, %s", port.Name, net.Name, port.VNICType, port.MAC, port.Status)
	start := time.Now()
	server, err := p.api.CreateServer(ctx, node.Object{"name": "vm-1", "flavorRef": "1", "networks": []node.Object{{"port": port.ID}}})
	if err != nil {
		return err
	}
	if server, err = p.api.WaitServer(ctx, server.ID, "ACTIVE", nil); err != nil {
		return err
	}
	took := time.Since(start)
	if port, err = p.api.Port(ctx, port.ID); err != nil {
		return err
	}
	p.did(took, "server %s is %s on %s, because its port is %s, because the card said so", server.Name, server.Status, server.Host, port.Status)
	if err := p.chain(port); err != nil {
		return err
	}
	p.remember(took, "an instance with a remote-managed port", fmt.Sprintf("VF %d of card %s; representor plugged, port %s", port.Profile.VF, port.Profile.CardSerial, port.Status))
	return p.detach(ctx, server, port)
}

// chain shows every hop from the claimed VF to the plugged representor.
func (p *play) chain(port *client.Port) error {
	profile, err := port.Profile.MarshalJSON()
	if err != nil {
		return err
	}
	p.block("binding:profile", port.Profile, "claimed      "+port.Profile.PCISlot+" on "+port.HostID, "profile      "+string(profile))
	var child client.Node
	for _, c := range p.children {
		if c.CardSerial() == port.Profile.CardSerial {
			child = c
		}
	}
	p.block("pairing", nil, fmt.Sprintf("serial       %s -> child node %s -> chassis %s", port.Profile.CardSerial, child.Name, child.Chassis()))
	rows, err := p.ovn.Rows("Logical_Switch_Port", ovs.Row{"name": port.ID})
	if err != nil {
		return err
	}
	if len(rows) != 1 {
		return fmt.Errorf("the northbound database has %d rows for port %s, want 1", len(rows), port.ID)
	}
	p.block("northbound", rows[0], fmt.Sprintf("northbound   Logical_Switch_Port %s options %v up=%v", port.ID[:8], rows[0].Map("options"), rows[0]["up"]))
	found := 0
	for _, c := range p.cards {
		plugged, err := p.plugged(c, port.ID)
		if err != nil {
			return err
		}
		for _, row := range plugged {
			found++
			if c.chassis != child.Chassis() {
				return fmt.Errorf("the representor is plugged on %s, not on %s", c.chassis, child.Chassis())
			}
			p.block("plugged", row, fmt.Sprintf("plugged      %v in br-int of %s, external_ids %v", row["name"], c.chassis, row.Map("external_ids")))
		}
	}
	if found != 1 || port.Status != network.StatusActive {
		return fmt.Errorf("%d representors are plugged for a port that is %s", found, port.Status)
	}
	return nil
}

func (p *play) plugged(c *card, port string) ([]ovs.Row, error) {
	rows, err := c.sw.Rows("Interface", nil)
	if err != nil {
		return nil, err
	}
	var mine []ovs.Row
	for _, r := range rows {
		if r.Map("external_ids")["iface-id"] == port {
			mine = append(mine, r)
		}
	}
	return mine, nil
}

// detach deletes the instance and shows that the VF is free only when its card has unplugged it.
func (p *play) detach(ctx context.Context, server *client.Server, port *client.Port) error {
	start := time.Now()
	if err := p.api.DeleteServer(ctx, server.ID); err != nil {
		return err
	}
	if err := p.api.WaitServerGone(ctx, server.ID); err != nil {
		return err
	}
	err := until(ctx, "the port is free", func() (_ bool, err error) {
		port, err = p.api.Port(ctx, port.ID)
		return err == nil && port.Status == network.StatusDown && port.HostID == "" && !port.Profile.Bound, err
	})
	if err != nil {
		return err
	}
	took := time.Since(start)
	for _, c := range p.cards {
		rows, err := p.plugged(c, port.ID)
		if err != nil {
			return err
		}
		if len(rows) > 0 {
			return fmt.Errorf("%d representors are still plugged on %s", len(rows), c.chassis)
		}
	}
	p.did(took, "server deleted: representor unplugged, the card confirmed it, VF free, port %s", port.Status)
	p.remember(took, "delete the instance", "unplugged and confirmed by the card; VF free")
	return nil
}

// summary is the last table.
func (p *play) summary() { p.table() }

// explore says where everything is while the demonstration stays up.
func (p *play) explore() {
	p.name = "explore"
	p.say("")
	p.say("Staying up until interrupted. Explore:")
	p.say("  baremetal --os-auth-type none --os-endpoint %s node list", p.url)
	p.say("  riser --url %s node list --tree", p.url)
	p.say("  curl -u %s:%s %s/redfish/v1/Systems/Bluefield", user, password, p.cards[0].bmc.Controller.URL)
	p.say("  ovn-nbctl --db=%s show;  ovs-vsctl --db=%s show", p.ovn.Endpoint(), p.cards[0].sw.Endpoint())
	addresses := map[string]string{"api": p.url, "host_bmc": p.server.Host.Controller.URL, "northbound": p.ovn.Endpoint()}
	for i, c := range p.cards {
		addresses[fmt.Sprintf("card_%d_bmc", i+1)] = c.bmc.Controller.URL
		addresses[fmt.Sprintf("card_%d_ovsdb", i+1)] = c.sw.Endpoint()
	}
	p.emit("addresses", p.url, 0, addresses)
}
