package baremetal

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func (s *service) historyRoutes() []rest.Route {
	const get, history = "baremetal:node:get", "baremetal:node:history:get"
	return []rest.Route{
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/history", Since: mvHistory, Policy: history, Query: pageKeys, Handler: s.listHistory},
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/history/{event}", Since: mvHistory, Policy: history, Handler: s.showHistory},
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/operations", Policy: get, Query: []string{"limit", "marker", "sort_key", "sort_dir"}, Handler: s.listOperations},
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/operations/{operation}", Policy: get, Handler: s.showOperation},
	}
}

type eventView struct {
	UUID      string     `json:"uuid"`
	CreatedAt time.Time  `json:"created_at"`
	Severity  string     `json:"severity"`
	Type      string     `json:"event_type"`
	Event     string     `json:"event"`
	Conductor string     `json:"conductor" zero:"null"`
	User      string     `json:"user" zero:"null"`
	Project   string     `json:"project" since:"113" zero:"null"`
	State     node.State `json:"state" since:"115" zero:"null"`
	Target    node.State `json:"target_provision_state" since:"115" zero:"null"`
	Duration  int        `json:"duration_seconds" since:"115"`
	Links     links      `json:"links"`
}

var eventViews = rest.NewView[eventView]()

const eventShort = 255 // characters of an event in a list without detail

func showEvent(e *store.Event, base string) *eventView {
	return &eventView{
		UUID: e.UUID, CreatedAt: e.CreatedAt, Severity: e.Severity, Type: e.Type, Event: e.Text, Conductor: e.Conductor, User: e.Actor,
		Project: e.Project, State: e.State, Target: e.Target, Duration: int(e.Duration / time.Second),
		Links: links{base: base, path: "nodes", id: e.Node, part: "/history/" + e.UUID, self: true},
	}
}

// listHistory answers GET /v1/nodes/{node}/history.
func (s *service) listHistory(r *rest.Request) (*rest.Response, error) {
	p, err := s.readPage(r, func(key string) bool { return key == "created_at" })
	if err != nil {
		return nil, err
	}
	plan, err := eventViews.Plan(r.Version, p.names("uuid", "created_at", "severity", "event", "links")...)
	if err != nil {
		return nil, err
	}
	var views []*eventView
	err = s.read(r, func(ctx context.Context, tx *store.Tx) error {
		n, err := nodeOf(ctx, r, tx.Node)
		if err != nil {
			return err
		}
		events, err := tx.Events(ctx, n.UUID, canonical(p.marker), p.limit, p.desc)
		for _, e := range events {
			v := showEvent(e, r.Endpoint())
			if !p.detail && len(p.fields) == 0 && len(v.Event) > eventShort {
				v.Event = strings.ToValidUTF8(v.Event[:eventShort], "")
			}
			views = append(views, v)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return collectionOf(r, "history", p, plan, views, func(v *eventView) string { return v.UUID }), nil
}

// showHistory answers GET /v1/nodes/{node}/history/{event}.
func (s *service) showHistory(r *rest.Request) (*rest.Response, error) {
	plan, err := eventViews.Plan(r.Version)
	if err != nil {
		return nil, err
	}
	var e *store.Event
	err = s.read(r, func(ctx context.Context, tx *store.Tx) error {
		n, err := nodeOf(ctx, r, tx.Node)
		if err != nil {
			return err
		}
		e, err = tx.Event(ctx, n.UUID, canonical(r.PathValue("event")))
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(plan.Append(nil, showEvent(e, r.Endpoint()))), nil
}
