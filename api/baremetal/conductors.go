package baremetal

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
)

func (s *service) conductorRoutes() []rest.Route {
	const get = "baremetal:conductor:get"
	return []rest.Route{
		{Method: http.MethodGet, Pattern: "/v1/conductors", Since: mvConductors, Policy: get, Query: pageKeys, Handler: s.listConductors},
		{Method: http.MethodGet, Pattern: "/v1/conductors/{conductor}", Since: mvConductors, Policy: get, Query: []string{"fields"}, Handler: s.showConductor},
	}
}

type conductorView struct {
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Hostname  string    `json:"hostname"`
	Group     string    `json:"conductor_group"`
	Drivers   []string  `json:"drivers"`
	Links     links     `json:"links"`
	Alive     bool      `json:"alive"`
}

var conductorViews = rest.NewView[conductorView]()

// conductorHosts returns the conductors by host name: of several processes on a host, the one heard of last.
func conductorHosts(ctx context.Context, tx *store.Tx, base string) ([]*conductorView, error) {
	list, err := tx.Conductors(ctx, aliveFor)
	if err != nil {
		return nil, err
	}
	var views []*conductorView
	for _, c := range list {
		v := &conductorView{
			CreatedAt: c.StartedAt, UpdatedAt: c.Heartbeat, Hostname: c.Hostname, Group: c.Group, Drivers: slices.Sorted(slices.Values(c.Drivers)),
			Alive: c.Alive && !c.Stopping, Links: links{base: base, path: "conductors", id: c.Hostname},
		}
		switch i := slices.IndexFunc(views, func(o *conductorView) bool { return o.Hostname == c.Hostname }); {
		case i < 0:
			views = append(views, v)
		case v.UpdatedAt.After(views[i].UpdatedAt):
			views[i] = v
		}
	}
	return views, nil
}

// listConductors answers GET /v1/conductors. Conductors are few, so the page is cut here: the marker is a host name.
func (s *service) listConductors(r *rest.Request) (*rest.Response, error) {
	marker := r.Query().Get("marker")
	q := r.Query()
	q.Del("marker")
	p, err := s.readPage(r, func(key string) bool {
		return slices.Contains([]string{"hostname", "conductor_group", "alive", "created_at", "updated_at"}, key)
	})
	if err != nil {
		return nil, err
	}
	plan, err := conductorViews.Plan(r.Version, p.names("hostname", "conductor_group", "alive", "links")...)
	if err != nil {
		return nil, err
	}
	var views []*conductorView
	err = s.read(r, func(ctx context.Context, tx *store.Tx) (err error) {
		views, err = conductorHosts(ctx, tx, r.Endpoint())
		return err
	})
	if err != nil {
		return nil, err
	}
	if p.sortKey == "conductor_group" {
		slices.SortStableFunc(views, func(a, b *conductorView) int { return cmpText(a.Group, b.Group) })
	}
	if p.desc {
		slices.Reverse(views)
	}
	if marker != "" {
		i := slices.IndexFunc(views, func(v *conductorView) bool { return v.Hostname == marker })
		if i < 0 {
			return nil, conductorNotFound(marker)
		}
		views = views[i+1:]
	}
	views = views[:min(len(views), p.limit)]
	return collectionOf(r, "conductors", p, plan, views, func(v *conductorView) string { return v.Hostname }), nil
}

func cmpText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func conductorNotFound(host string) error {
	return fault.New(fault.NotFound, "Conductor %s could not be found.", host)
}

// showConductor answers GET /v1/conductors/{conductor}.
func (s *service) showConductor(r *rest.Request) (*rest.Response, error) {
	var p page
	if err := p.readFields(r); err != nil {
		return nil, err
	}
	plan, err := conductorViews.Plan(r.Version, p.names()...)
	if err != nil {
		return nil, err
	}
	host := r.PathValue("conductor")
	var views []*conductorView
	err = s.read(r, func(ctx context.Context, tx *store.Tx) (err error) {
		views, err = conductorHosts(ctx, tx, r.Endpoint())
		return err
	})
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(views, func(v *conductorView) bool { return v.Hostname == host })
	if i < 0 {
		return nil, conductorNotFound(host)
	}
	return rest.OK(plan.Append(nil, views[i])), nil
}
