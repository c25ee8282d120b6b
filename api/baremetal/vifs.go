package baremetal

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func (s *service) vifRoutes() []rest.Route {
	const base = "/v1/nodes/{node}/vifs"
	return []rest.Route{
		{Method: http.MethodGet, Pattern: base, Since: mvVIFs, Policy: "baremetal:node:vif:list", Handler: s.listVIFs},
		{Method: http.MethodPost, Pattern: base, Since: mvVIFs, Policy: "baremetal:node:vif:attach", Handler: s.attachVIF},
		{Method: http.MethodDelete, Pattern: base + "/{vif}", Since: mvVIFs, Policy: "baremetal:node:vif:detach", Handler: s.detachVIF},
	}
}

// wired is the ports and port groups of a node: where its VIFs are attached.
type wired struct {
	ports  []*node.Port
	groups []*node.Portgroup
}

func readWired(ctx context.Context, tx *store.Tx, n *node.Node) (w wired, err error) {
	if w.ports, err = tx.Ports(ctx, store.PortQuery{NodeUUID: n.UUID}); err != nil {
		return w, err
	}
	w.groups, err = tx.Portgroups(ctx, store.PortQuery{NodeUUID: n.UUID})
	return w, err
}

// plain reports whether the node's network interface leaves networks alone, so that a VIF is nothing to it.
func plain(n *node.Node) bool { return n.Interfaces[node.Network] == "noop" }

// listVIFs answers GET /v1/nodes/{node}/vifs.
func (s *service) listVIFs(r *rest.Request) (*rest.Response, error) {
	vifs := []any{}
	err := s.read(r, func(ctx context.Context, tx *store.Tx) error {
		n, err := nodeOf(ctx, r, tx.Node)
		if err != nil || plain(n) {
			return err
		}
		w, err := readWired(ctx, tx, n)
		for _, g := range w.groups {
			if id := g.VIF(); id != "" {
				vifs = append(vifs, object{"id": id})
			}
		}
		for _, p := range w.ports {
			if id := p.VIF(); id != "" {
				vifs = append(vifs, object{"id": id})
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(rest.AppendValue(nil, object{"vifs": vifs})), nil
}

// attachVIF answers POST /v1/nodes/{node}/vifs.
func (s *service) attachVIF(r *rest.Request) (*rest.Response, error) {
	o, err := r.Object(false)
	if err != nil {
		return nil, err
	}
	id, ok := o["id"].(string)
	if !ok || mustText(1, 255)(id) != "" {
		return nil, invalid("Schema error for body: 'id' is a required property, a text of 1 to 255 characters")
	}
	where := map[string]string{}
	for _, key := range []string{"port_uuid", "portgroup_uuid"} {
		v, ok := o[key]
		if !ok {
			continue
		}
		if err := need(r, mvVIFPorts); err != nil {
			return nil, err
		}
		if why := mustUUID(v); why != "" {
			return nil, invalid("Schema error for body: %s", why)
		}
		text, _ := v.(string)
		where[key] = canonical(text)
	}
	if len(where) > 1 {
		return nil, invalid("Cannot specify both port_uuid and portgroup_uuid")
	}
	return s.changeVIFs(r, func(ctx context.Context, tx *store.Tx, w wired) error { return w.attach(ctx, tx, id, where) })
}

// changeVIFs runs change on the ports of the node in the path, which nobody else works on.
func (s *service) changeVIFs(r *rest.Request, change func(context.Context, *store.Tx, wired) error) (*rest.Response, error) {
	err := s.write(r, func(ctx context.Context, tx *store.Tx) error {
		n, err := nodeOf(ctx, r, tx.NodeForUpdate)
		if err != nil {
			return err
		}
		if n.Reservation != "" {
			return conductor.Locked(n)
		}
		if plain(n) {
			return nil
		}
		w, err := readWired(ctx, tx, n)
		if err != nil {
			return err
		}
		return change(ctx, tx, w)
	})
	if err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}

// attach takes the port or group that is asked for, or the best free one: a group before a port, one that boots from the network before others.
func (w wired) attach(ctx context.Context, tx *store.Tx, id string, where map[string]string) error {
	for _, g := range w.groups {
		if g.VIF() == id {
			return conflict("Unable to attach VIF because VIF %s is already attached to Ironic Portgroup %s", id, g.UUID)
		}
	}
	for _, p := range w.ports {
		if p.VIF() == id {
			return conflict("Unable to attach VIF because VIF %s is already attached to Ironic Port %s", id, p.UUID)
		}
	}
	for _, g := range w.groups {
		if g.VIF() == "" && where["port_uuid"] == "" && (where["portgroup_uuid"] == "" || where["portgroup_uuid"] == g.UUID) {
			g.InternalInfo = withVIF(g.InternalInfo, id)
			return tx.SavePortgroup(ctx, g)
		}
	}
	slices.SortStableFunc(w.ports, func(a, b *node.Port) int { return cmp.Compare(rankPort(b), rankPort(a)) })
	for _, p := range w.ports {
		if p.VIF() == "" && where["portgroup_uuid"] == "" && (where["port_uuid"] == p.UUID || (where["port_uuid"] == "" && w.alone(p))) {
			p.InternalInfo = withVIF(p.InternalInfo, id)
			return tx.SavePort(ctx, p)
		}
	}
	return invalid("Unable to attach VIF %s, not enough free physical ports.", id)
}

func rankPort(p *node.Port) int {
	if p.PXEEnabled {
		return 1
	}
	return 0
}

// alone reports whether a port may be used by itself: it is in no group, or in one that allows it and has no VIF.
func (w wired) alone(p *node.Port) bool {
	i := slices.IndexFunc(w.groups, func(g *node.Portgroup) bool { return g.UUID == p.PortgroupUUID })
	return i < 0 || (w.groups[i].StandalonePorts && w.groups[i].VIF() == "")
}

func withVIF(o node.Object, id string) node.Object {
	c := maps.Clone(o)
	if c == nil {
		c = node.Object{}
	}
	c[node.VIFKey] = id
	return c
}

func withoutVIF(o node.Object) node.Object {
	c := maps.Clone(o)
	delete(c, node.VIFKey)
	return c
}

// detachVIF answers DELETE /v1/nodes/{node}/vifs/{vif}.
func (s *service) detachVIF(r *rest.Request) (*rest.Response, error) {
	id := r.PathValue("vif")
	return s.changeVIFs(r, func(ctx context.Context, tx *store.Tx, w wired) error {
		for _, g := range w.groups {
			if g.VIF() == id {
				g.InternalInfo = withoutVIF(g.InternalInfo)
				return tx.SavePortgroup(ctx, g)
			}
		}
		for _, p := range w.ports {
			if p.VIF() == id {
				p.InternalInfo = withoutVIF(p.InternalInfo)
				return tx.SavePort(ctx, p)
			}
		}
		return invalid("Unable to detach VIF %s from node %s because it is not attached to it.", id, r.PathValue("node"))
	})
}
