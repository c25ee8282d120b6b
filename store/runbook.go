package store

import (
	"context"

	"github.com/riser-project/riser/node"
)

type nrb = node.Runbook

var runbooks = newResource("runbooks", "Runbook", func(b *nrb) *node.Record { return &b.Record },
	text("name", func(b *nrb) *string { return &b.Name }),
	jsonText("steps", func(b *nrb) *[]node.Step { return &b.Steps }),
	boolean("disable_ramdisk", func(b *nrb) *bool { return &b.DisableRamdisk }),
	boolean("public", func(b *nrb) *bool { return &b.Public }),
	text("owner", func(b *nrb) *string { return &b.Owner }),
	jsonText("extra", func(b *nrb) *node.Object { return &b.Extra }),
	text("description", func(b *nrb) *string { return &b.Description }),
	jsonText("traits", func(b *nrb) *[]string { return &b.Traits }),
)

// RunbookQuery selects runbooks. The zero value selects all.
type RunbookQuery struct {
	Project string // owned by the project, or public
	Page
}

// SortableRunbookColumn reports whether runbooks can be sorted by this API field.
func SortableRunbookColumn(name string) bool { return runbooks.sortable(name) }

// Runbook returns the runbook with this UUID or name. The error is fault.NotFound when there is none.
func (tx *Tx) Runbook(ctx context.Context, ref string) (*node.Runbook, error) {
	return runbooks.named(ctx, tx, ref)
}

// Runbooks returns the runbooks that q selects. A marker that names no runbook is fault.NotFound.
func (tx *Tx) Runbooks(ctx context.Context, q RunbookQuery) ([]*node.Runbook, error) {
	w := &where{}
	if q.Project != "" {
		w.add("(owner = ? OR public = 1)", q.Project)
	}
	return runbooks.list(ctx, tx, w, q.Page)
}

// InsertRunbook adds b and fills its CreatedAt. The error is fault.Conflict when its UUID or name is taken.
func (tx *Tx) InsertRunbook(ctx context.Context, b *node.Runbook) error {
	return runbooks.add(ctx, tx, b, runbookTaken)
}

// SaveRunbook writes all of b as it was read. The error is fault.Conflict when it was changed since, or its name is taken.
func (tx *Tx) SaveRunbook(ctx context.Context, b *node.Runbook) error {
	return runbooks.save(ctx, tx, b, runbookTaken)
}

func runbookTaken(b *node.Runbook) error {
	return taken("A runbook with name %s or UUID %s already exists.", b.Name, b.UUID)
}

// DeleteRunbook removes the runbook with this UUID.
func (tx *Tx) DeleteRunbook(ctx context.Context, uuid string) error {
	return runbooks.remove(ctx, tx, uuid)
}

type nir = node.InspectionRule

var inspectionRules = newResource("inspection_rules", "Inspection rule", func(r *nir) *node.Record { return &r.Record },
	text("description", func(r *nir) *string { return &r.Description }),
	count("priority", func(r *nir) *int { return &r.Priority }),
	text("phase", func(r *nir) *string { return &r.Phase }),
	boolean("sensitive", func(r *nir) *bool { return &r.Sensitive }),
	jsonText("conditions", func(r *nir) *[]any { return &r.Conditions }),
	jsonText("actions", func(r *nir) *[]any { return &r.Actions }),
)

// SortableInspectionRuleColumn reports whether inspection rules can be sorted by this API field.
func SortableInspectionRuleColumn(name string) bool { return inspectionRules.sortable(name) }

// InspectionRule returns the inspection rule with this UUID. The error is fault.NotFound when there is none.
func (tx *Tx) InspectionRule(ctx context.Context, uuid string) (*node.InspectionRule, error) {
	return inspectionRules.one(ctx, tx, "uuid", uuid)
}

// InspectionRules returns a page of the inspection rules.
func (tx *Tx) InspectionRules(ctx context.Context, p Page) ([]*node.InspectionRule, error) {
	return inspectionRules.list(ctx, tx, &where{}, p)
}

// InsertInspectionRule adds r and fills its CreatedAt. The error is fault.Conflict when its UUID is taken.
func (tx *Tx) InsertInspectionRule(ctx context.Context, r *node.InspectionRule) error {
	return inspectionRules.add(ctx, tx, r, inspectionRuleTaken)
}

// SaveInspectionRule writes all of r as it was read. The error is fault.Conflict when it was changed since.
func (tx *Tx) SaveInspectionRule(ctx context.Context, r *node.InspectionRule) error {
	return inspectionRules.save(ctx, tx, r, inspectionRuleTaken)
}

func inspectionRuleTaken(r *node.InspectionRule) error {
	return taken("An inspection rule with UUID %s already exists.", r.UUID)
}

// DeleteInspectionRule removes the inspection rule with this UUID.
func (tx *Tx) DeleteInspectionRule(ctx context.Context, uuid string) error {
	return inspectionRules.remove(ctx, tx, uuid)
}
