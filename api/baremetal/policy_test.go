package baremetal_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/api/baremetal"
	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestTheRouteTable keeps the whole surface in sight: a change of it is a change of testdata/routes.txt.
func TestTheRouteTable(t *testing.T) {
	var b strings.Builder
	for _, r := range baremetal.Routes() {
		rule := r.Policy
		if r.Public {
			rule += " (public)"
		}
		fmt.Fprintf(&b, "%-6s 1.%-4d %-60s %s\n", r.Method, max(r.Since, 1), r.Pattern, strings.TrimSpace(rule))
	}
	const golden = "testdata/routes.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("run go test -update if this is meant: %s", d)
	}
}

// project is an authenticator that believes everybody to be a member of a project.
type project struct{ id string }

func (p project) Authenticate(*http.Request) (*rest.Subject, error) {
	return &rest.Subject{User: "ann", Project: p.id, Roles: []string{"member"}}, nil
}

func (project) Refuse(http.Header, string) (contentType string, body []byte) { return "", nil }

// ownersOnly lets a project see its own nodes and what belongs to them, and nobody else's.
func ownersOnly(asked *[]string) rest.Policy {
	return func(_ context.Context, s *rest.Subject, rule string, object any) error {
		n, _ := object.(*node.Node)
		if asked != nil && n != nil {
			*asked = append(*asked, rule)
		}
		switch {
		case strings.HasSuffix(rule, ":list_all"), rule == "baremetal:node:update:owner":
			return fault.New(fault.Forbidden, "Access was denied to the following resource: %s", rule)
		case n != nil && n.Owner != s.Project && n.Lessee != s.Project:
			return fault.New(fault.NotFound, "Node %s could not be found.", n.UUID)
		}
		return nil
	}
}

func TestAProjectSeesItsOwn(t *testing.T) {
	s := newServer(t, func(o *baremetal.Options) { o.Auth, o.Policy = project{"p1"}, ownersOnly(nil) }).idle()
	all := &server{TB: t, Handler: baremetal.New(baremetal.Options{DB: s.db, Intake: s.intake}), db: s.db}
	mine, theirs := all.node(obj{"name": "mine", "owner": "p1"}), all.node(obj{"name": "theirs", "owner": "p2"})
	card := all.node(obj{"name": "card", "parent_node": "mine", "owner": "p1"})
	all.create("/v1/ports", obj{"node_uuid": mine, "address": "52:54:00:00:00:01"})
	port := all.create("/v1/ports", obj{"node_uuid": theirs, "address": "52:54:00:00:00:02"})
	for path, want := range map[string]int{
		"/v1/nodes/mine": 200, "/v1/nodes/theirs": 404, "/v1/nodes/" + theirs: 404, "/v1/nodes/theirs/states": 404, "/v1/nodes/theirs/children": 404,
		"/v1/nodes/theirs/ports": 404, "/v1/ports/" + port: 404, "/v1/nodes/theirs/traits": 404, "/v1/nodes/theirs/history": 404,
	} {
		if a := s.do(http.MethodGet, path, nil); a.status != want {
			t.Errorf("%s: status %d, want %d: %s", path, a.status, want, a.text)
		}
	}
	for path, want := range map[string][]string{
		"/v1/nodes": {"mine"}, "/v1/nodes?project=p2": {}, "/v1/nodes?owner=p2": {}, "/v1/nodes?include_children=true": {"mine", "card"},
	} {
		if d := cmp.Diff(want, names(s.must(http.StatusOK, http.MethodGet, path, nil), "nodes", "name")); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
	if got := names(s.must(http.StatusOK, http.MethodGet, "/v1/ports", nil), "ports", "address"); !slices.Equal(got, []string{"52:54:00:00:00:01"}) {
		t.Errorf("ports: %v", got)
	}
	s.refuses(t, map[string]refusal{
		"a parent that it may not see": {"", "POST", "/v1/nodes", obj{"driver": "fake-hardware", "owner": "p1", "parent_node": "theirs"}, 400, "Unable to apply the requested parent_node 'theirs'. Requested value was invalid."},
		"giving a node away":           {"", "PATCH", "/v1/nodes/mine", list{patch("replace", "/owner", "p2")}, 403, "Access was denied"},
		"a child that it may not see":  {"", "PUT", "/v1/nodes/mine/states/provision", obj{"target": "manage", "clean_steps": list{obj{"interface": "power", "step": "power_on", "execute_on_child_nodes": true, "limit_child_node_execution": list{theirs}}}}, 400, ""},
	})
	all.edit(card, func(n *node.Node) { n.Owner = "p2" })
	if o := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/mine/children", nil); !cmp.Equal(o["children"], list{}) {
		t.Errorf("children: %v", o["children"])
	}
}

// TestThePolicyIsAskedAboutEveryNode sends a request to each call that names a node, and sees that the policy was asked about that node.
func TestThePolicyIsAskedAboutEveryNode(t *testing.T) {
	var asked []string
	s := newServer(t, func(o *baremetal.Options) { o.Auth, o.Policy = project{"p1"}, ownersOnly(&asked) }).idle()
	all := &server{TB: t, Handler: baremetal.New(baremetal.Options{DB: s.db, Intake: s.intake}), db: s.db}
	id := all.node(obj{"name": "theirs", "owner": "p2"})
	bodies := map[string]any{
		"/states/power": obj{"target": "power on"}, "/states/provision": obj{"target": "manage"}, "/states/console": obj{"enabled": true},
		"/states/boot_mode": obj{"target": "uefi"}, "/states/secure_boot": obj{"target": true}, "/states/raid": obj{}, "/traits": obj{"traits": list{}},
		"/vifs": obj{"id": "v"}, "/management/boot_device": obj{"boot_device": "pxe"}, "/management/indicators/led@system": obj{"state": "on"},
		"/vmedia": obj{"device_type": "cdrom", "image_url": "http://x/y"}, "": list{patch("add", "/extra/a", 1)},
	}
	fill := strings.NewReplacer("{node}", id, "{trait}", "CUSTOM_A", "{indicator}", "led@system", "{vif}", "v", "{method}", "m", "{setting}", "s",
		"{event}", nobody, "{operation}", nobody)
	for _, r := range baremetal.Routes() {
		if !strings.HasPrefix(r.Pattern, "/v1/nodes/{node}") {
			continue
		}
		var body any
		path := fill.Replace(r.Pattern)
		if r.Method != http.MethodGet && r.Method != http.MethodDelete {
			body = bodies[strings.TrimPrefix(path, "/v1/nodes/"+id)]
		}
		if strings.HasSuffix(path, "/vendor_passthru") {
			path += "?method=m"
		}
		asked = nil
		a := s.do(r.Method, path, body)
		if strings.HasSuffix(r.Pattern, "/allocation") {
			continue // the allocation is what the rule is about, and there is none
		}
		if a.status != http.StatusNotFound || len(asked) == 0 {
			t.Errorf("%s %s: status %d, asked %v: %s", r.Method, path, a.status, asked, a.text)
		}
	}
}
