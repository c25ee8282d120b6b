//go:build integration

package driver_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/riser-project/riser/client"
	"github.com/riser-project/riser/internal/lab"
	"github.com/riser-project/riser/node"
)

// raw is a step that sends a raw command to all children.
func raw(request string) node.Step {
	return node.Step{Interface: node.Vendor, Step: "send_raw", Args: node.Object{"raw_bytes": request}, OnChildren: true}
}

var answered = regexp.MustCompile(`^raw (.*) answered \[(.*)\]$`)

// A clean of a parent sends raw commands to its children, OpenIPMI's BMCs, and gets the answers that ipmitool gets.
func TestACleanWithRawStepsOnChildrenAgreesWithIpmitool(t *testing.T) {
	bmcs := lab.StartBMCs(t, 3)
	url := lab.StartRiser(t, "--disallow-clean-steps=")
	api := &client.Client{URL: url}
	create := func(fields node.Object) {
		t.Helper()
		n, err := api.CreateNode(t.Context(), fields)
		if err != nil {
			t.Fatal(err)
		}
		if err := api.SetProvision(t.Context(), n.UUID, client.Provision{Target: "manage"}); err != nil {
			t.Fatal(err)
		}
		if n, err = api.WaitProvision(t.Context(), n.UUID, "", nil); err != nil || n.Provision != node.Manageable {
			t.Fatalf("node %s: %v, %v", n.Name, n.Provision, err)
		}
	}
	create(node.Object{"name": "host", "driver": "fake-hardware"})
	for i, b := range bmcs {
		create(node.Object{"name": fmt.Sprintf("card-%d", i), "driver": "ipmi", "parent_node": "host", "driver_info": node.Object{
			"ipmi_address": b.Host, "ipmi_port": b.Port, "ipmi_username": b.User, "ipmi_password": b.Password, "ipmi_cipher_suite": "3",
		}})
	}
	readings := []string{"0x06 0x01", "0x06 0x37", "0x00 0x01", "0x0a 0x40"}
	steps := []node.Step{raw("0x00 0x02 0x01")} // chassis control: power up
	for _, r := range readings {
		steps = append(steps, raw(r))
	}
	if err := api.SetProvision(t.Context(), "host", client.Provision{Target: "clean", Steps: steps}); err != nil {
		t.Fatal(err)
	}
	host, err := api.WaitProvision(t.Context(), "host", "", nil)
	if err != nil || host.Provision != node.Manageable {
		t.Fatalf("the clean ended in %q: %s, %v", host.Provision, host.LastError, err)
	}
	operations, err := api.Operations(t.Context(), "host", 1)
	if err != nil || len(operations) != 1 {
		t.Fatalf("%d operations, %v", len(operations), err)
	}
	got := map[string]map[string]string{} // child -> request -> answer
	for _, s := range operations[0].Steps {
		for _, e := range s.Evidence {
			if m := answered.FindStringSubmatch(e); m != nil {
				if got[s.Label()] == nil {
					got[s.Label()] = map[string]string{}
				}
				got[s.Label()][m[1]] = m[2]
			}
		}
	}
	for i, b := range bmcs {
		child := fmt.Sprintf("card-%d", i)
		if log := b.Log(t); len(log) != 1 || log[0] != "power 1" || !b.On(t) {
			t.Errorf("the machine of %s was told %q, want it powered up once", child, log)
		}
		for _, r := range readings {
			out, err := b.Ipmitool(t, append([]string{"raw"}, strings.Fields(r)...)...)
			want := ""
			for _, word := range strings.Fields(out) {
				want += " 0x" + word
			}
			if answer := got[child][r]; err != nil || answer == "" || " "+answer != want {
				t.Errorf("%s: raw %s answered %q, ipmitool says%s, %v", child, r, answer, want, err)
			}
		}
	}
	t.Run("what the profile does not allow is not sent", func(t *testing.T) {
		if err := api.SetProvision(t.Context(), "host", client.Provision{Target: "clean", Steps: []node.Step{raw("0x06 0x02")}}); err != nil {
			t.Fatal(err)
		}
		host, err := api.WaitProvision(t.Context(), "host", "", nil)
		if err != nil || host.Provision != node.CleanFail || !strings.Contains(host.LastError, `not on the list of hardware profile "generic"`) {
			t.Errorf("the clean ended in %q: %s, %v", host.Provision, host.LastError, err)
		}
	})
}
