//go:build integration

package ovs_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/riser-project/riser/internal/sim/ovs"
)

// need skips the test where a file is not installed, and fails it where RISER_INTEGRATION=1 promises it.
func need(t *testing.T, paths ...string) {
	t.Helper()
	for _, p := range paths {
		_, err := os.Stat(p)
		switch {
		case err == nil:
		case os.Getenv("RISER_INTEGRATION") == "1":
			t.Fatalf("RISER_INTEGRATION=1, and %s is missing: %v", p, err)
		default:
			t.Skipf("%s is missing; Debian's openvswitch-switch and ovn-central have it", p)
		}
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, stderr.String())
	}
	return string(out)
}

// The simulator's schemas are parts of the true ones: whatever a client learns from them holds there too.
func TestSchemasArePartsOfTheInstalledOnes(t *testing.T) {
	for file, installed := range map[string]string{
		"switch": "/usr/share/openvswitch/vswitch.ovsschema", "northbound": "/usr/share/ovn/ovn-nb.ovsschema", "southbound": "/usr/share/ovn/ovn-sb.ovsschema",
	} {
		need(t, installed)
		ours, theirs := readSchema(t, "schema/"+file+".json"), readSchema(t, installed)
		if ours.Name != theirs.Name {
			t.Errorf("%s: name %s, want %s", file, ours.Name, theirs.Name)
		}
		for name, table := range ours.Tables {
			real, ok := theirs.Tables[name]
			if !ok || table.IsRoot != real.IsRoot || name != "Port_Binding" && !reflect.DeepEqual(table.Indexes, real.Indexes) {
				t.Errorf("%s: table %s: root %v, indexes %v; want %v, %v", file, name, table.IsRoot, table.Indexes, real.IsRoot, real.Indexes)
			}
			for column, definition := range table.Columns {
				if got, want := normal(definition), normal(real.Columns[column]); !reflect.DeepEqual(got, want) {
					t.Errorf("%s: column %s of table %s is %v, want %v", file, column, name, got, want)
				}
			}
		}
	}
}

type schema struct {
	Name   string
	Tables map[string]struct {
		IsRoot  bool
		Indexes [][]string
		Columns map[string]any
	}
}

func readSchema(t *testing.T, file string) schema {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// normal writes a column's definition in one of the several ways that mean the same.
func normal(definition any) any {
	m, ok := definition.(map[string]any)
	if !ok {
		return definition
	}
	out := map[string]any{}
	for k, v := range m {
		switch {
		case k == "refType" && v == "strong":
			continue
		case k == "enum":
			set := map[any]bool{}
			for _, e := range v.([]any)[1].([]any) {
				set[e] = true
			}
			out[k] = set
			continue
		}
		v = normal(v)
		if inner, ok := v.(map[string]any); ok && (k == "key" || k == "value" || k == "type") && len(inner) == 1 {
			for _, only := range []string{"type", "key"} {
				if inner[only] != nil {
					v = inner[only]
				}
			}
		}
		out[k] = v
	}
	return out
}

// The clients of the real servers read and write the simulated ones.
func TestOpenVSwitchesOwnClients(t *testing.T) {
	need(t, "/usr/bin/ovs-vsctl", "/usr/bin/ovsdb-client", "/usr/bin/ovn-nbctl")
	s, err := ovs.StartSwitch(ovs.SwitchConfig{Endpoint: anyPort, SystemID: "chassis-dpu1", Hostname: "dpu1.example"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	vsctl := func(args ...string) string {
		t.Helper()
		return run(t, "ovs-vsctl", append([]string{"--db=" + s.Endpoint(), "--no-wait", "--timeout=10", "-voff"}, args...)...)
	}
	vsctl("add-port", "br-int", "pf0vf3", "--", "set", "Interface", "pf0vf3", "external_ids:iface-id=p1", "mtu_request=1442")
	if got := strings.Fields(vsctl("list-ports", "br-int")); !reflect.DeepEqual(got, []string{"pf0vf3"}) {
		t.Errorf("ports %v", got)
	}
	if got := strings.TrimSpace(vsctl("get", "Interface", "pf0vf3", "external_ids:iface-id")); got != "p1" {
		t.Errorf("iface-id %s", got)
	}
	if got := vsctl("show"); !strings.Contains(got, "pf0vf3") || !strings.Contains(got, "br-int") {
		t.Errorf("show:\n%s", got)
	}
	if got := run(t, "ovsdb-client", "dump", s.Endpoint(), "Open_vSwitch", "Interface", "name", "mtu_request"); !strings.Contains(got, "1442") {
		t.Errorf("dump:\n%s", got)
	}
	vsctl("del-port", "br-int", "pf0vf3")
	if rows, err := s.Rows("Interface", nil); err != nil || len(rows) != 0 {
		t.Errorf("after del-port: %v, %v", rows, err)
	}
	ovn, err := ovs.StartOVN(anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer ovn.Close()
	nbctl := func(args ...string) string {
		t.Helper()
		return run(t, "ovn-nbctl", append([]string{"--db=" + ovn.Endpoint(), "--timeout=10", "-voff"}, args...)...)
	}
	nbctl("ls-add", "net-1", "--", "lsp-add", "net-1", "p1", "--", "lsp-set-addresses", "p1", "unknown")
	await(t, "northd's answer", func() bool { return strings.TrimSpace(nbctl("lsp-get-up", "p1")) == "down" })
	if got := nbctl("lsp-list", "net-1"); !strings.Contains(got, "(p1)") {
		t.Errorf("ports %s", got)
	}
}
