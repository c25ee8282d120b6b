package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
)

// ClaimPF takes a PF of a card as a whole for c, all of whose fields are set. It is for machines on which no agent reports PFs. The card's rows are
// held until the transaction ends. The error is fault.Conflict when the PF or a function of it is claimed.
func (tx *Tx) ClaimPF(ctx context.Context, c *Claim) error {
	// A claim of a VF holds the row of its PF; where there is such a row, this waits for it.
	if _, err := tx.HostPFs(ctx, PFQuery{Serial: c.Card, Lock: true}); err != nil {
		return err
	}
	var taken int
	err := tx.queryRow(ctx, "SELECT COUNT(*) FROM claims WHERE card = ? AND pf_mac = ?", c.Card, c.PFMAC).Scan(&taken)
	if err != nil {
		return err
	}
	if taken > 0 {
		return fault.New(fault.Conflict, "PF %s of card %s is in use: %d of its functions are claimed.", c.PF, c.Card, taken)
	}
	c.CreatedAt = tx.Now()
	query, args, err := claims.insert(c)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, query, args...)
	if isUnique(err) {
		return &fault.Error{Kind: fault.Conflict, Err: err, Text: "PF " + c.PF + " of card " + c.Card + " is in use."}
	}
	return err
}

// PortBinding is a binding of a port that is prepared and not in force: to the host that a server is about to move to, or that it has left. The one in
// force is in the port itself.
type PortBinding struct {
	Port      string
	Host      string
	VNICType  string
	Profile   network.Profile
	VIFType   string
	Reason    string // why it failed
	CreatedAt time.Time
	UpdatedAt time.Time
}

var portBindings = table[PortBinding]{"port_bindings", []column[PortBinding]{
	text("port", func(b *PortBinding) *string { return &b.Port }),
	text("host", func(b *PortBinding) *string { return &b.Host }),
	text("vnic_type", func(b *PortBinding) *string { return &b.VNICType }),
	jsonText("profile", func(b *PortBinding) *network.Profile { return &b.Profile }),
	text("vif_type", func(b *PortBinding) *string { return &b.VIFType }),
	text("reason", func(b *PortBinding) *string { return &b.Reason }),
	when("created_at", func(b *PortBinding) *time.Time { return &b.CreatedAt }),
	when("updated_at", func(b *PortBinding) *time.Time { return &b.UpdatedAt }),
}}

// PortBindings returns the bindings of a port that are not in force, in the order of their creation; the one to host alone unless that is empty.
func (tx *Tx) PortBindings(ctx context.Context, port, host string) ([]*PortBinding, error) {
	w := &where{}
	w.equal("port", port)
	w.equal("host", host)
	var list []*PortBinding
	err := tx.each(ctx, "SELECT "+portBindings.names("", nil)+" FROM port_bindings"+w.sql()+" ORDER BY id", w.args, func(rows *sql.Rows) error {
		b := &PortBinding{}
		list = append(list, b)
		return rows.Scan(portBindings.dests(b, nil)...)
	})
	return list, err
}

// SavePortBinding writes b in place of the port's binding to the same host.
func (tx *Tx) SavePortBinding(ctx context.Context, b *PortBinding) error {
	b.UpdatedAt = tx.Now()
	if b.CreatedAt.IsZero() {
		b.CreatedAt = b.UpdatedAt
	}
	query, args, err := portBindings.insert(b)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, query+` ON CONFLICT (port, host) DO UPDATE SET vnic_type = excluded.vnic_type, profile = excluded.profile,
		vif_type = excluded.vif_type, reason = excluded.reason, updated_at = excluded.updated_at`, args...)
	return err
}

// DeletePortBindings removes the port's binding to a host, or all that are not in force when host is empty.
func (tx *Tx) DeletePortBindings(ctx context.Context, port, host string) error {
	w := &where{}
	w.add("port = ?", port)
	w.equal("host", host)
	_, err := tx.exec(ctx, "DELETE FROM port_bindings"+w.sql(), w.args...)
	return err
}
