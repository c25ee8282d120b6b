package baremetal_test

import "testing"

func TestSmoke(t *testing.T) {
	s := newServer(t).idle()
	id := s.node(obj{"name": "host-1"})
	c := s.node(obj{"name": "dpu-1", "parent_node": "host-1"})
	for _, p := range []string{"/", "/v1", "/v1/nodes", "/v1/nodes/" + id, "/v1/nodes/host-1/children", "/v1/nodes/" + c, "/v1/nodes/host-1/states", "/v1/nodes/host-1/validate", "/v1/drivers", "/v1/drivers/redfish", "/v1/conductors?detail=true", "/v1/ports", "/v1/nosuch", "/v1/nodes?fields=uuid,name&limit=1"} {
		a := s.do("GET", p, nil)
		t.Log(p, a.status, a.header, a.text)
	}
	t.Log(s.do("PATCH", "/v1/nodes/host-1", []obj{{"op": "add", "path": "/extra/a", "value": 1}}).text)
	t.Log(s.do("PUT", "/v1/nodes/host-1/states/provision", obj{"target": "manage"}).text)
	t.Log(s.do("PUT", "/v1/nodes/host-1/states/power", obj{"target": "power on"}).text)
	t.Log(s.do("DELETE", "/v1/nodes/host-1", nil).text)
	a := s.do("POST", "/v1/ports", obj{"node_uuid": id, "address": "52:54:00:19:33:32"})
	t.Log(a.status, a.text)
}
