package compute

import (
	"context"
	"net/http"
	"slices"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
)

// events are the names of events that a network service may send, with the version that brought each.
var events = map[string]int{
	"network-changed": 1, "network-vif-plugged": 1, "network-vif-unplugged": 1, "network-vif-deleted": 1, "volume-extended": 51, "power-update": 76,
	"accelerator-request-bound": 82, "volume-reimaged": 93,
}

type externalEvent struct {
	Name   string `json:"name"`
	Server string `json:"server_uuid"`
	Status string `json:"status"`
	Tag    string `json:"tag"`
}

// takeEvents hears from another service that something has happened to a server. It is a hint to look: what riser believes of a port it reads
// itself.
func (a *api) takeEvents(r *rest.Request) (*rest.Response, error) {
	var b struct {
		Events []externalEvent `json:"events"`
	}
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	if len(b.Events) == 0 {
		return nil, invalid("Invalid input for field/attribute events: want at least one.")
	}
	list := make([]any, len(b.Events))
	taken, all := false, true
	err := a.o.DB.Write(r.Context(), func(tx *store.Tx) error {
		for i := range b.Events {
			e := &b.Events[i]
			if e.Status == "" {
				e.Status = "completed"
			}
			if since, ok := events[e.Name]; !ok || since > r.Version || !slices.Contains([]string{"completed", "failed", "in-progress"}, e.Status) {
				return invalid("Invalid input for field/attribute events: %q with status %q is not an event.", e.Name, e.Status)
			}
			code, err := takeEvent(r.Context(), tx, e)
			if err != nil {
				return err
			}
			v := map[string]any{"name": e.Name, "server_uuid": e.Server, "status": e.Status, "code": code}
			if e.Tag != "" {
				v["tag"] = e.Tag
			}
			if code != http.StatusOK {
				v["status"] = "failed"
			}
			list[i] = v
			taken, all = taken || code == http.StatusOK, all && code == http.StatusOK
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case !taken:
		return nil, fault.New(fault.NotFound, "No instances found for any event")
	case !all:
		return &rest.Response{Status: http.StatusMultiStatus, Body: object("events", list)}, nil
	}
	return rest.OK(object("events", list)), nil
}

// takeEvent returns the status that the answer shows for one event.
func takeEvent(ctx context.Context, tx *store.Tx, e *externalEvent) (int, error) {
	s, err := tx.Server(ctx, e.Server)
	switch {
	case fault.Is(err, fault.NotFound):
		return http.StatusNotFound, nil
	case err != nil:
		return 0, err
	case s.Host == "":
		return http.StatusUnprocessableEntity, nil
	}
	if slices.ContainsFunc(s.Ports, func(p store.ServerPort) bool { return p.ID == e.Tag }) {
		if err := tx.TouchVPort(ctx, e.Tag, ""); err != nil {
			return 0, err
		}
	}
	tx.Wake(store.TopicServers)
	return http.StatusOK, nil
}
