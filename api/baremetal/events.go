package baremetal

import (
	"net/http"

	"github.com/riser-project/riser/api/rest"
)

func (s *service) eventRoutes() []rest.Route {
	return []rest.Route{{Method: http.MethodPost, Pattern: "/v1/events", Since: mvEvents, Policy: "baremetal:events:post", Handler: s.takeEvents}}
}

// eventRule is the form of an event of the network service.
var eventRule = objectRule(
	property{"event", true, oneOf("network.bind_port", "network.unbind_port", "network.delete_port")},
	property{"port_id", true, mustUUID},
	property{"mac_address", true, macRule},
	property{"status", true, mustText(1, 255)},
	property{"device_id", false, isUUID},
	property{"binding:host_id", false, isUUID},
	property{"binding:vnic_type", false, oneOf("baremetal")},
)

// takeEvents answers POST /v1/events. Events are checked and let go: nothing here waits for them.
func (s *service) takeEvents(r *rest.Request) (*rest.Response, error) {
	o, err := body(r, false, "events")
	if err != nil {
		return nil, err
	}
	v, ok := o["events"]
	if !ok {
		return nil, invalid("Schema error for events: 'events' is a required property")
	}
	if why := listRule(eventRule, 1)(v); why != "" {
		return nil, invalid("Schema error for events: %s", why)
	}
	return rest.NoContent(), nil
}
