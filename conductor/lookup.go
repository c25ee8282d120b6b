package conductor

import (
	"context"
	"net/http"
	"slices"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

// lookup finds what a step means on a node: a step of the catalog, one of the engine's own, or a method of vendor passthru.
type lookup struct {
	catalog *step.Catalog
	drivers map[string]driver.Driver
}

func (c *Conductor) lookup() lookup { return lookup{c.catalog, c.drivers} }
func (in *Intake) lookup() lookup   { return lookup{in.Catalog, in.Drivers} }

// find returns the definition of s for n in flow. The error says what n has instead.
func (l lookup) find(n *node.Node, flow node.Flow, s node.Step) (*step.Definition, error) {
	if d := ownDefinition(s); d != nil {
		return d, nil
	}
	d, err := l.catalog.Find(n, flow, s)
	if err == nil {
		return d, nil
	}
	if d := l.vendor(n, s); d != nil {
		return d, nil
	}
	return nil, err
}

// vendor returns the method of vendor passthru that s names as a step, or nil. Arguments are checked by the method itself.
func (l lookup) vendor(n *node.Node, s node.Step) *step.Definition {
	lister, ok := l.drivers[n.Driver].(driver.VendorLister)
	if !ok || s.Interface != node.Vendor {
		return nil
	}
	methods := lister.VendorMethods(n.Interfaces[node.Vendor])
	i := slices.IndexFunc(methods, func(m driver.VendorMethod) bool { return m.Name == s.Step })
	if i < 0 || len(methods[i].Methods) == 0 {
		return nil
	}
	verb := methods[i].Methods[0]
	if slices.Contains(methods[i].Methods, http.MethodPost) {
		verb = http.MethodPost
	}
	return &step.Definition{
		Interface: node.Vendor, Name: s.Step, Summary: methods[i].Description, NoRamdisk: true,
		Plan: planned("vendor passthru " + verb + " " + s.Step),
		Run: func(ctx context.Context, t *step.Task) (step.Result, error) {
			conn, err := t.Conn(ctx)
			if err != nil {
				return step.Done, err
			}
			v, err := able[driver.Vendor](conn, "vendor passthru")
			if err != nil {
				return step.Done, err
			}
			_, err = v.CallVendor(ctx, s.Step, verb, t.Args)
			return step.Done, err
		},
	}
}

// checkArgs returns every fault in the arguments of a step. A method of vendor passthru, which is in no catalog and so names no flow, checks its
// arguments itself.
func checkArgs(d *step.Definition, args node.Object) []string {
	if len(d.Flows) == 0 {
		return nil
	}
	return d.CheckArgs(args)
}
