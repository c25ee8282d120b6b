package networking

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/store"
)

var groupAttributes = set("name", "description", "stateful", "tenant_id", "project_id")

func groupView(g *store.SecurityGroup, rules []*store.SecurityRule) map[string]any {
	views := []any{}
	for _, r := range rules {
		if r.Group == g.ID {
			views = append(views, ruleView(r, g.Project))
		}
	}
	return map[string]any{
		"id": g.ID, "name": g.Name, "description": g.Description, "stateful": !g.Stateless, "shared": false, "tenant_id": g.Project, "project_id": g.Project,
		"security_group_rules": views, "tags": []any{}, "created_at": stamp(g.CreatedAt), "updated_at": stamp(g.UpdatedAt), "revision_number": g.Pending + 1,
		"riser:trouble": orNull(g.Trouble),
	}
}

// readGroups reads the groups that q selects and the subject may see, with their rules; a project's group "default" is made when it is looked for.
func readGroups(r *rest.Request, tx *store.Tx, q store.SecurityGroupQuery) ([]map[string]any, error) {
	if p := scope(r); p != "" {
		q.Project = &p
	}
	groups, err := tx.SecurityGroups(r.Context(), q)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(groups))
	for i, g := range groups {
		ids[i] = g.ID
	}
	rules, err := tx.SecurityRules(r.Context(), store.SecurityRuleQuery{Groups: ids})
	views := make([]map[string]any, len(groups))
	for i, g := range groups {
		views[i] = groupView(g, rules)
	}
	return views, err
}

func (a *api) listGroups(r *rest.Request) (*rest.Response, error) {
	var views []map[string]any
	err := a.o.DB.Write(r.Context(), func(tx *store.Tx) error {
		if _, err := tx.EnsureDefaultGroup(r.Context(), r.Subject.Project); err != nil {
			return err
		}
		var err error
		views, err = readGroups(r, tx, store.SecurityGroupQuery{UUIDs: r.Query()["id"], Name: single(r.Query()["name"])})
		return err
	})
	if err != nil {
		return nil, err
	}
	return answerList(r, "security_groups", views)
}

// group returns a group that the subject may see.
func (a *api) group(r *rest.Request, tx *store.Tx, id string) (*store.SecurityGroup, error) {
	g, err := tx.SecurityGroup(r.Context(), id)
	if err == nil {
		if p := scope(r); p != "" && p != g.Project {
			err = fault.New(fault.NotFound, "Security group %s does not exist", id)
		}
	}
	return g, as(err, "SecurityGroupNotFound", "")
}

func (a *api) showGroup(r *rest.Request) (*rest.Response, error) {
	var views []map[string]any
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) error {
		g, err := a.group(r, tx, r.PathValue("id"))
		if err != nil {
			return err
		}
		views, err = readGroups(r, tx, store.SecurityGroupQuery{UUIDs: []string{g.ID}})
		return err
	})
	if err != nil {
		return nil, err
	}
	return answerOne(r, "security_group", views[0]), nil
}

// setGroup sets what a body may set.
func setGroup(g *store.SecurityGroup, attributes map[string]json.RawMessage) error {
	stateful := !g.Stateless
	for name, dest := range map[string]any{"name": &g.Name, "description": &g.Description, "stateful": &stateful} {
		if _, err := get(attributes, name, dest); err != nil {
			return err
		}
	}
	g.Stateless = !stateful
	return nil
}

func (a *api) createGroup(r *rest.Request) (*rest.Response, error) {
	attributes, err := body(r, "security_group", groupAttributes)
	if err != nil {
		return nil, err
	}
	g := &store.SecurityGroup{SecurityGroup: network.SecurityGroup{ID: uuid.NewString(), Project: r.Subject.Project}}
	for _, name := range []string{"tenant_id", "project_id"} {
		if _, err := get(attributes, name, &g.Project); err != nil {
			return nil, err
		}
	}
	if err := setGroup(g, attributes); err != nil {
		return nil, err
	}
	var views []map[string]any
	err = a.o.DB.Write(r.Context(), func(tx *store.Tx) error {
		if g.Name == store.DefaultGroup {
			return typed{"SecurityGroupDefaultAlreadyExists", fault.New(fault.Conflict, "Default security group already exists.")}
		}
		if err := tx.InsertSecurityGroup(r.Context(), g); err != nil {
			return err
		}
		views, err = readGroups(r, tx, store.SecurityGroupQuery{UUIDs: []string{g.ID}})
		return err
	})
	if err != nil {
		return nil, err
	}
	return &rest.Response{Status: http.StatusCreated, Body: object("security_group", views[0])}, nil
}

func (a *api) updateGroup(r *rest.Request) (*rest.Response, error) {
	attributes, err := body(r, "security_group", set("name", "description", "stateful"))
	if err != nil {
		return nil, err
	}
	var views []map[string]any
	err = a.o.DB.Write(r.Context(), func(tx *store.Tx) error {
		g, err := a.group(r, tx, r.PathValue("id"))
		if err != nil {
			return err
		}
		was := g.Name
		if err := setGroup(g, attributes); err != nil {
			return err
		}
		if was != g.Name && (was == store.DefaultGroup || g.Name == store.DefaultGroup) {
			return typed{"SecurityGroupCannotUpdateDefault", fault.New(fault.Conflict, "Updating default security group not allowed.")}
		}
		if err := tx.SaveSecurityGroup(r.Context(), g); err != nil {
			return err
		}
		views, err = readGroups(r, tx, store.SecurityGroupQuery{UUIDs: []string{g.ID}})
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(object("security_group", views[0])), nil
}

func (a *api) deleteGroup(r *rest.Request) (*rest.Response, error) {
	err := a.o.DB.Write(r.Context(), func(tx *store.Tx) error {
		g, err := a.group(r, tx, r.PathValue("id"))
		if err != nil {
			return err
		}
		if g.Name == store.DefaultGroup && !r.Subject.System {
			return typed{"SecurityGroupCannotRemoveDefault", fault.New(fault.Conflict, "Insufficient rights for removing default security group.")}
		}
		return as(tx.DeleteSecurityGroup(r.Context(), g), "", "SecurityGroupInUse")
	})
	if err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}

// takeGroups puts a port into the groups that a body asks for. A new port with port security that asks for none is in its project's "default".
func (a *api) takeGroups(r *rest.Request, tx *store.Tx, p *store.VPort, attributes map[string]json.RawMessage, created bool) error {
	raw, given := attributes["security_groups"]
	given = given && string(raw) != "null"
	switch {
	case !given && created && p.PortSecurity && p.VNICType != network.VNICBaremetal:
		id, err := tx.EnsureDefaultGroup(r.Context(), p.Project)
		if err != nil {
			return err
		}
		p.Groups = []string{id}
	case !given:
		return nil
	}
	if !p.PortSecurity && len(p.Groups) > 0 {
		return typed{"PortSecurityAndIPRequiredForSecurityGroups", fault.New(fault.Invalid,
			"Port security must be enabled and port must have an IP address in order to use security groups.")}
	}
	slices.Sort(p.Groups)
	p.Groups = slices.Compact(p.Groups)
	return as(inScope(r.Context(), r, tx, p.ID, p.Groups), "SecurityGroupNotFound", "")
}

func inScope(ctx context.Context, r *rest.Request, tx *store.Tx, port string, groups []string) error {
	if project := scope(r); project != "" {
		list, err := tx.SecurityGroups(ctx, store.SecurityGroupQuery{UUIDs: groups, Project: &project})
		if err != nil {
			return err
		}
		for _, id := range groups {
			if !slices.ContainsFunc(list, func(g *store.SecurityGroup) bool { return g.ID == id }) {
				return fault.New(fault.NotFound, "Security group %s does not exist", id)
			}
		}
	}
	return tx.SetPortGroups(ctx, port, groups)
}
