package baremetal

import (
	"context"
	"net/http"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func (s *service) templateRoutes() []rest.Route {
	const all, one, get = "/v1/deploy_templates", "/v1/deploy_templates/{template}", "baremetal:deploy_template:get"
	k := &templateKind
	return []rest.Route{
		{Method: http.MethodGet, Pattern: all, Since: mvTemplates, Policy: get, Query: pageKeys, Handler: k.lists(s)},
		{Method: http.MethodPost, Pattern: all, Since: mvTemplates, Policy: "baremetal:deploy_template:create", Handler: k.creates(s)},
		{Method: http.MethodGet, Pattern: one, Since: mvTemplates, Policy: get, Query: []string{"fields"}, Handler: k.shows(s)},
		{Method: http.MethodPatch, Pattern: one, Since: mvTemplates, Policy: "baremetal:deploy_template:update", ContentType: patchType, Handler: k.patches(s)},
		{Method: http.MethodDelete, Pattern: one, Since: mvTemplates, Policy: "baremetal:deploy_template:delete", Handler: k.deletes(s)},
	}
}

type templateView struct {
	UUID      string      `json:"uuid"`
	CreatedAt time.Time   `json:"created_at"`
	UpdatedAt time.Time   `json:"updated_at"`
	Name      string      `json:"name"`
	Extra     node.Object `json:"extra"`
	Links     links       `json:"links"`
	Steps     []any       `json:"steps"`
}

type tm = node.DeployTemplate

var templateForm = form[tm]{name: "deploy_template", fields: []field[tm]{
	textField("uuid", 1, onCreate, isUUID, func(t *tm) *string { return &t.UUID }),
	required(textField("name", 1, always, traitRule, func(t *tm) *string { return &t.Name })),
	stepsField("priority", []string{"args", "priority"}, func(t *tm) *[]node.Step { return &t.Steps }),
	objectField("extra", 1, always, func(t *tm) *node.Object { return &t.Extra }),
	textField("description", 1, always, isText, func(t *tm) *string { return &t.Description }),
}}

var templateKind = kind[tm, templateView]{
	path: "deploy_templates", key: "deploy_templates", param: "template", brief: []string{"uuid", "name", "links"},
	form: &templateForm, view: rest.NewView[templateView](), sortable: store.SortableTemplateColumn,
	show: func(t *tm, r *rest.Request) *templateView {
		return &templateView{
			UUID: t.UUID, CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt, Name: t.Name, Extra: t.Extra, Steps: stepList(t.Steps, "priority"),
			Links: links{base: r.Endpoint(), path: "deploy_templates", id: t.UUID},
		}
	},
	record: func(t *tm) *node.Record { return &t.Record },
	fresh:  func() *tm { return &tm{} },
	find: func(ctx context.Context, tx *store.Tx, r *rest.Request, ref string) (*tm, error) {
		t, err := tx.Template(ctx, canonical(ref))
		if err != nil {
			return nil, err
		}
		return t, r.Permit(t)
	},
	list: func(ctx context.Context, tx *store.Tx, _ *rest.Request, p store.Page) ([]*tm, error) {
		return tx.Templates(ctx, p)
	},
	check: func(ctx context.Context, tx *store.Tx, _ *rest.Request, e edit[tm]) error {
		other, err := tx.Template(ctx, e.v.Name)
		if err == nil && other.UUID != e.v.UUID {
			return conflict("A deploy template with name %s already exists.", e.v.Name)
		}
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		return err
	},
	insert: (*store.Tx).InsertTemplate, save: (*store.Tx).SaveTemplate,
	remove: func(ctx context.Context, tx *store.Tx, _ *rest.Request, t *tm) error {
		return tx.DeleteTemplate(ctx, t.UUID)
	},
}
