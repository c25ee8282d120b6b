package baremetal

import (
	"context"
	"net/http"
	"slices"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func (s *service) traitRoutes() []rest.Route {
	const base = "/v1/nodes/{node}/traits"
	const set, unset = "baremetal:node:traits:set", "baremetal:node:traits:delete"
	return []rest.Route{
		{Method: http.MethodGet, Pattern: base, Since: mvTraits, Policy: "baremetal:node:traits:list", Handler: s.listTraits},
		{Method: http.MethodPut, Pattern: base, Since: mvTraits, Policy: set, Handler: s.setTraits},
		{Method: http.MethodDelete, Pattern: base, Since: mvTraits, Policy: unset, Handler: s.removeTraits},
		{Method: http.MethodPut, Pattern: base + "/{trait}", Since: mvTraits, Policy: set, Handler: s.addTrait},
		{Method: http.MethodDelete, Pattern: base + "/{trait}", Since: mvTraits, Policy: unset, Handler: s.removeTrait},
	}
}

// traitRule lets a trait pass.
func traitRule(v any) string {
	if s, ok := v.(string); ok && node.ValidTrait(s) == nil {
		return ""
	}
	if _, ok := v.(string); !ok {
		return typeRule("string")(v)
	}
	return repr(v) + " is not valid under any of the given schemas. Possible root cause: " + repr(v) + " does not match '" + node.CustomTrait.String() + "'"
}

// readTraits reads {"traits": [...]} from the body: sorted, each once.
func readTraits(r *rest.Request) ([]string, error) {
	o, err := body(r, false, "traits")
	if err != nil {
		return nil, err
	}
	v, ok := o["traits"]
	if !ok {
		return nil, invalid("Schema error for body: 'traits' is a required property")
	}
	if why := listRule(traitRule, 0)(v); why != "" {
		return nil, invalid("Schema error for body: %s", why)
	}
	traits := texts(v)
	slices.Sort(traits)
	return slices.Compact(traits), nil
}

// texts returns the strings of a JSON list of strings.
func texts(v any) []string {
	list, _ := v.([]any)
	out := make([]string, 0, len(list))
	for _, e := range list {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// listTraits answers GET /v1/nodes/{node}/traits.
func (s *service) listTraits(r *rest.Request) (*rest.Response, error) {
	var traits []string
	err := s.read(r, func(ctx context.Context, tx *store.Tx) error {
		n, err := nodeOf(ctx, r, tx.Node)
		if err != nil {
			return err
		}
		traits, err = tx.Traits(ctx, n.UUID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(rest.AppendValue(nil, object{"traits": traits})), nil
}

// changeTraits runs change on the node that the path names, which nobody else works on.
func (s *service) changeTraits(r *rest.Request, change func(ctx context.Context, tx *store.Tx, n *node.Node) error) (*rest.Response, error) {
	err := s.write(r, func(ctx context.Context, tx *store.Tx) error {
		n, err := nodeOf(ctx, r, tx.NodeForUpdate)
		if err != nil {
			return err
		}
		if n.Reservation != "" {
			return conductor.Locked(n)
		}
		if err := change(ctx, tx, n); err != nil {
			return err
		}
		traits, err := tx.Traits(ctx, n.UUID)
		if err == nil && len(traits) > node.MaxTraits {
			err = invalid("Node %s would have %d traits: at most %d are allowed.", n.UUID, len(traits), node.MaxTraits)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}

// setTraits answers PUT /v1/nodes/{node}/traits.
func (s *service) setTraits(r *rest.Request) (*rest.Response, error) {
	traits, err := readTraits(r)
	if err != nil {
		return nil, err
	}
	return s.changeTraits(r, func(ctx context.Context, tx *store.Tx, n *node.Node) error { return tx.SetTraits(ctx, n.UUID, traits) })
}

// addTrait answers PUT /v1/nodes/{node}/traits/{trait}.
func (s *service) addTrait(r *rest.Request) (*rest.Response, error) {
	trait := r.PathValue("trait")
	if len(r.Body) > 0 {
		return nil, invalid("No body should be provided when setting a trait individually")
	}
	if why := traitRule(trait); why != "" {
		return nil, invalid("Schema error for trait: %s", why)
	}
	resp, err := s.changeTraits(r, func(ctx context.Context, tx *store.Tx, n *node.Node) error { return tx.AddTrait(ctx, n.UUID, trait) })
	if err == nil {
		resp.Location = r.Endpoint() + "/v1/nodes/" + r.PathValue("node") + "/traits/" + trait
	}
	return resp, err
}

// removeTraits answers DELETE /v1/nodes/{node}/traits.
func (s *service) removeTraits(r *rest.Request) (*rest.Response, error) {
	return s.changeTraits(r, func(ctx context.Context, tx *store.Tx, n *node.Node) error { return tx.SetTraits(ctx, n.UUID, nil) })
}

// removeTrait answers DELETE /v1/nodes/{node}/traits/{trait}.
func (s *service) removeTrait(r *rest.Request) (*rest.Response, error) {
	trait := r.PathValue("trait")
	return s.changeTraits(r, func(ctx context.Context, tx *store.Tx, n *node.Node) error {
		had, err := tx.RemoveTrait(ctx, n.UUID, trait)
		if err == nil && !had {
			err = fault.New(fault.NotFound, "Node %s doesn't have a trait '%s'", n.UUID, trait)
		}
		return err
	})
}
