package store

import (
	"context"
	"database/sql"
)

// Domain is what a host must do about a domain, and what its agent last said of it.
type Domain struct {
	Host     string
	ID       string // UUID of the server
	Revision int64  // rises with each change on the host
	Spec     DomainSpec
	Want     string // running, stopped, absent
	Hard     bool   // stop without asking the guest

	Reported int64  // the revision that was last carried out, or failed
	State    string // absent, stopped, running, paused, crashed
	Kind     string // of the failure; empty when there is none
	Error    string
}

// DomainSpec is a domain as it is to be.
type DomainSpec struct {
	Name      string           `json:"name"`
	VCPUs     int              `json:"vcpus"`
	MemoryMB  int              `json:"memory_mb"`
	Image     string           `json:"image,omitempty"`
	Functions []DomainFunction `json:"functions,omitempty"`
	Removed   []string         `json:"removed,omitempty"` // addresses of functions that are to be taken from it
}

// DomainFunction is a PCI function of a domain.
type DomainFunction struct {
	Address string `json:"address"`
	MAC     string `json:"mac"`
}

var domains = table[Domain]{"domains", []column[Domain]{
	text("host", func(d *Domain) *string { return &d.Host }),
	text("id", func(d *Domain) *string { return &d.ID }),
	number("revision", func(d *Domain) *int64 { return &d.Revision }),
	jsonText("spec", func(d *Domain) *DomainSpec { return &d.Spec }),
	text("want", func(d *Domain) *string { return &d.Want }),
	boolean("hard", func(d *Domain) *bool { return &d.Hard }),
	number("reported_revision", func(d *Domain) *int64 { return &d.Reported }),
	text("reported_state", func(d *Domain) *string { return &d.State }),
	text("reported_kind", func(d *Domain) *string { return &d.Kind }),
	text("reported_error", func(d *Domain) *string { return &d.Error }),
}}

// TopicDomains is the topic of a host's domains: its agent waits on it for new ones, and those who gave them for what became of them.
func TopicDomains(host string) string { return "domains:" + host }

// DomainQuery selects domains of a host.
type DomainQuery struct {
	Host  string // must be set
	ID    string
	After int64 // only those with a higher revision
	Lock  bool  // hold the rows against other writers until the transaction ends
}

// Domains returns the domains that q selects, by revision.
func (tx *Tx) Domains(ctx context.Context, q DomainQuery) ([]*Domain, error) {
	w := &where{}
	w.add("host = ?", q.Host)
	w.equal("id", q.ID)
	w.add("revision > ?", q.After)
	lock := ""
	if q.Lock {
		lock = " {update}"
	}
	var list []*Domain
	err := tx.each(ctx, "SELECT "+domains.names("", nil)+" FROM domains"+w.sql()+" ORDER BY revision"+lock, w.args, func(rows *sql.Rows) error {
		d := &Domain{}
		list = append(list, d)
		return rows.Scan(domains.dests(d, nil)...)
	})
	return list, err
}

// SaveDomain gives d a new revision of its host and writes it; what was reported of it stays. The host's row is held until the transaction ends, so that
// an agent which has seen a revision has seen all before it. Revisions follow the database's clock, so that they rise even after an old copy of the
// database was put back.
func (tx *Tx) SaveDomain(ctx context.Context, d *Domain) error {
	if _, err := tx.Hosts(ctx, HostQuery{Names: []string{d.Host}, Lock: true}); err != nil {
		return err
	}
	err := tx.queryRow(ctx, "SELECT CASE WHEN COALESCE(MAX(revision), 0) >= {now} THEN MAX(revision) + 1 ELSE {now} END FROM domains WHERE host = ?", d.Host).Scan(&d.Revision)
	if err != nil {
		return err
	}
	query, args, err := domains.insert(d)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, query+" ON CONFLICT (host, id) DO UPDATE SET revision = excluded.revision, spec = excluded.spec, want = excluded.want, hard = excluded.hard", args...)
	tx.Wake(TopicDomains(d.Host))
	return err
}

// SaveDomainReport writes what an agent said of d.
func (tx *Tx) SaveDomainReport(ctx context.Context, d *Domain) error {
	_, err := tx.exec(ctx, "UPDATE domains SET reported_revision = ?, reported_state = ?, reported_kind = ?, reported_error = ? WHERE host = ? AND id = ?",
		d.Reported, d.State, d.Kind, d.Error, d.Host, d.ID)
	tx.Wake(TopicDomains(d.Host))
	return err
}

// DeleteDomain forgets a domain: its host has forgotten it.
func (tx *Tx) DeleteDomain(ctx context.Context, host, id string) error {
	_, err := tx.exec(ctx, "DELETE FROM domains WHERE host = ? AND id = ?", host, id)
	tx.Wake(TopicDomains(host))
	return err
}
