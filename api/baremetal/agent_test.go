package baremetal_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/riser-project/riser/api/baremetal"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// lookup asks as an agent does and returns the token it is given.
func (s *server) lookup(query string) string {
	s.Helper()
	o := s.must(http.StatusOK, http.MethodGet, "/v1/lookup?"+query, nil)
	config, _ := o["config"].(map[string]any)
	token, _ := config["agent_token"].(string)
	return token
}

func TestLookup(t *testing.T) {
	s := newServer(t).idle()
	id, other := s.node(obj{"name": "n"}), s.node(obj{"name": "m"})
	s.create("/v1/ports", obj{"node_uuid": id, "address": "52:54:00:00:00:01"})
	s.create("/v1/ports", obj{"node_uuid": other, "address": "52:54:00:00:00:02"})
	s.edit(id, func(n *node.Node) { n.Provision = node.DeployWait })
	token := s.lookup("addresses=52:54:00:00:00:09,52-54-00-00-00-01,nonsense")
	if len(token) < 32 {
		t.Errorf("token %q", token)
	}
	if again := s.lookup("node_uuid=" + id); again != node.Masked {
		t.Errorf("a second look-up is given %q", again)
	}
	o := s.must(http.StatusOK, http.MethodGet, "/v1/lookup?node_uuid="+id, nil)
	if d := cmp.Diff(id, o["node"].(map[string]any)["uuid"]); d != "" {
		t.Error(d)
	}
	if a := s.do(http.MethodGet, "/v1/nodes/n", nil); strings.Contains(a.text, token) || !strings.Contains(a.text, "agent_secret_token") {
		t.Errorf("the token is shown: %s", a.text)
	}
	err := s.db.Read(t.Context(), func(tx *store.Tx) error {
		n, err := tx.Node(t.Context(), id)
		if err != nil {
			return err
		}
		if n.DriverInternalInfo["agent_secret_token"] != node.Masked {
			t.Errorf("the token is kept in clear: %v", n.DriverInternalInfo)
		}
		err = tx.Unseal(t.Context(), n)
		if n.DriverInternalInfo["agent_secret_token"] != token {
			t.Errorf("the token is lost: %v", n.DriverInternalInfo)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.refuses(t, map[string]refusal{
		"nothing":                   {"", "GET", "/v1/lookup", nil, 400, "incomplete lookup"},
		"an address that is none":   {"", "GET", "/v1/lookup?addresses=x", nil, 400, "incomplete lookup"},
		"a UUID that is none":       {"", "GET", "/v1/lookup?node_uuid=x", nil, 400, "Expected UUID"},
		"an unknown node":           {"", "GET", "/v1/lookup?node_uuid=" + nobody, nil, 404, "Resource could not be found."},
		"an unknown address":        {"", "GET", "/v1/lookup?addresses=52:54:00:00:00:09", nil, 404, "Resource could not be found."},
		"addresses of two nodes":    {"", "GET", "/v1/lookup?addresses=52:54:00:00:00:01,52:54:00:00:00:02", nil, 404, "Resource could not be found."},
		"a node that awaits nobody": {"", "GET", "/v1/lookup?node_uuid=" + other, nil, 404, "Resource could not be found."},
		"before 1.22":               {"1.21", "GET", "/v1/lookup?node_uuid=" + id, nil, 404, ""},
	})
}

func TestLookupMayBeOpenOrClosed(t *testing.T) {
	open := newServer(t, func(o *baremetal.Options) { o.Config.OpenLookup = true }).idle()
	id := open.node(obj{})
	open.lookup("node_uuid=" + id)
	closed := newServer(t, func(o *baremetal.Options) { o.Config.NoAgent = true }).idle()
	closed.refuses(t, map[string]refusal{
		"a look-up":     {"", "GET", "/v1/lookup?node_uuid=" + nobody, nil, 403, "enable_ramdisk_endpoints"},
		"a heartbeat":   {"", "POST", "/v1/heartbeat/" + nobody, obj{}, 403, "enable_ramdisk_endpoints"},
		"an inspection": {"", "POST", "/v1/continue_inspection", obj{}, 403, "enable_ramdisk_endpoints"},
	})
}

// waiting puts an operation of a kind, which waits, on a node.
func (s *server) waiting(id, kind string) string {
	s.Helper()
	op := &store.Op{UUID: uuid.NewString(), Root: id, Node: id, Kind: kind, State: store.OpWaiting}
	if err := s.db.Write(s.Context(), func(tx *store.Tx) error { return tx.InsertOp(s.Context(), op, nil) }); err != nil {
		s.Fatal(err)
	}
	return op.UUID
}

// control is the word that was left for an operation.
func (s *server) control(op string) (word string) {
	s.Helper()
	err := s.db.Read(s.Context(), func(tx *store.Tx) error {
		o, err := tx.Op(s.Context(), op)
		if err == nil {
			word = o.Control
		}
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	return word
}

func TestHeartbeat(t *testing.T) {
	s := newServer(t).idle()
	id := s.node(obj{"name": "n"})
	s.edit(id, func(n *node.Node) { n.Provision = node.CleanWait })
	op := s.waiting(id, "clean")
	token := s.lookup("node_uuid=" + id)
	beat := func(change obj) obj {
		o := obj{"callback_url": "https://192.0.2.7:9999", "agent_version": "11.0", "agent_token": token}
		for k, v := range change {
			o[k] = v
		}
		return o
	}
	path := "/v1/heartbeat/" + id
	s.refuses(t, map[string]refusal{
		"no token":                {"", "POST", path, beat(obj{"agent_token": nil}), 400, "Agent token is required for heartbeat processing."},
		"another token":           {"", "POST", path, beat(obj{"agent_token": token + "x"}), 400, "Invalid or missing agent token received."},
		"the mask as a token":     {"", "POST", path, beat(obj{"agent_token": node.Masked}), 400, "Invalid or missing agent token received."},
		"no version":              {"", "POST", path, beat(obj{"agent_version": nil}), 400, "Agent did not transmit a version"},
		"no URL":                  {"", "POST", path, beat(obj{"callback_url": nil}), 400, "callback_url"},
		"a URL that is none":      {"", "POST", path, beat(obj{"callback_url": "ftp://x"}), 400, "callback_url"},
		"a URL in clear":          {"", "POST", path, beat(obj{"callback_url": "http://192.0.2.7:9999"}), 400, "TLS is required"},
		"a status that is none":   {"", "POST", path, beat(obj{"agent_status": "happy"}), 400, "agent_status"},
		"a key that nobody knows": {"", "POST", path, beat(obj{"x": "y"}), 400, "Unexpected arguments: x"},
		"a token before tokens":   {"1.61", "POST", path, beat(nil), 400, "is not recognized"},
		"a node that is not":      {"", "POST", "/v1/heartbeat/" + nobody, beat(nil), 404, ""},
	})
	if got := s.control(op); got != "" {
		t.Errorf("a refused heartbeat left %q", got)
	}
	if a := s.do(http.MethodPost, path, beat(obj{"agent_status": "start"})); a.status != http.StatusAccepted || a.text != "" {
		t.Errorf("status %d: %s", a.status, a.text)
	}
	if got := s.control(op); got != "resume" {
		t.Errorf("the operation was left %q", got)
	}
	info, _ := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/n", nil)["driver_internal_info"].(map[string]any)
	if info["agent_url"] != "https://192.0.2.7:9999" || info["agent_version"] != "11.0" || info["agent_status"] != "start" || info["agent_last_heartbeat"] == nil {
		t.Errorf("driver_internal_info: %v", info)
	}
	s.refuses(t, map[string]refusal{
		"another URL later": {"", "POST", path, beat(obj{"callback_url": "https://192.0.2.8:9999"}), 400, `Detected change in ramdisk provided "callback_url"`},
	})
	s.edit(id, func(n *node.Node) { n.Reservation = "c9" })
	if a := s.do(http.MethodPost, path, beat(nil)); a.status != http.StatusAccepted {
		t.Errorf("of a locked node that is known: %d: %s", a.status, a.text)
	}
	s.edit(id, func(n *node.Node) { delete(n.DriverInternalInfo, "agent_url") })
	s.refuses(t, map[string]refusal{"of a locked node that is new": {"", "POST", path, beat(nil), 409, "is locked by host c9"}})
}

func TestContinueInspection(t *testing.T) {
	s := newServer(t).idle()
	id := s.node(obj{"name": "n", "driver_info": obj{"redfish_address": "https://192.0.2.9:8443"}})
	child := s.node(obj{"name": "dpu", "parent_node": "n", "driver_info": obj{"ipmi_address": "192.0.2.10"}})
	s.create("/v1/ports", obj{"node_uuid": id, "address": "52:54:00:00:00:01"})
	for _, ref := range []string{id, child} {
		s.edit(ref, func(n *node.Node) { n.Provision = node.InspectWait })
	}
	op := s.waiting(id, "inspect")
	found := func(mac, bmc string) obj {
		return obj{"inventory": obj{"interfaces": list{obj{"mac_address": mac}}, "bmc_address": bmc}, "extra": obj{"x": 1}}
	}
	for name, c := range map[string]struct {
		path string
		body obj
		node string
	}{
		"by its port":                  {"", found("52:54:00:00:00:01", ""), id},
		"by its UUID":                  {"?node_uuid=" + id, found("52:54:00:00:00:99", ""), id},
		"by its controller":            {"", found("52:54:00:00:00:99", "192.0.2.9"), id},
		"a child, by its controller's": {"", found("52:54:00:00:00:99", "192.0.2.10"), child},
	} {
		a := s.do(http.MethodPost, "/v1/continue_inspection"+c.path, c.body)
		if a.status != http.StatusAccepted || a.object()["uuid"] != c.node {
			t.Errorf("%s: status %d: %s", name, a.status, a.text)
		}
	}
	if got := s.control(op); got != "resume" {
		t.Errorf("the operation was left %q", got)
	}
	if o := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/n/inventory", nil); !cmp.Equal(o["plugin_data"], obj{"extra": obj{"x": 1.0}}) {
		t.Errorf("inventory: %v", o)
	}
	s.refuses(t, map[string]refusal{
		"no inventory":              {"", "POST", "/v1/continue_inspection", obj{}, 400, "'inventory' is a required property"},
		"no interface":              {"", "POST", "/v1/continue_inspection", obj{"inventory": obj{"interfaces": list{}}}, 400, "at least one interface"},
		"an interface that is none": {"", "POST", "/v1/continue_inspection", obj{"inventory": obj{"interfaces": list{1}}}, 400, "must be an object"},
		"of nobody":                 {"", "POST", "/v1/continue_inspection", found("52:54:00:00:00:99", "192.0.2.99"), 404, "Resource could not be found."},
		"at a version between":      {"1.50", "POST", "/v1/continue_inspection", found("52:54:00:00:00:01", ""), 404, ""},
	})
	s.edit(id, func(n *node.Node) { n.Provision = node.Manageable })
	s.refuses(t, map[string]refusal{"of a node that is not inspected": {"", "POST", "/v1/continue_inspection", found("52:54:00:00:00:01", ""), 404, "Resource could not be found."}})
	s.edit(child, func(n *node.Node) { n.Provision = node.Manageable })
	if a := at(t, s, "1.1", http.MethodPost, "/v1/continue_inspection", found("x", "")); a.status != http.StatusNotFound || a.fault() != "Resource could not be found." {
		t.Errorf("an agent of old: %d: %s", a.status, a.text)
	}
}
