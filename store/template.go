package store

import (
	"context"

	"github.com/riser-project/riser/node"
)

type ntm = node.DeployTemplate

var templates = newResource("deploy_templates", "Deploy template", func(t *ntm) *node.Record { return &t.Record },
	text("name", func(t *ntm) *string { return &t.Name }),
	jsonText("steps", func(t *ntm) *[]node.Step { return &t.Steps }),
	jsonText("extra", func(t *ntm) *node.Object { return &t.Extra }),
	text("description", func(t *ntm) *string { return &t.Description }),
)

// SortableTemplateColumn reports whether deploy templates can be sorted by this API field.
func SortableTemplateColumn(name string) bool { return templates.sortable(name) }

// Template returns the deploy template with this UUID or name. The error is fault.NotFound when there is none.
func (tx *Tx) Template(ctx context.Context, ref string) (*node.DeployTemplate, error) {
	return templates.named(ctx, tx, ref)
}

// Templates returns a page of the deploy templates.
func (tx *Tx) Templates(ctx context.Context, p Page) ([]*node.DeployTemplate, error) {
	return templates.list(ctx, tx, &where{}, p)
}

// TemplatesNamed returns the deploy templates with these names: those that apply to an instance with these traits.
func (tx *Tx) TemplatesNamed(ctx context.Context, names []string) ([]*node.DeployTemplate, error) {
	w := &where{}
	in(w, "name", append([]string{}, names...))
	return templates.list(ctx, tx, w, Page{})
}

// InsertTemplate adds t and fills its CreatedAt. The error is fault.Conflict when its UUID or name is taken.
func (tx *Tx) InsertTemplate(ctx context.Context, t *node.DeployTemplate) error {
	return templates.add(ctx, tx, t, templateTaken)
}

// SaveTemplate writes all of t as it was read. The error is fault.Conflict when it was changed since, or its name is taken.
func (tx *Tx) SaveTemplate(ctx context.Context, t *node.DeployTemplate) error {
	return templates.save(ctx, tx, t, templateTaken)
}

func templateTaken(t *node.DeployTemplate) error {
	return taken("A deploy template with name %s or UUID %s already exists.", t.Name, t.UUID)
}

// DeleteTemplate removes the deploy template with this UUID.
func (tx *Tx) DeleteTemplate(ctx context.Context, uuid string) error {
	return templates.remove(ctx, tx, uuid)
}
