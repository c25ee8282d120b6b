package store

import (
	"context"
	"database/sql"
	"strconv"
)

// CandidateQuery selects PFs that may have a function for a port.
type CandidateQuery struct {
	PhysicalNetwork string // of the device spec that hands the functions out; empty is an overlay
	Serial          string // only this card
	Uplink          string // only the PF with this address or netdev
	Whole           bool   // PFs of which nothing is claimed, instead of those with a free VF
	After           *Candidate
	Limit           int
}

// Candidate is a PF and the host that has it.
type Candidate struct {
	Host string
	Free int

	id int64
}

// Candidates returns remote-managed PFs of hosts that live and are in use, those with the most free VFs first. It reads one index as far as
// Limit goes, however many functions there are. Whether a function may really be used it does not say.
func (tx *Tx) Candidates(ctx context.Context, q CandidateQuery) ([]Candidate, error) {
	w := &where{}
	w.add("p.remote_managed = 1 AND p.serial <> ''")
	w.add("COALESCE(p.physical_network, '') = ?", q.PhysicalNetwork)
	if q.Whole {
		w.add("p.claimed = 0")
	} else {
		w.add("p.free > 0")
	}
	w.equal("p.serial", q.Serial)
	if q.Uplink != "" {
		w.add("(p.address = ? OR p.netdev = ?)", q.Uplink, q.Uplink)
	}
	if q.After != nil {
		w.add("p.free <= ?", q.After.Free)
		w.add("(p.free < ? OR p.id > ?)", q.After.Free, q.After.id)
	}
	w.add("h.disabled = '' AND h.refused = '' AND h.expires_at > {now}")
	// The limit stands in the text: SQLite plans anew for each value of a bound one.
	order := " ORDER BY p.free DESC, p.id LIMIT " + strconv.Itoa(q.Limit)
	var list []Candidate
	err := tx.each(ctx, "SELECT p.host, p.free, p.id FROM host_pfs p JOIN hosts h ON h.name = p.host"+w.sql()+order,
		w.args, func(rows *sql.Rows) error {
			var c Candidate
			err := rows.Scan(&c.Host, &c.Free, &c.id)
			list = append(list, c)
			return err
		})
	return list, err
}
