package baremetal

import (
	"context"

	"github.com/google/uuid"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// kind is a resource that is listed, shown, created, patched and deleted in the common way. T is the resource, V its view.
type kind[T, V any] struct {
	path  string   // below /v1: "volume/targets"
	key   string   // of lists: "targets"
	param string   // of the path that names one: "target"
	brief []string // fields of a list that was not asked for others

	form     *form[T]
	view     *rest.View[V]
	show     func(v *T, r *rest.Request) *V
	record   func(*T) *node.Record
	sortable func(field string) bool

	fresh func() *T        // a new one, with its defaults
	owner func(*T) *string // place of the UUID of the node it belongs to; nil if it belongs to none
	ident bool             // a new one may name its node as node_ident

	find   func(ctx context.Context, tx *store.Tx, r *rest.Request, ref string) (*T, error) // one that the subject may use
	list   func(ctx context.Context, tx *store.Tx, r *rest.Request, p store.Page) ([]*T, error)
	check  func(ctx context.Context, tx *store.Tx, r *rest.Request, c edit[T]) error
	insert func(tx *store.Tx, ctx context.Context, v *T) error
	save   func(tx *store.Tx, ctx context.Context, v *T) error
	remove func(ctx context.Context, tx *store.Tx, r *rest.Request, v *T) error
}

// edit is a new resource, or a changed one.
type edit[T any] struct {
	old     *T // nil for a new one
	v       *T
	touched []string // fields of a patch
}

// of reports whether the edit writes one of the fields.
func (e edit[T]) of(fields ...string) bool {
	if e.old == nil {
		return true
	}
	for _, t := range e.touched {
		for _, f := range fields {
			if t == f {
				return true
			}
		}
	}
	return false
}

// lists answers GET on the collection.
func (k *kind[T, V]) lists(s *service) rest.Handler {
	return func(r *rest.Request) (*rest.Response, error) {
		return k.page(s, r, k.list)
	}
}

// page answers with a page of what list finds.
func (k *kind[T, V]) page(s *service, r *rest.Request, list func(context.Context, *store.Tx, *rest.Request, store.Page) ([]*T, error)) (*rest.Response, error) {
	p, err := s.readPage(r, k.sortable)
	if err != nil {
		return nil, err
	}
	if since, _ := k.view.Since(p.sortKey); since > r.Version {
		return nil, notAcceptable()
	}
	plan, err := k.view.Plan(r.Version, p.names(k.brief...)...)
	if err != nil {
		return nil, err
	}
	var found []*T
	err = s.read(r, func(ctx context.Context, tx *store.Tx) (err error) {
		found, err = list(ctx, tx, r, p.cut())
		return err
	})
	if err != nil {
		return nil, err
	}
	last := ""
	if len(found) > 0 {
		last = k.record(found[len(found)-1]).UUID
	}
	return collection(r, k.key, p, len(found), func(b []byte, i int) []byte { return plan.Append(b, k.show(found[i], r)) }, last), nil
}

// shows answers GET on one.
func (k *kind[T, V]) shows(s *service) rest.Handler {
	return func(r *rest.Request) (*rest.Response, error) {
		var p page
		if err := p.readFields(r); err != nil {
			return nil, err
		}
		plan, err := k.view.Plan(r.Version, p.names()...)
		if err != nil {
			return nil, err
		}
		var v *T
		err = s.read(r, func(ctx context.Context, tx *store.Tx) (err error) {
			v, err = k.find(ctx, tx, r, r.PathValue(k.param))
			return err
		})
		if err != nil {
			return nil, err
		}
		return rest.OK(plan.Append(nil, k.show(v, r))), nil
	}
}

// creates answers POST on the collection.
func (k *kind[T, V]) creates(s *service) rest.Handler {
	return func(r *rest.Request) (*rest.Response, error) {
		o, err := r.Object(false)
		if err != nil {
			return nil, err
		}
		ref := ""
		if k.owner != nil {
			if ref, err = k.takeOwner(r, o); err != nil {
				return nil, err
			}
		}
		v := k.fresh()
		if err := k.form.fill(v, o, r.Version); err != nil {
			return nil, err
		}
		rec := k.record(v)
		if rec.UUID = canonical(rec.UUID); rec.UUID == "" {
			rec.UUID = uuid.NewString()
		}
		err = s.write(r, func(ctx context.Context, tx *store.Tx) error {
			if err := k.place(ctx, tx, r, v, ref); err != nil {
				return err
			}
			if err := k.check(ctx, tx, r, edit[T]{v: v}); err != nil {
				return err
			}
			return k.insert(tx, ctx, v)
		})
		if err != nil {
			return nil, err
		}
		plan, err := k.view.Plan(r.Version)
		if err != nil {
			return nil, err
		}
		return rest.Created(r.Endpoint()+"/v1/"+k.path+"/"+rec.UUID, plan.Append(nil, k.show(v, r))), nil
	}
}

// takeOwner takes the node that a new resource belongs to out of the body: node_uuid, or from 1.94 on node_ident where that is known.
func (k *kind[T, V]) takeOwner(r *rest.Request, o map[string]any) (string, error) {
	if v, ok := o["node_ident"]; ok && k.ident {
		if err := need(r, mvPortNodeName); err != nil {
			return "", err
		}
		delete(o, "node_ident")
		if why := mustText(1, 255)(v); why != "" {
			return "", k.form.refuse(why)
		}
		return v.(string), nil
	}
	v, ok := o["node_uuid"]
	if !ok {
		return "", k.form.refuse("'node_uuid' is a required property")
	}
	delete(o, "node_uuid")
	if why := mustUUID(v); why != "" {
		return "", k.form.refuse(why)
	}
	return v.(string), nil
}

// place puts a new resource into the node it belongs to. That there is no such node is the client's fault here.
func (k *kind[T, V]) place(ctx context.Context, tx *store.Tx, r *rest.Request, v *T, ref string) error {
	if k.owner == nil {
		return r.Permit(v)
	}
	n, err := tx.Node(ctx, canonical(ref))
	if err == nil {
		err = r.Permit(n)
	}
	if fault.Is(err, fault.NotFound) {
		return invalid("Node %s could not be found.", ref)
	}
	if err == nil {
		*k.owner(v) = n.UUID
	}
	return err
}

// patches answers PATCH on one.
func (k *kind[T, V]) patches(s *service) rest.Handler {
	return func(r *rest.Request) (*rest.Response, error) {
		ops, err := readPatch(r)
		if err != nil {
			return nil, err
		}
		plan, err := k.view.Plan(r.Version)
		if err != nil {
			return nil, err
		}
		var v *T
		err = s.write(r, func(ctx context.Context, tx *store.Tx) (err error) {
			if v, err = k.find(ctx, tx, r, r.PathValue(k.param)); err != nil {
				return err
			}
			old := *v
			touched, err := k.form.patch(v, ops, r.Version)
			if err != nil || len(touched) == 0 {
				return err
			}
			if err := k.check(ctx, tx, r, edit[T]{old: &old, v: v, touched: touched}); err != nil {
				return err
			}
			return k.save(tx, ctx, v)
		})
		if err != nil {
			return nil, err
		}
		return rest.OK(plan.Append(nil, k.show(v, r))), nil
	}
}

// deletes answers DELETE on one.
func (k *kind[T, V]) deletes(s *service) rest.Handler {
	return func(r *rest.Request) (*rest.Response, error) {
		err := s.write(r, func(ctx context.Context, tx *store.Tx) error {
			v, err := k.find(ctx, tx, r, r.PathValue(k.param))
			if err != nil {
				return err
			}
			return k.remove(ctx, tx, r, v)
		})
		if err != nil {
			return nil, err
		}
		return rest.NoContent(), nil
	}
}
