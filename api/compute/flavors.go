package compute

import (
	"slices"

	"github.com/google/uuid"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/store"
)

func flavorView(r *rest.Request, f *store.Flavor) map[string]any {
	v := map[string]any{
		"id": f.ID, "name": f.Name, "vcpus": f.VCPUs, "ram": f.MemoryMB, "disk": f.DiskGB, "swap": "", "rxtx_factor": 1.0, "OS-FLV-EXT-DATA:ephemeral": 0,
		"OS-FLV-DISABLED:disabled": false, "os-flavor-access:is_public": true, "links": links(r, "flavors", f.ID),
	}
	if r.Version >= vFlavorText {
		v["description"] = nil
	}
	if r.Version >= vFlavorSpecs {
		v["extra_specs"] = specs(f.ExtraSpecs)
	}
	if r.Version >= 75 {
		v["swap"] = 0
	}
	return v
}

// flavors reads the flavors of a page.
func (a *api) flavors(r *rest.Request, each func(*store.Flavor)) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	var list []*store.Flavor
	if err := a.o.DB.Read(r.Context(), func(tx *store.Tx) (err error) {
		list, err = tx.Flavors(r.Context())
		return err
	}); err != nil {
		return err
	}
	if marker := r.Query().Get("marker"); marker != "" {
		i := slices.IndexFunc(list, func(f *store.Flavor) bool { return f.ID == marker })
		if i < 0 {
			return invalid("marker [%s] not found", marker)
		}
		list = list[i+1:]
	}
	if limit > 0 {
		list = list[:min(limit, len(list))]
	}
	for _, f := range list {
		each(f)
	}
	return nil
}

func (a *api) listFlavors(r *rest.Request) (*rest.Response, error) {
	list := []any{}
	err := a.flavors(r, func(f *store.Flavor) {
		v := map[string]any{"id": f.ID, "name": f.Name, "links": links(r, "flavors", f.ID)}
		if r.Version >= vFlavorText {
			v["description"] = nil
		}
		list = append(list, v)
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(object("flavors", list)), nil
}

func (a *api) detailFlavors(r *rest.Request) (*rest.Response, error) {
	list := []any{}
	if err := a.flavors(r, func(f *store.Flavor) { list = append(list, flavorView(r, f)) }); err != nil {
		return nil, err
	}
	return rest.OK(object("flavors", list)), nil
}

func (a *api) flavor(r *rest.Request) (*store.Flavor, error) {
	var f *store.Flavor
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) (err error) {
		f, err = tx.Flavor(r.Context(), r.PathValue("id"))
		return err
	})
	return f, err
}

func (a *api) showFlavor(r *rest.Request) (*rest.Response, error) {
	f, err := a.flavor(r)
	if err != nil {
		return nil, err
	}
	return rest.OK(object("flavor", flavorView(r, f))), nil
}

func (a *api) extraSpecs(r *rest.Request) (*rest.Response, error) {
	f, err := a.flavor(r)
	if err != nil {
		return nil, err
	}
	return rest.OK(object("extra_specs", specs(f.ExtraSpecs))), nil
}

func (a *api) createFlavor(r *rest.Request) (*rest.Response, error) {
	var b struct {
		Flavor struct {
			ID    string `json:"id"`
			Name  string `json:"name"`
			VCPUs int    `json:"vcpus"`
			RAM   int    `json:"ram"`
			Disk  int    `json:"disk"`
		} `json:"flavor"`
	}
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	f := &store.Flavor{ID: b.Flavor.ID, Name: b.Flavor.Name, VCPUs: b.Flavor.VCPUs, MemoryMB: b.Flavor.RAM, DiskGB: b.Flavor.Disk}
	if f.ID == "" || f.ID == "auto" {
		f.ID = uuid.NewString()
	}
	if f.Name == "" || f.VCPUs < 1 || f.MemoryMB < 1 || f.DiskGB < 0 {
		return nil, invalid("Invalid input for field/attribute flavor: it needs a name, vcpus of 1 or more, ram of 1 MB or more, and disk of 0 GB or more.")
	}
	if err := a.o.DB.Write(r.Context(), func(tx *store.Tx) error { return tx.InsertFlavor(r.Context(), f) }); err != nil {
		return nil, err
	}
	return rest.OK(object("flavor", flavorView(r, f))), nil
}

func (a *api) deleteFlavor(r *rest.Request) (*rest.Response, error) {
	err := a.o.DB.Write(r.Context(), func(tx *store.Tx) error { return tx.DeleteFlavor(r.Context(), r.PathValue("id")) })
	if err != nil {
		return nil, err
	}
	return rest.Accepted(""), nil
}
