package baremetal

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func (s *service) runbookRoutes() []rest.Route {
	const all, one = "/v1/runbooks", "/v1/runbooks/{runbook}"
	const get, update = "baremetal:runbook:get", "baremetal:runbook:update"
	k := &runbookKind
	return []rest.Route{
		{Method: http.MethodGet, Pattern: all, Since: mvRunbooks, Policy: "baremetal:runbook:list", Query: append(slices.Clone(pageKeys), "project"), Handler: k.lists(s)},
		{Method: http.MethodPost, Pattern: all, Since: mvRunbooks, Policy: "baremetal:runbook:create", Handler: k.creates(s)},
		{Method: http.MethodGet, Pattern: one, Since: mvRunbooks, Policy: get, Query: []string{"fields"}, Handler: k.shows(s)},
		{Method: http.MethodPatch, Pattern: one, Since: mvRunbooks, Policy: update, ContentType: patchType, Handler: k.patches(s)},
		{Method: http.MethodDelete, Pattern: one, Since: mvRunbooks, Policy: "baremetal:runbook:delete", Handler: k.deletes(s)},
		{Method: http.MethodGet, Pattern: one + "/traits", Since: mvRunbookTraits, Policy: get, Handler: s.listRunbookTraits},
		{Method: http.MethodPut, Pattern: one + "/traits", Since: mvRunbookTraits, Policy: update, Handler: s.setRunbookTraits},
		{Method: http.MethodDelete, Pattern: one + "/traits", Since: mvRunbookTraits, Policy: update, Handler: s.removeRunbookTraits},
		{Method: http.MethodPut, Pattern: one + "/traits/{trait}", Since: mvRunbookTraits, Policy: update, Handler: s.addRunbookTrait},
		{Method: http.MethodDelete, Pattern: one + "/traits/{trait}", Since: mvRunbookTraits, Policy: update, Handler: s.removeRunbookTrait},
	}
}

type runbookView struct {
	UUID           string      `json:"uuid"`
	CreatedAt      time.Time   `json:"created_at"`
	UpdatedAt      time.Time   `json:"updated_at"`
	Name           string      `json:"name"`
	Extra          node.Object `json:"extra"`
	Public         bool        `json:"public"`
	Owner          string      `json:"owner" zero:"null"`
	DisableRamdisk bool        `json:"disable_ramdisk"`
	Description    string      `json:"description" since:"112" zero:"null"`
	Links          links       `json:"links"`
	Steps          []any       `json:"steps"`
	Traits         []string    `json:"traits" since:"112"`
}

type rb = node.Runbook

var runbookForm = form[rb]{name: "runbook", fields: []field[rb]{
	textField("uuid", 1, onCreate, isUUID, func(b *rb) *string { return &b.UUID }),
	required(textField("name", 1, always, mustText(1, 255), func(b *rb) *string { return &b.Name })),
	stepsField("order", []string{"order"}, func(b *rb) *[]node.Step { return &b.Steps }),
	boolField("disable_ramdisk", 1, always, func(b *rb) *bool { return &b.DisableRamdisk }),
	boolField("public", 1, always, func(b *rb) *bool { return &b.Public }),
	textField("owner", 1, always, isText, func(b *rb) *string { return &b.Owner }),
	objectField("extra", 1, always, func(b *rb) *node.Object { return &b.Extra }),
	textField("description", mvRunbookTraits, always, isText, func(b *rb) *string { return &b.Description }),
}}

var runbookKind = kind[rb, runbookView]{
	path: "runbooks", key: "runbooks", param: "runbook", brief: []string{"uuid", "name", "links"},
	form: &runbookForm, view: rest.NewView[runbookView](), sortable: store.SortableRunbookColumn,
	show: func(b *rb, r *rest.Request) *runbookView {
		return &runbookView{
			UUID: b.UUID, CreatedAt: b.CreatedAt, UpdatedAt: b.UpdatedAt, Name: b.Name, Extra: b.Extra, Public: b.Public, Owner: b.Owner,
			DisableRamdisk: b.DisableRamdisk, Description: b.Description, Steps: stepList(b.Steps, "order"), Traits: b.Traits,
			Links: links{base: r.Endpoint(), path: "runbooks", id: b.UUID},
		}
	},
	record: func(b *rb) *node.Record { return &b.Record },
	fresh:  func() *rb { return &rb{} },
	find:   findRunbook,
	list: func(ctx context.Context, tx *store.Tx, r *rest.Request, p store.Page) ([]*rb, error) {
		q := store.RunbookQuery{Project: r.Query().Get("project"), Page: p}
		if err := pin(r, "baremetal:runbook:list_all", &q.Project); err != nil {
			return nil, err
		}
		return tx.Runbooks(ctx, q)
	},
	check: checkRunbook, insert: (*store.Tx).InsertRunbook, save: (*store.Tx).SaveRunbook,
	remove: func(ctx context.Context, tx *store.Tx, _ *rest.Request, b *rb) error {
		return tx.DeleteRunbook(ctx, b.UUID)
	},
}

func findRunbook(ctx context.Context, tx *store.Tx, r *rest.Request, ref string) (*rb, error) {
	b, err := tx.Runbook(ctx, canonical(ref))
	if err != nil {
		return nil, err
	}
	return b, r.Permit(b)
}

func checkRunbook(ctx context.Context, tx *store.Tx, r *rest.Request, e edit[rb]) error {
	b := e.v
	if e.of("name") {
		if err := checkRunbookName(ctx, tx, r, b); err != nil {
			return err
		}
	}
	if e.old == nil && !r.Subject.System && !b.Public {
		b.Owner = r.Subject.Project
	}
	if b.Public && b.Owner != "" {
		if e.old == nil || !e.of("public") || e.of("owner") {
			return invalid("A public runbook can not have an owner.")
		}
		b.Owner = "" // made public: it is nobody's from now on
	}
	if e.old == nil {
		return nil
	}
	for _, field := range []string{"public", "owner"} {
		if !e.of(field) {
			continue
		}
		if err := r.PermitRule("baremetal:runbook:update:"+field, e.old); err != nil {
			return err
		}
	}
	return nil
}

func checkRunbookName(ctx context.Context, tx *store.Tx, r *rest.Request, b *rb) error {
	if r.Version < mvRunbookTraits {
		if why := traitRule(b.Name); why != "" {
			return runbookForm.refuse(why)
		}
	}
	if !nameForm.MatchString(b.Name) || node.IsUUID(b.Name) {
		return runbookForm.refuse(repr(b.Name) + " is not a valid name")
	}
	other, err := tx.Runbook(ctx, b.Name)
	if err == nil && other.UUID != b.UUID {
		return conflict("A runbook with name %s already exists.", b.Name)
	}
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// listRunbookTraits answers GET /v1/runbooks/{runbook}/traits.
func (s *service) listRunbookTraits(r *rest.Request) (*rest.Response, error) {
	var b *rb
	err := s.read(r, func(ctx context.Context, tx *store.Tx) (err error) {
		b, err = findRunbook(ctx, tx, r, r.PathValue("runbook"))
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(rest.AppendValue(nil, object{"traits": append([]string{}, b.Traits...)})), nil
}

// changeRunbookTraits replaces the traits of the runbook in the path by what change makes of them.
func (s *service) changeRunbookTraits(r *rest.Request, change func(traits []string) ([]string, error)) (*rest.Response, error) {
	err := s.write(r, func(ctx context.Context, tx *store.Tx) error {
		b, err := findRunbook(ctx, tx, r, r.PathValue("runbook"))
		if err != nil {
			return err
		}
		if b.Traits, err = change(slices.Clone(b.Traits)); err != nil {
			return err
		}
		slices.Sort(b.Traits)
		b.Traits = slices.Compact(b.Traits)
		if len(b.Traits) > node.MaxTraits {
			return invalid("Runbook %s would have %d traits: at most %d are allowed.", b.UUID, len(b.Traits), node.MaxTraits)
		}
		return tx.SaveRunbook(ctx, b)
	})
	if err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}

// setRunbookTraits answers PUT /v1/runbooks/{runbook}/traits.
func (s *service) setRunbookTraits(r *rest.Request) (*rest.Response, error) {
	traits, err := readTraits(r)
	if err != nil {
		return nil, err
	}
	return s.changeRunbookTraits(r, func([]string) ([]string, error) { return traits, nil })
}

// addRunbookTrait answers PUT /v1/runbooks/{runbook}/traits/{trait}.
func (s *service) addRunbookTrait(r *rest.Request) (*rest.Response, error) {
	trait := r.PathValue("trait")
	if len(r.Body) > 0 {
		return nil, invalid("No body should be provided when setting a trait individually")
	}
	if why := traitRule(trait); why != "" {
		return nil, invalid("Schema error for trait: %s", why)
	}
	resp, err := s.changeRunbookTraits(r, func(old []string) ([]string, error) { return append(old, trait), nil })
	if err == nil {
		resp.Location = r.Endpoint() + "/v1/runbooks/" + r.PathValue("runbook") + "/traits/" + trait
	}
	return resp, err
}

// removeRunbookTraits answers DELETE /v1/runbooks/{runbook}/traits.
func (s *service) removeRunbookTraits(r *rest.Request) (*rest.Response, error) {
	return s.changeRunbookTraits(r, func([]string) ([]string, error) { return nil, nil })
}

// removeRunbookTrait answers DELETE /v1/runbooks/{runbook}/traits/{trait}.
func (s *service) removeRunbookTrait(r *rest.Request) (*rest.Response, error) {
	trait := r.PathValue("trait")
	return s.changeRunbookTraits(r, func(old []string) ([]string, error) {
		i := slices.Index(old, trait)
		if i < 0 {
			return nil, fault.New(fault.NotFound, "Runbook %s doesn't have a trait '%s'", r.PathValue("runbook"), trait)
		}
		return slices.Delete(old, i, i+1), nil
	})
}
