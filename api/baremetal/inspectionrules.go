package baremetal

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func (s *service) inspectionRuleRoutes() []rest.Route {
	const all, one, get = "/v1/inspection_rules", "/v1/inspection_rules/{rule}", "baremetal:inspection_rule:get"
	k := &inspectionRuleKind
	return []rest.Route{
		{Method: http.MethodGet, Pattern: all, Since: mvInspectionRules, Policy: "baremetal:inspection_rule:list_all", Query: pageKeys, Handler: k.lists(s)},
		{Method: http.MethodPost, Pattern: all, Since: mvInspectionRules, Policy: "baremetal:inspection_rule:create", Handler: k.creates(s)},
		{Method: http.MethodGet, Pattern: one, Since: mvInspectionRules, Policy: get, Query: []string{"fields"}, Handler: k.shows(s)},
		{Method: http.MethodPatch, Pattern: one, Since: mvInspectionRules, Policy: "baremetal:inspection_rule:update", ContentType: patchType, Handler: k.patches(s)},
		{Method: http.MethodDelete, Pattern: one, Since: mvInspectionRules, Policy: "baremetal:inspection_rule:delete", Handler: k.deletes(s)},
	}
}

type inspectionRuleView struct {
	UUID        string    `json:"uuid"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
	Description string    `json:"description" zero:"null"`
	Priority    int       `json:"priority"`
	Sensitive   bool      `json:"sensitive"`
	Phase       string    `json:"phase" zero:"null"`
	Conditions  any       `json:"conditions"` // null when sensitive
	Actions     any       `json:"actions"`
	Links       links     `json:"links"`
}

type ir = node.InspectionRule

// mainPhase is the only phase of inspection that rules run in.
const mainPhase = "main"

const maxPriority = 9999

var (
	conditionOps = []string{"eq", "lt", "gt", "is-empty", "in-net", "matches", "contains", "one-of", "is-none", "is-true", "is-false"}
	actionOps    = []string{
		"fail", "log", "set-attribute", "extend-attribute", "del-attribute", "set-capability", "unset-capability", "add-trait", "remove-trait",
		"set-plugin-data", "extend-plugin-data", "unset-plugin-data", "set-port-attribute", "extend-port-attribute", "del-port-attribute", "api-call",
	}
	conditionRule = objectRule(
		property{"op", true, func(v any) string {
			if s, ok := v.(string); ok {
				v = strings.TrimSpace(strings.TrimPrefix(s, "!"))
			}
			return oneOf(conditionOps...)(v)
		}},
		property{"args", true, typeRule("object", "array")},
		property{"loop", false, typeRule("array", "object", "string")},
		property{"multiple", false, oneOf("any", "all", "first", "last")},
	)
	actionRule = objectRule(
		property{"op", true, oneOf(actionOps...)},
		property{"args", true, typeRule("object", "array")},
		property{"loop", false, typeRule("array", "object", "string")},
	)
)

var inspectionRuleForm = form[ir]{name: "inspection rule", fields: []field[ir]{
	textField("uuid", 1, onCreate, isUUID, func(i *ir) *string { return &i.UUID }),
	textField("description", 1, always, isText, func(i *ir) *string { return &i.Description }),
	{
		name: "priority", since: 1, when: always, check: intRule(0, maxPriority),
		get: func(i *ir) any { return float64(i.Priority) },
		set: func(i *ir, v any) { f, _ := v.(float64); i.Priority = int(f) },
	},
	{
		name: "phase", since: 1, when: always, check: orNull(oneOf(mainPhase)),
		get: func(i *ir) any { return i.Phase },
		set: func(i *ir, _ any) { i.Phase = mainPhase },
	},
	boolField("sensitive", 1, always, func(i *ir) *bool { return &i.Sensitive }),
	anyListField("conditions", listRule(conditionRule, 0), func(i *ir) *[]any { return &i.Conditions }),
	required(anyListField("actions", listRule(actionRule, 1), func(i *ir) *[]any { return &i.Actions })),
}}

func anyListField[T any](name string, check rule, p func(*T) *[]any) field[T] {
	return field[T]{
		name: name, since: 1, when: always, check: check,
		get: func(v *T) any { return append([]any{}, *p(v)...) },
		set: func(v *T, value any) { *p(v), _ = value.([]any) },
	}
}

var inspectionRuleKind = kind[ir, inspectionRuleView]{
	path: "inspection_rules", key: "inspection_rules", param: "rule", brief: []string{"uuid", "priority", "phase", "description", "links"},
	form: &inspectionRuleForm, view: rest.NewView[inspectionRuleView](), sortable: store.SortableInspectionRuleColumn,
	show: func(i *ir, r *rest.Request) *inspectionRuleView {
		v := &inspectionRuleView{
			UUID: i.UUID, CreatedAt: i.CreatedAt, UpdatedAt: i.UpdatedAt, Description: i.Description, Priority: i.Priority, Sensitive: i.Sensitive,
			Phase: i.Phase, Links: links{base: r.Endpoint(), path: "inspection", id: i.UUID},
		}
		if !i.Sensitive {
			v.Conditions, v.Actions = append([]any{}, i.Conditions...), append([]any{}, i.Actions...)
		}
		return v
	},
	record: func(i *ir) *node.Record { return &i.Record },
	fresh:  func() *ir { return &ir{Phase: mainPhase} },
	find: func(ctx context.Context, tx *store.Tx, r *rest.Request, ref string) (*ir, error) {
		if !node.IsUUID(ref) {
			return nil, invalid("Expected a UUID but received %s.", ref)
		}
		i, err := tx.InspectionRule(ctx, canonical(ref))
		if err != nil {
			return nil, err
		}
		return i, r.Permit(i)
	},
	list: func(ctx context.Context, tx *store.Tx, _ *rest.Request, p store.Page) ([]*ir, error) {
		return tx.InspectionRules(ctx, p)
	},
	check: func(_ context.Context, _ *store.Tx, _ *rest.Request, e edit[ir]) error {
		if e.old != nil && e.old.Sensitive && !e.v.Sensitive {
			return invalid("Inspection rule %s is sensitive, and that can not be unset.", e.v.UUID)
		}
		return nil
	},
	insert: (*store.Tx).InsertInspectionRule, save: (*store.Tx).SaveInspectionRule,
	remove: func(ctx context.Context, tx *store.Tx, _ *rest.Request, i *ir) error {
		return tx.DeleteInspectionRule(ctx, i.UUID)
	},
}
