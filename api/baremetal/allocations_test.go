package baremetal_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/node"
)

// available makes a node that can be allocated.
func (s *server) available(name string, more obj) string {
	s.Helper()
	o := obj{"name": name, "resource_class": "gold"}
	for k, v := range more {
		o[k] = v
	}
	id := s.node(o)
	s.edit(id, func(n *node.Node) { n.Provision, n.Power = node.Available, node.PowerOff })
	return id
}

// outcome creates an allocation and returns what became of it.
func (s *server) outcome(body obj) map[string]any {
	s.Helper()
	o := s.must(http.StatusCreated, http.MethodPost, "/v1/allocations", body)
	if o["state"] != "allocating" || o["node_uuid"] != nil {
		s.Errorf("the answer tells the outcome: %v", o)
	}
	return s.must(http.StatusOK, http.MethodGet, "/v1/allocations/"+o["uuid"].(string), nil)
}

func TestAllocations(t *testing.T) {
	s := newServer(t).idle()
	a, b := s.available("a", nil), s.available("b", nil)
	child := s.available("child", obj{"parent_node": "a"})
	s.available("silver", obj{"parent_node": "a", "resource_class": "silver"})
	s.must(http.StatusNoContent, http.MethodPut, "/v1/nodes/b/traits/CUSTOM_FAST", nil)
	for name, c := range map[string]struct {
		body obj
		node string // of which; empty: none
		says string
	}{
		"by trait":               {obj{"resource_class": "gold", "traits": list{"CUSTOM_FAST"}}, b, ""},
		"by candidate":           {obj{"resource_class": "gold", "candidate_nodes": list{"a"}}, a, ""},
		"by its name":            {obj{"resource_class": "gold", "name": "b"}, b, ""},
		"of another class":       {obj{"resource_class": "iron"}, "", "no available nodes match the resource class iron."},
		"a child that is named":  {obj{"resource_class": "gold", "candidate_nodes": list{"child"}}, child, ""},
		"a child by its name":    {obj{"resource_class": "silver", "name": "child"}, "", "no available nodes match the resource class silver."},
		"a candidate of another": {obj{"resource_class": "iron", "candidate_nodes": list{"a"}}, "", "none of the requested nodes are available and match the resource class iron."},
		"by a trait of nobody":   {obj{"resource_class": "gold", "traits": list{"CUSTOM_X"}}, "", "no suitable nodes have requested traits CUSTOM_X."},
		"by another owner":       {obj{"resource_class": "gold", "owner": "p2"}, "", "no available nodes match the resource class gold."},
	} {
		t.Run(name, func(t *testing.T) {
			o := s.outcome(c.body)
			id, _ := o["uuid"].(string)
			if c.node == "" {
				if why, _ := o["last_error"].(string); o["state"] != "error" || !strings.HasPrefix(why, "Failed to process allocation "+id) || !strings.HasSuffix(why, c.says) {
					t.Errorf("%v: %v", o["state"], o["last_error"])
				}
			} else {
				if o["state"] != "active" || o["node_uuid"] != c.node || o["last_error"] != nil {
					t.Fatalf("%v", o)
				}
				n := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/"+c.node, nil)
				if n["instance_uuid"] != id || n["allocation_uuid"] != id {
					t.Errorf("node: instance %v, allocation %v", n["instance_uuid"], n["allocation_uuid"])
				}
				if of := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/"+c.node+"/allocation", nil); of["uuid"] != id {
					t.Errorf("of the node: %v", of)
				}
			}
			s.must(http.StatusNoContent, http.MethodDelete, "/v1/allocations/"+id, nil)
		})
	}
	for _, ref := range []string{a, b} {
		if n := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/"+ref, nil); n["instance_uuid"] != nil || n["allocation_uuid"] != nil || !cmp.Equal(n["instance_info"], obj{}) {
			t.Errorf("a node that was given back: %v, %v, %v", n["instance_uuid"], n["allocation_uuid"], n["instance_info"])
		}
	}
}

func TestALockedNodeIsNotAllocated(t *testing.T) {
	s := newServer(t).idle()
	s.edit(s.available("a", nil), func(n *node.Node) { n.Reservation = "c9" })
	if o := s.outcome(obj{"resource_class": "gold"}); o["state"] != "error" || !strings.Contains(o["last_error"].(string), "locked") {
		t.Errorf("%v", o)
	}
}

func TestEachNodeIsAllocatedOnce(t *testing.T) {
	s := newServer(t).idle()
	const nodes, wanted = 5, 9
	for i := range nodes {
		s.available(fmt.Sprint("n", i), nil)
	}
	done := make(chan bool)
	for range wanted {
		go func() {
			done <- s.do(http.MethodPost, "/v1/allocations", obj{"resource_class": "gold"}).status == http.StatusCreated
		}()
	}
	for range wanted {
		if !<-done {
			t.Error("an allocation was not taken in")
		}
	}
	given := map[string]bool{}
	o := s.must(http.StatusOK, http.MethodGet, "/v1/allocations?state=active", nil)
	for _, id := range names(o, "allocations", "node_uuid") {
		given[id] = true
	}
	if len(given) != nodes || len(names(o, "allocations", "uuid")) != nodes {
		t.Errorf("%d nodes given to %d allocations", len(given), len(names(o, "allocations", "uuid")))
	}
}

func TestBackfill(t *testing.T) {
	s := newServer(t).idle()
	id := s.available("a", nil)
	s.edit(id, func(n *node.Node) { n.Provision, n.InstanceUUID = node.Active, nobody })
	s.refuses(t, map[string]refusal{
		"with candidates":           {"", "POST", "/v1/allocations", obj{"node": "a", "candidate_nodes": list{"a"}}, 400, "neither candidate_nodes nor traits"},
		"of another class":          {"", "POST", "/v1/allocations", obj{"node": "a", "resource_class": "iron"}, 400, "has resource class gold"},
		"of another instance":       {"", "POST", "/v1/allocations", obj{"node": "a", "uuid": "22222222-2222-2222-2222-222222222222"}, 409, "is associated with instance"},
		"of a node that is not":     {"", "POST", "/v1/allocations", obj{"node": "nosuch"}, 400, "Node nosuch could not be found."},
		"before 1.58":               {"1.57", "POST", "/v1/allocations", obj{"node": "a"}, 406, ""},
		"no class and no node":      {"", "POST", "/v1/allocations", obj{}, 400, "'resource_class' is a required property"},
		"an owner before 1.60":      {"1.59", "POST", "/v1/allocations", obj{"resource_class": "gold", "owner": "p"}, 406, ""},
		"creation before 1.52":      {"1.51", "POST", "/v1/allocations", obj{"resource_class": "gold"}, 405, ""},
		"a list before 1.52":        {"1.51", "GET", "/v1/allocations", nil, 404, ""},
		"an allocation that is not": {"", "GET", "/v1/allocations/nosuch", nil, 404, "Allocation nosuch could not be found."},
		"of a node without":         {"", "GET", "/v1/nodes/a/allocation", nil, 404, "was not found"},
		"a candidate that is not":   {"", "POST", "/v1/allocations", obj{"resource_class": "gold", "candidate_nodes": list{"nosuch"}}, 400, "Node nosuch could not be found."},
	})
	o := s.outcome(obj{"node": "a", "name": "mine"})
	if o["uuid"] != nobody || o["node_uuid"] != id || o["state"] != "active" || o["resource_class"] != "gold" {
		t.Errorf("%v", o)
	}
	if o := s.must(http.StatusOK, http.MethodPatch, "/v1/allocations/mine", list{patch("replace", "/name", "ours"), patch("add", "/extra/k", 1)}); o["name"] != "ours" {
		t.Errorf("%v", o)
	}
	s.refuses(t, map[string]refusal{
		"another class":            {"", "PATCH", "/v1/allocations/ours", list{patch("replace", "/resource_class", "x")}, 400, "Cannot patch /resource_class. Only the following can be updated: /extra, /name"},
		"giving up an active node": {"", "DELETE", "/v1/allocations/ours", nil, 409, "because the node is in state active where updates are not allowed"},
		"a second one":             {"", "POST", "/v1/allocations", obj{"node": "a"}, 409, "is associated"},
	})
	s.must(http.StatusAccepted, http.MethodPut, "/v1/nodes/a/maintenance", nil)
	s.must(http.StatusNoContent, http.MethodDelete, "/v1/nodes/a", nil)
	s.must(http.StatusNotFound, http.MethodGet, "/v1/allocations/ours", nil)
}
