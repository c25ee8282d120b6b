// Package neutronsim is a simulated OpenStack Neutron on the wire: networks, subnets, ports, their bindings and the events that it sends to Nova, with
// ML2/OVN's way to find the chassis of a card by its serial number.
package neutronsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
)

// Neutron is a simulated Neutron.
type Neutron struct {
	URL string // without a version

	server *httptest.Server

	mu       sync.Mutex
	chassis  map[string]string // by the serial of the card
	objects  map[string]map[string]object
	bindings map[string]map[string]object // of ports, that are not in force: by host
	without  []string                     // extensions that are not there
	events   string                       // URL of Nova's os-server-external-events
	broken   int                          // status of every answer; 0 works
	calls    []string
}

type object = map[string]any

// New starts a Neutron whose chassis have these cards: host names by serial numbers.
func New(chassis map[string]string) *Neutron {
	n := &Neutron{
		chassis: chassis, bindings: map[string]map[string]object{},
		objects: map[string]map[string]object{"networks": {}, "subnets": {}, "ports": {}},
	}
	n.server = httptest.NewServer(http.HandlerFunc(n.serve))
	n.URL = n.server.URL
	return n
}

// Close ends it.
func (n *Neutron) Close() { n.server.Close() }

// Without has the extensions of these aliases missing.
func (n *Neutron) Without(aliases ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.without = aliases
}

// Notify has events sent to this URL.
func (n *Neutron) Notify(url string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = url
}

// Break has every call answered with status, until it is called with 0.
func (n *Neutron) Break(status int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.broken = status
}

// Calls returns the calls so far that changed something, as "PUT /v2.0/ports/ID", and forgets them.
func (n *Neutron) Calls() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	calls := n.calls
	n.calls = nil
	return calls
}

// Port returns the port whose id or description is this, and nil when there is none.
func (n *Neutron) Port(ref string) map[string]any {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.lookUp(ref); p != nil {
		out := object{}
		for k, v := range p {
			out[k] = v
		}
		return out
	}
	return nil
}

func (n *Neutron) lookUp(ref string) object {
	for id, p := range n.objects["ports"] {
		if id == ref || p["description"] == ref {
			return p
		}
	}
	return nil
}

// Insert adds an object to a collection, as another client would, and returns its id.
func (n *Neutron) Insert(collection string, o map[string]any) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.insert(collection, o)["id"].(string)
}

// SetUp says that the chassis of a port has plugged it, or not any more, and tells Nova. The port is named by its id or description.
func (n *Neutron) SetUp(ref string, up bool) error {
	n.mu.Lock()
	p := n.lookUp(ref)
	if p == nil {
		n.mu.Unlock()
		return fmt.Errorf("there is no port %s", ref)
	}
	name := "network-vif-unplugged"
	p["status"] = "DOWN"
	if up {
		p["status"], name = "ACTIVE", "network-vif-plugged"
	}
	body, err := json.Marshal(object{"events": []object{{"name": name, "server_uuid": p["device_id"], "status": "completed", "tag": p["id"]}}})
	url := n.events
	n.mu.Unlock()
	if err != nil || url == "" {
		return err
	}
	resp, err := http.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (n *Neutron) serve(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.broken != 0 {
		fail(w, n.broken, "Broken", "the test says so")
		return
	}
	if r.Method != http.MethodGet {
		n.calls = append(n.calls, r.Method+" "+r.URL.Path)
	}
	path := strings.Split(strings.TrimPrefix(r.URL.Path, "/v2.0/"), "/")
	switch {
	case path[0] == "extensions" && len(path) == 2:
		if slices.Contains(n.without, path[1]) {
			fail(w, 404, "HTTPNotFound", "no such extension")
			return
		}
		write(w, 200, object{"extension": object{"alias": path[1]}})
	case n.objects[path[0]] == nil:
		fail(w, 404, "HTTPNotFound", "The resource could not be found.")
	case len(path) == 1:
		n.collection(w, r, path[0])
	case len(path) == 2:
		n.item(w, r, path[0], path[1])
	case path[0] == "ports" && path[2] == "bindings" && n.objects["ports"][path[1]] != nil:
		n.binding(w, r, n.objects["ports"][path[1]], path[3:])
	default:
		fail(w, 404, "HTTPNotFound", "The resource could not be found.")
	}
}

func singular(collection string) string { return strings.TrimSuffix(collection, "s") }

func (n *Neutron) collection(w http.ResponseWriter, r *http.Request, collection string) {
	if r.Method == http.MethodGet {
		list := []object{}
		for _, o := range n.objects[collection] {
			if matches(o, r.URL.Query()) {
				list = append(list, o)
			}
		}
		write(w, 200, object{collection: list})
		return
	}
	o, ok := read(w, r, singular(collection))
	if !ok {
		return
	}
	if collection != "networks" && n.objects["networks"][fmt.Sprint(o["network_id"])] == nil {
		fail(w, 404, "NetworkNotFound", fmt.Sprintf("Network %v could not be found.", o["network_id"]))
		return
	}
	write(w, 201, object{singular(collection): n.insert(collection, o)})
}

func matches(o object, query map[string][]string) bool {
	for k, values := range query {
		if k != "fields" && k != "limit" && !slices.Contains(values, fmt.Sprint(o[k])) {
			return false
		}
	}
	return true
}

func (n *Neutron) insert(collection string, o object) object {
	if o["id"] == nil {
		o["id"] = uuid.NewString()
	}
	defaults := object{"name": "", "description": ""}
	switch collection {
	case "networks":
		defaults["subnets"] = []any{}
	case "ports":
		defaults = object{
			"name": "", "description": "", "status": "DOWN", "admin_state_up": true, "device_id": "", "device_owner": "", "binding:host_id": "",
			"binding:profile": object{}, "binding:vif_type": "unbound", "binding:vnic_type": "normal",
		}
	}
	for k, v := range defaults {
		if _, ok := o[k]; !ok {
			o[k] = v
		}
	}
	n.objects[collection][o["id"].(string)] = o
	return o
}

func (n *Neutron) item(w http.ResponseWriter, r *http.Request, collection, id string) {
	o := n.objects[collection][id]
	if o == nil {
		fail(w, 404, "NotFound", fmt.Sprintf("%s %s could not be found.", singular(collection), id))
		return
	}
	switch r.Method {
	case http.MethodGet:
		write(w, 200, object{singular(collection): o})
	case http.MethodDelete:
		for _, p := range n.objects["ports"] {
			if collection == "networks" && p["network_id"] == id {
				fail(w, 409, "NetworkInUse", "There are one or more ports still in use on the network.")
				return
			}
		}
		delete(n.objects[collection], id)
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPut:
		change, ok := read(w, r, singular(collection))
		if !ok {
			return
		}
		before := fmt.Sprint(o["binding:host_id"], o["binding:profile"])
		for k, v := range change {
			o[k] = v
		}
		if collection == "ports" && fmt.Sprint(o["binding:host_id"], o["binding:profile"]) != before {
			n.bind(o)
		}
		write(w, 200, object{singular(collection): o})
	}
}

// bind does what ML2/OVN does: it takes the chassis that has the card's serial number.
func (n *Neutron) bind(p object) {
	p["status"] = "DOWN"
	profile, _ := p["binding:profile"].(object)
	switch {
	case p["binding:host_id"] == "" || p["binding:host_id"] == nil || len(profile) == 0:
		p["binding:vif_type"] = "unbound"
	case n.chassis[fmt.Sprint(profile["card_serial_number"])] == "":
		p["binding:vif_type"] = "binding_failed"
	default:
		p["binding:vif_type"] = "ovs"
	}
}

func (n *Neutron) binding(w http.ResponseWriter, r *http.Request, p object, rest []string) {
	id := p["id"].(string)
	switch {
	case len(rest) == 0 && r.Method == http.MethodPost:
		b, ok := read(w, r, "binding")
		if !ok {
			return
		}
		host, _ := b["host"].(string)
		if n.bindings[id][host] != nil || p["binding:host_id"] == host {
			fail(w, 409, "PortBindingAlreadyExists", "Binding for port "+id+" on host "+host+" already exists.")
			return
		}
		profile, _ := b["profile"].(object)
		if n.chassis[fmt.Sprint(profile["card_serial_number"])] == "" {
			fail(w, 500, "PortBindingError", "Binding for port "+id+" on host "+host+" could not be created or updated.")
			return
		}
		if n.bindings[id] == nil {
			n.bindings[id] = map[string]object{}
		}
		n.bindings[id][host] = b
		write(w, 201, object{"binding": b})
	case len(rest) == 2 && rest[1] == "activate" && n.bindings[id][rest[0]] != nil:
		next := n.bindings[id][rest[0]]
		delete(n.bindings[id], rest[0])
		n.bindings[id][fmt.Sprint(p["binding:host_id"])] = object{"host": p["binding:host_id"], "profile": p["binding:profile"]}
		p["binding:host_id"], p["binding:profile"] = next["host"], next["profile"]
		n.bind(p)
		write(w, 200, object{"binding": next})
	case len(rest) == 1 && r.Method == http.MethodDelete && n.bindings[id][rest[0]] != nil:
		delete(n.bindings[id], rest[0])
		w.WriteHeader(http.StatusNoContent)
	default:
		fail(w, 404, "PortBindingNotFound", "no such binding")
	}
}

func read(w http.ResponseWriter, r *http.Request, key string) (object, bool) {
	var body map[string]object
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body[key] == nil {
		fail(w, 400, "HTTPBadRequest", "Unable to find '"+key+"' in request body")
		return nil, false
	}
	return body[key], true
}

func fail(w http.ResponseWriter, status int, kind, text string) {
	write(w, status, object{"NeutronError": object{"type": kind, "message": text, "detail": ""}})
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that went away needs no answer
}
