package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/google/uuid"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
)

// DefaultGroup is the name of the security group that every project has.
const DefaultGroup = "default"

// SecurityGroup is a security group, without its rules, and how far the backend is with it.
type SecurityGroup struct {
	network.SecurityGroup
	Description string
	Pending     int64  // not 0 while the backend must still be told; rises with each change
	Trouble     string // why the backend could not be told
	Deleted     bool   // to be removed, first from the backend
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// SecurityRule is a rule of a security group.
type SecurityRule struct {
	network.Rule
	Group       string
	Description string
	CreatedAt   time.Time
}

type (
	sg = SecurityGroup
	sr = SecurityRule
)

var securityGroups = table[sg]{"security_groups", []column[sg]{
	text("uuid", func(g *sg) *string { return &g.ID }),
	text("name", func(g *sg) *string { return &g.Name }),
	text("description", func(g *sg) *string { return &g.Description }),
	text("project", func(g *sg) *string { return &g.Project }),
	boolean("stateless", func(g *sg) *bool { return &g.Stateless }),
	number("pending", func(g *sg) *int64 { return &g.Pending }),
	text("trouble", func(g *sg) *string { return &g.Trouble }),
	boolean("deleted", func(g *sg) *bool { return &g.Deleted }),
	when("created_at", func(g *sg) *time.Time { return &g.CreatedAt }),
	when("updated_at", func(g *sg) *time.Time { return &g.UpdatedAt }),
}}

var securityRules = table[sr]{"security_group_rules", []column[sr]{
	text("uuid", func(r *sr) *string { return &r.ID }),
	text("security_group", func(r *sr) *string { return &r.Group }),
	text("direction", func(r *sr) *string { return &r.Direction }),
	text("ethertype", func(r *sr) *string { return &r.EtherType }),
	text("protocol", func(r *sr) *string { return &r.Protocol }),
	countOrNull("port_min", func(r *sr) **int { return &r.PortMin }),
	countOrNull("port_max", func(r *sr) **int { return &r.PortMax }),
	text("remote_prefix", func(r *sr) *string { return &r.RemotePrefix }),
	text("remote_group", func(r *sr) *string { return &r.RemoteGroup }),
	text("description", func(r *sr) *string { return &r.Description }),
	when("created_at", func(r *sr) *time.Time { return &r.CreatedAt }),
}}

// countOrNull is a column that may be NULL, which a nil pointer stands for.
func countOrNull[T any](name string, f func(*T) **int) column[T] {
	return column[T]{name, func(v *T) (any, error) {
		if *f(v) == nil {
			return nil, nil
		}
		return **f(v), nil
	}, func(v *T) any { return f(v) }}
}

// SecurityGroupQuery selects security groups. The zero value selects all that are not deleted, in the order of their creation.
type SecurityGroupQuery struct {
	UUIDs   []string
	Name    string
	Project *string
	Pending bool // only those that the backend must still be told of, deleted ones too
	Limit   int  // 0 means no limit
}

// SecurityGroups returns the groups that q selects, with their rules.
func (tx *Tx) SecurityGroups(ctx context.Context, q SecurityGroupQuery) ([]*SecurityGroup, error) {
	w := &where{}
	in(w, "uuid", q.UUIDs)
	w.equal("name", q.Name)
	if q.Project != nil {
		w.add("project = ?", *q.Project)
	}
	if q.Pending {
		w.add("pending <> 0")
	} else {
		w.add("deleted = 0")
	}
	order, err := tx.keyset(ctx, w, keyset{table: "security_groups", key: "id", limit: q.Limit})
	if err != nil {
		return nil, err
	}
	var list []*SecurityGroup
	of := map[string]*SecurityGroup{}
	err = tx.each(ctx, "SELECT "+securityGroups.names("", nil)+" FROM security_groups"+w.sql()+order, w.args, func(rows *sql.Rows) error {
		g := &SecurityGroup{}
		list = append(list, g)
		return rows.Scan(securityGroups.dests(g, nil)...)
	})
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(list))
	for i, g := range list {
		ids[i], of[g.ID] = g.ID, g
	}
	rules, err := tx.SecurityRules(ctx, SecurityRuleQuery{Groups: ids})
	for _, r := range rules {
		of[r.Group].Rules = append(of[r.Group].Rules, r.Rule)
	}
	return list, err
}

// SecurityGroup returns the group with this UUID. The error is fault.NotFound when there is none.
func (tx *Tx) SecurityGroup(ctx context.Context, id string) (*SecurityGroup, error) {
	list, err := tx.SecurityGroups(ctx, SecurityGroupQuery{UUIDs: []string{id}})
	if err == nil && len(list) == 0 {
		err = fault.New(fault.NotFound, "Security group %s does not exist", id)
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// EnsureDefaultGroup returns the UUID of a project's group "default", and makes it when there is none: what its ports send is allowed, and what they
// get from each other.
func (tx *Tx) EnsureDefaultGroup(ctx context.Context, project string) (string, error) {
	list, err := tx.SecurityGroups(ctx, SecurityGroupQuery{Name: DefaultGroup, Project: &project, Limit: 1})
	if err != nil {
		return "", err
	}
	if len(list) > 0 {
		return list[0].ID, nil
	}
	g := &SecurityGroup{SecurityGroup: network.SecurityGroup{ID: uuid.NewString(), Name: DefaultGroup, Project: project}, Description: "Default security group"}
	if err := tx.InsertSecurityGroup(ctx, g); err != nil {
		return "", err
	}
	for _, ether := range []string{network.IPv4, network.IPv6} {
		r := &SecurityRule{Rule: network.Rule{ID: uuid.NewString(), Direction: network.Ingress, EtherType: ether, RemoteGroup: g.ID}, Group: g.ID}
		if err := tx.InsertSecurityRule(ctx, r); err != nil {
			return "", err
		}
	}
	return g.ID, nil
}

// InsertSecurityGroup adds g, which the backend is to be told of, with rules that allow everything its ports send.
func (tx *Tx) InsertSecurityGroup(ctx context.Context, g *SecurityGroup) error {
	g.CreatedAt, g.UpdatedAt, g.Pending = tx.Now(), tx.Now(), 1
	query, args, err := securityGroups.insert(g)
	if err != nil {
		return err
	}
	if _, err := tx.exec(ctx, query, args...); err != nil {
		if isUnique(err) {
			return &fault.Error{Kind: fault.Conflict, Err: err, Text: "Default security group already exists."}
		}
		return err
	}
	for _, ether := range []string{network.IPv4, network.IPv6} {
		r := &SecurityRule{Rule: network.Rule{ID: uuid.NewString(), Direction: network.Egress, EtherType: ether}, Group: g.ID}
		if err := tx.InsertSecurityRule(ctx, r); err != nil {
			return err
		}
		g.Rules = append(g.Rules, r.Rule)
	}
	return nil
}

// SaveSecurityGroup writes all of g but its rules, and has the backend told.
func (tx *Tx) SaveSecurityGroup(ctx context.Context, g *SecurityGroup) error {
	g.UpdatedAt = tx.Now()
	g.Pending++
	set, args, err := securityGroups.set(g)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, "UPDATE security_groups SET "+set+" WHERE uuid = ?", append(args, g.ID)...)
	tx.Wake(TopicPorts)
	return err
}

// DeleteSecurityGroup marks a group to be removed. It is fault.Conflict while ports are in it or rules of other groups name it.
func (tx *Tx) DeleteSecurityGroup(ctx context.Context, g *SecurityGroup) error {
	var used int
	err := tx.queryRow(ctx, "SELECT (SELECT COUNT(*) FROM vport_groups WHERE security_group = ?) + (SELECT COUNT(*) FROM security_group_rules WHERE remote_group = ? AND security_group <> ?)",
		g.ID, g.ID, g.ID).Scan(&used)
	if err != nil {
		return err
	}
	if used > 0 {
		return fault.New(fault.Conflict, "Security group %s in use.", g.ID)
	}
	g.Deleted = true
	return tx.SaveSecurityGroup(ctx, g)
}

// SecurityGroupTold notes that the backend was told of the group as it was when it had this Pending; a deleted group is gone then.
func (tx *Tx) SecurityGroupTold(ctx context.Context, g *SecurityGroup) error {
	if g.Deleted {
		_, err := tx.exec(ctx, "DELETE FROM security_groups WHERE uuid = ?", g.ID)
		return err
	}
	_, err := tx.exec(ctx, "UPDATE security_groups SET pending = 0, trouble = '' WHERE uuid = ? AND pending = ?", g.ID, g.Pending)
	return err
}

// SecurityGroupTrouble notes why the backend could not be told of the group.
func (tx *Tx) SecurityGroupTrouble(ctx context.Context, id, why string) error {
	_, err := tx.exec(ctx, "UPDATE security_groups SET trouble = ? WHERE uuid = ?", why, id)
	return err
}

// SecurityRuleQuery selects rules. The zero value selects all, in the order of their creation.
type SecurityRuleQuery struct {
	UUID   string
	Groups []string
}

// SecurityRules returns the rules that q selects.
func (tx *Tx) SecurityRules(ctx context.Context, q SecurityRuleQuery) ([]*SecurityRule, error) {
	w := &where{}
	w.equal("uuid", q.UUID)
	in(w, "security_group", q.Groups)
	var list []*SecurityRule
	err := tx.each(ctx, "SELECT "+securityRules.names("", nil)+" FROM security_group_rules"+w.sql()+" ORDER BY id", w.args, func(rows *sql.Rows) error {
		r := &SecurityRule{}
		list = append(list, r)
		return rows.Scan(securityRules.dests(r, nil)...)
	})
	return list, err
}

// InsertSecurityRule adds r and has the backend told of its group.
func (tx *Tx) InsertSecurityRule(ctx context.Context, r *SecurityRule) error {
	r.CreatedAt = tx.Now()
	query, args, err := securityRules.insert(r)
	if err != nil {
		return err
	}
	if _, err := tx.exec(ctx, query, args...); err != nil {
		return err
	}
	return tx.touchGroup(ctx, r.Group)
}

// DeleteSecurityRule removes r and has the backend told of its group.
func (tx *Tx) DeleteSecurityRule(ctx context.Context, r *SecurityRule) error {
	if _, err := tx.exec(ctx, "DELETE FROM security_group_rules WHERE uuid = ?", r.ID); err != nil {
		return err
	}
	return tx.touchGroup(ctx, r.Group)
}

func (tx *Tx) touchGroup(ctx context.Context, id string) error {
	_, err := tx.exec(ctx, "UPDATE security_groups SET pending = pending + 1, updated_at = ? WHERE uuid = ?", toMicros(tx.Now()), id)
	tx.Wake(TopicPorts)
	return err
}

// SetPortGroups makes groups the whole of the groups that a port is in. The error is fault.NotFound when one of them does not exist.
func (tx *Tx) SetPortGroups(ctx context.Context, port string, groups []string) error {
	if _, err := tx.exec(ctx, "DELETE FROM vport_groups WHERE port = ?", port); err != nil {
		return err
	}
	for _, g := range groups {

		n, err := tx.exec(ctx, `INSERT INTO vport_groups (security_group, port)
			SELECT uuid, ? FROM security_groups WHERE uuid = ? AND deleted = 0 ON CONFLICT (security_group, port) DO NOTHING`, port, g)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.NotFound, "Security group %s does not exist", g)
		}
	}
	return nil
}
