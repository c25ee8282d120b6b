package baremetal_test

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/riser-project/riser/api/baremetal"
	"github.com/riser-project/riser/api/rest"
)

// operation is a call as openapi.yaml describes it.
type operation struct {
	Summary    string
	Since      int            `yaml:"x-since"`
	Policy     string         `yaml:"x-policy"`
	AnyQuery   bool           `yaml:"x-any-query"`
	Security   []yaml.Node    `yaml:"security"`
	Parameters []parameter    `yaml:"parameters"`
	Responses  map[string]any `yaml:"responses"`
}

type parameter struct{ Name, In string }

type description struct {
	OpenAPI    string                          `yaml:"openapi"`
	Info       struct{ Version string }        `yaml:"info"`
	Paths      map[string]map[string]yaml.Node `yaml:"paths"`
	Components struct {
		Schemas map[string]struct {
			Properties map[string]struct {
				Since int `yaml:"x-since"`
			}
		}
	}
}

func readDescription(t *testing.T) *description {
	t.Helper()
	d := &description{}
	if err := yaml.Unmarshal(baremetal.OpenAPI, d); err != nil {
		t.Fatal(err)
	}
	return d
}

// methods are the operations of a path item; its other keys are not HTTP methods.
var methods = []string{"get", "post", "put", "patch", "delete"}

func TestTheDescriptionIsOfTheRouteTable(t *testing.T) {
	d := readDescription(t)
	if want := versions.Format(len(baremetal.History())); d.Info.Version != want {
		t.Errorf("info.version %s, want %s", d.Info.Version, want)
	}
	described := map[string]operation{}
	for path, item := range d.Paths {
		for key, n := range item {
			if key == "parameters" {
				checkPathParameters(t, path, n)
				continue
			}
			if !slices.Contains(methods, key) {
				t.Errorf("%s has %s", path, key)
			}
			var op operation
			if err := n.Decode(&op); err != nil {
				t.Fatalf("%s %s: %v", key, path, err)
			}
			described[strings.ToUpper(key)+" "+path] = op
		}
	}
	for _, r := range baremetal.Routes() {
		name := r.Method + " " + r.Pattern
		op, ok := described[name]
		if !ok {
			t.Errorf("%s is not described", name)
			continue
		}
		delete(described, name)
		checkOperation(t, name, r, op)
	}
	for name := range described {
		t.Errorf("%s is described and not served", name)
	}
}

func checkPathParameters(t *testing.T, path string, n yaml.Node) {
	t.Helper()
	var list []parameter
	if err := n.Decode(&list); err != nil {
		t.Fatal(err)
	}
	var want []parameter
	for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
		want = append(want, parameter{m[1], "path"})
	}
	if d := cmp.Diff(want, list); d != "" {
		t.Errorf("%s: %s", path, d)
	}
}

func checkOperation(t *testing.T, name string, r rest.Route, op operation) {
	t.Helper()
	if op.Summary == "" || op.Responses["default"] == nil {
		t.Errorf("%s lacks a summary or the answer to errors", name)
	}
	if op.Since != r.Since || op.Policy != r.Policy || (op.Security != nil) != r.Public {
		t.Errorf("%s is described since %d, rule %q, public %v; it is since %d, rule %q, public %v",
			name, op.Since, op.Policy, op.Security != nil, r.Since, r.Policy, r.Public)
	}
	var query []string
	for _, p := range op.Parameters {
		query = append(query, p.Name)
	}
	if op.AnyQuery {
		query = []string{rest.AnyQuery}
	}
	if d := cmp.Diff(slices.Sorted(slices.Values(r.Query)), slices.Sorted(slices.Values(query))); d != "" {
		t.Errorf("%s: query: %s", name, d)
	}
}

func TestReferencesInTheDescriptionLeadSomewhere(t *testing.T) {
	var doc map[string]any
	if err := yaml.Unmarshal(baremetal.OpenAPI, &doc); err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\$ref: "#/([^"]+)"`).FindAllStringSubmatch(string(baremetal.OpenAPI), -1) {
		var at any = doc
		for _, key := range strings.Split(m[1], "/") {
			o, _ := at.(map[string]any)
			at = o[key]
		}
		if at == nil {
			t.Errorf("#/%s is not there", m[1])
		}
	}
}

// TestAnswersHaveTheFieldsOfTheirVersion holds each resource, as it is on the wire, against its schema at every microversion.
func TestAnswersHaveTheFieldsOfTheirVersion(t *testing.T) {
	s := newServer(t).idle()
	id := s.node(obj{"name": "host-1"})
	where := map[string]string{"Node": "/v1/nodes/" + id, "NodeStates": "/v1/nodes/" + id + "/states"}
	for schema, o := range map[string]struct {
		path string
		body obj
	}{
		"Port":            {"/v1/ports", obj{"node_uuid": id, "address": "52:54:00:00:00:01"}},
		"Portgroup":       {"/v1/portgroups", obj{"node_uuid": id}},
		"Chassis":         {"/v1/chassis", obj{}},
		"VolumeConnector": {"/v1/volume/connectors", obj{"node_uuid": id, "type": "iqn", "connector_id": "a"}},
		"VolumeTarget":    {"/v1/volume/targets", obj{"node_uuid": id, "volume_type": "iscsi", "volume_id": "a", "boot_index": 0}},
		"DeployTemplate":  {"/v1/deploy_templates", obj{"name": "CUSTOM_T", "steps": list{obj{"interface": "bios", "step": "x", "args": obj{}, "priority": 1}}}},
		"Runbook":         {"/v1/runbooks", obj{"name": "CUSTOM_A", "steps": list{obj{"interface": "power", "step": "power_on", "order": 1}}}},
		"InspectionRule":  {"/v1/inspection_rules", obj{"actions": list{obj{"op": "fail", "args": obj{}}}}},
		"Allocation":      {"/v1/allocations", obj{"resource_class": "x"}},
	} {
		made, _ := s.must(http.StatusCreated, http.MethodPost, o.path, o.body)["uuid"].(string)
		where[schema] = o.path + "/" + made
	}
	d := readDescription(t)
	for schema, path := range where {
		for minor := 1; minor <= 115; minor++ {
			a := at(t, s, "1."+strconv.Itoa(minor), http.MethodGet, path, nil)
			if a.status == http.StatusNotFound {
				continue // the resource came later
			}
			var want []string
			for key, p := range d.Components.Schemas[schema].Properties {
				if p.Since <= minor {
					want = append(want, key)
				}
			}
			slices.Sort(want)
			if d := cmp.Diff(want, slices.Sorted(maps.Keys(a.object()))); d != "" {
				t.Fatalf("%s at 1.%d: %s", path, minor, d)
			}
		}
	}
}

func TestEveryMicroversionHasItsSentence(t *testing.T) {
	list := baremetal.History()
	if len(list) != 115 {
		t.Fatalf("%d microversions", len(list))
	}
	for i, c := range list {
		if c.Minor != i+1 || !strings.HasSuffix(c.Text, ".") {
			t.Errorf("1.%d is %+v", i+1, c)
		}
	}
	for _, r := range baremetal.Routes() {
		if r.Since > len(list) {
			t.Errorf("%s %s is of 1.%d", r.Method, r.Pattern, r.Since)
		}
	}
}

func TestTheDescriptionIsServed(t *testing.T) {
	s := newServer(t)
	a := at(t, s, "9.9", http.MethodGet, "/v1/openapi.yaml", nil)
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/yaml" || a.text != string(baremetal.OpenAPI) {
		t.Errorf("status %d, type %s", a.status, a.header.Get("Content-Type"))
	}
}
