package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/riser-project/riser/fault"
)

// DPU is a card's own Linux as its agent reports it. A serial that two of them report is two rows: neither is believed then.
type DPU struct {
	Serial      string
	System      string // what tells two reporters apart: Open vSwitch's system-id, else the chassis name
	UUID        string
	PartNumber  string
	Source      string // where the serial was read: devlink, vpd, config
	Chassis     string // host name: OVN's chassis host name
	BMCAddress  string
	Bridge      string
	Service     int // version of the protocol that its agent speaks
	Fingerprint string
	Uplinks     []Uplink
	Controllers []Controller
	Problems    []string
	Refused     string // why riser does not believe it
	ExpiresAt   time.Time
	ReportedAt  time.Time
	CreatedAt   time.Time

	Alive bool // its lease runs, by the database's clock
}

// Uplink is a physical port of a card.
type Uplink struct {
	Handle          string `json:"handle"`
	Number          int    `json:"number"`
	Netdev          string `json:"netdev,omitempty"`
	PhysicalNetwork string `json:"physical_network,omitempty"`
}

// Controller is a host that a card serves.
type Controller struct {
	Number   int      `json:"number"`
	External bool     `json:"external"`
	PFs      []CardPF `json:"pfs"`
}

// CardPF is a host's PF as the card sees it.
type CardPF struct {
	Handle string `json:"handle"`
	Number int    `json:"number"`
	MAC    string `json:"mac"`
	VFs    int    `json:"vfs"`
	SFs    int    `json:"sfs,omitempty"`
}

// ShowsPF reports whether the card serves a host's PF with this MAC.
func (d *DPU) ShowsPF(mac string) bool {
	for _, c := range d.Controllers {
		for _, p := range c.PFs {
			if p.MAC == mac {
				return true
			}
		}
	}
	return false
}

// HasUplink reports whether an uplink of the card is on the physical network.
func (d *DPU) HasUplink(physical string) bool {
	for _, u := range d.Uplinks {
		if u.PhysicalNetwork == physical {
			return true
		}
	}
	return false
}

var dpus = table[DPU]{"dpus", []column[DPU]{
	text("serial", func(d *DPU) *string { return &d.Serial }),
	text("system", func(d *DPU) *string { return &d.System }),
	text("card_uuid", func(d *DPU) *string { return &d.UUID }),
	text("part_number", func(d *DPU) *string { return &d.PartNumber }),
	text("source", func(d *DPU) *string { return &d.Source }),
	text("chassis", func(d *DPU) *string { return &d.Chassis }),
	text("bmc_address", func(d *DPU) *string { return &d.BMCAddress }),
	text("bridge", func(d *DPU) *string { return &d.Bridge }),
	count("service", func(d *DPU) *int { return &d.Service }),
	text("fingerprint", func(d *DPU) *string { return &d.Fingerprint }),
	jsonText("uplinks", func(d *DPU) *[]Uplink { return &d.Uplinks }),
	jsonText("controllers", func(d *DPU) *[]Controller { return &d.Controllers }),
	jsonText("problems", func(d *DPU) *[]string { return &d.Problems }),
	text("refused", func(d *DPU) *string { return &d.Refused }),
	when("expires_at", func(d *DPU) *time.Time { return &d.ExpiresAt }),
	when("reported_at", func(d *DPU) *time.Time { return &d.ReportedAt }),
	when("created_at", func(d *DPU) *time.Time { return &d.CreatedAt }),
}}

// DPUs returns the reporters of these serials, or all when serials is nil, by serial and the time they were first heard of.
func (tx *Tx) DPUs(ctx context.Context, serials []string) ([]*DPU, error) {
	w := &where{}
	in(w, "serial", serials)
	var list []*DPU
	err := tx.each(ctx, "SELECT "+dpus.names("", nil)+", CASE WHEN expires_at > {now} THEN 1 ELSE 0 END FROM dpus"+w.sql()+" ORDER BY serial, id",
		w.args, func(rows *sql.Rows) error {
			d := &DPU{}
			list = append(list, d)
			return rows.Scan(append(dpus.dests(d, nil), flag{&d.Alive})...)
		})
	return list, err
}

// SaveDPUReport adds d, or writes what its agent reports of it: all but Refused. Its lease runs for ttl from now.
func (tx *Tx) SaveDPUReport(ctx context.Context, d *DPU, ttl time.Duration) error {
	d.CreatedAt, d.ReportedAt = tx.Now(), tx.Now()
	query, args, err := dpus.insert(d)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, query+` ON CONFLICT (serial, system) DO UPDATE SET card_uuid = excluded.card_uuid, part_number = excluded.part_number,
		source = excluded.source, chassis = excluded.chassis, bmc_address = excluded.bmc_address, bridge = excluded.bridge, service = excluded.service,
		fingerprint = excluded.fingerprint, uplinks = excluded.uplinks, controllers = excluded.controllers, problems = excluded.problems,
		reported_at = excluded.reported_at`, args...)
	if err != nil {
		return err
	}
	if _, err = tx.exec(ctx, "UPDATE dpus SET expires_at = {now} + ? WHERE serial = ? AND system = ?", ttl.Microseconds(), d.Serial, d.System); err != nil {
		return err
	}
	// A card without orders has a revision too, so that its agent can wait for the next one.
	_, err = tx.exec(ctx, "INSERT INTO order_heads (card, revision) VALUES (?, {now}) ON CONFLICT (card) DO NOTHING", d.Serial)
	tx.Wake(TopicHosts)
	return err
}

// BeatDPU extends the lease of the card's reporter whose last report has this fingerprint by ttl from now. It reports false when there is
// none: the agent must report again.
func (tx *Tx) BeatDPU(ctx context.Context, serial, fingerprint string, ttl time.Duration) (bool, error) {
	n, err := tx.exec(ctx, "UPDATE dpus SET expires_at = {now} + ? WHERE serial = ? AND fingerprint = ?", ttl.Microseconds(), serial, fingerprint)
	return n > 0, err
}

// RefuseDPU writes why riser does not believe a reporter; an empty reason takes the refusal back.
func (tx *Tx) RefuseDPU(ctx context.Context, serial, system, reason string) error {
	_, err := tx.exec(ctx, "UPDATE dpus SET refused = ? WHERE serial = ? AND system = ?", reason, serial, system)
	tx.Wake(TopicHosts)
	return err
}

// DeleteDPU forgets a reporter of a serial. The error is fault.NotFound when there is none.
func (tx *Tx) DeleteDPU(ctx context.Context, serial, system string) error {
	n, err := tx.exec(ctx, "DELETE FROM dpus WHERE serial = ? AND system = ?", serial, system)
	if err == nil && n == 0 {
		err = fault.New(fault.NotFound, "No DPU agent %s has reported card %s.", system, serial)
	}
	tx.Wake(TopicHosts)
	return err
}
