//go:build integration

// Package integration_test runs riser as its users do: the built program, and clients that know nothing of it.
package integration_test

import (
	"strings"
	"testing"

	"github.com/riser-project/riser/internal/lab"
)

func TestTheBaremetalClientManagesAParentAndItsChild(t *testing.T) {
	api, client := lab.StartRiser(t), lab.NewestOpenStack(t)
	run := func(t *testing.T, args ...string) string {
		t.Helper()
		out, err := client.Baremetal(t, api, args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	value := func(t *testing.T, column string, args ...string) string {
		t.Helper()
		return run(t, append(args, "-f", "value", "-c", column)...)
	}

	host := value(t, "uuid", "node", "create", "--driver", "fake-hardware", "--name", "host")
	card := value(t, "uuid", "node", "create", "--driver", "fake-hardware", "--name", "card", "--parent-node", host)

	t.Run("node list has the parent alone", func(t *testing.T) {
		if got := value(t, "Name", "node", "list"); got != "host" {
			t.Errorf("node list: %q", got)
		}
	})
	t.Run("node list has the child when asked for children", func(t *testing.T) {
		if got := strings.Fields(value(t, "Name", "node", "list", "--include-children")); len(got) != 2 {
			t.Errorf("node list --include-children: %q", got)
		}
	})
	t.Run("node children list has the child", func(t *testing.T) {
		if got := run(t, "node", "children", "list", "-f", "value", "host"); !strings.Contains(got, card) {
			t.Errorf("node children list: %q, want %s in it", got, card)
		}
	})
	t.Run("node show names the parent by its UUID", func(t *testing.T) {
		if got := value(t, "parent_node", "node", "show", "card"); got != host {
			t.Errorf("parent_node: %q, want %s", got, host)
		}
	})
	t.Run("a step on children powers the child on", func(t *testing.T) {
		run(t, "node", "manage", "--wait", "30", "host")
		run(t, "node", "manage", "--wait", "30", "card")
		run(t, "node", "clean", "--wait", "60", "--disable-ramdisk", "host", "--clean-steps",
			`[{"interface": "power", "step": "power_on", "args": {}, "execute_on_child_nodes": true}]`)
		if got := value(t, "power_state", "node", "show", "card"); got != "power on" {
			t.Errorf("power_state of the child: %q", got)
		}
	})
	t.Run("an unknown node is told in the API's words", func(t *testing.T) {
		_, err := client.Baremetal(t, api, "node", "show", "nobody")
		if err == nil || !strings.Contains(err.Error(), "nobody could not be found") {
			t.Errorf("error: %v", err)
		}
	})
}

func TestTheBaremetalClientOfTheReleaseListsNodes(t *testing.T) {
	api, client := lab.StartRiser(t), lab.OpenStackOfRelease(t)
	if _, err := client.Baremetal(t, api, "node", "create", "--driver", "fake-hardware", "--name", "host"); err != nil {
		t.Fatal(err)
	}
	out, err := client.Baremetal(t, api, "node", "list", "-f", "value", "-c", "Name", "-c", "Provisioning State")
	if err != nil || out != "host enroll" {
		t.Errorf("node list: %q, error %v", out, err)
	}
}
