package store

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/pci"
)

// Host is a hypervisor as its agent reports it.
type Host struct {
	Name         string
	Node         string // UUID of the node that it runs on, pinned when both first met; empty until then
	SystemUUID   string // SMBIOS UUID, lower case with hyphens
	SystemSerial string
	Service      int // version of the protocol that its agent speaks
	Fingerprint  string
	Virt         Virt
	Refused      string // why the host is tied to no node, or to another than it says
	Disabled     string // why an operator took it out of scheduling
	ExpiresAt    time.Time
	ReportedAt   time.Time
	CreatedAt    time.Time

	Alive bool // its lease runs, by the database's clock
}

// Virt is what a hypervisor's virtualization offers.
type Virt struct {
	Driver        string   `json:"driver"`
	VCPUs         int      `json:"vcpus,omitempty"`     // 0 is unknown
	MemoryMB      int      `json:"memory_mb,omitempty"` // 0 is unknown
	Traits        []string `json:"traits,omitempty"`
	DriverVersion string   `json:"driver_version,omitempty"`
}

// HostCard is a card as a host sees it.
type HostCard struct {
	Host       string
	Slot       string // address of the card's first PF; unique on the host
	Serial     string // empty when the card names none
	UUID       string
	PartNumber string
	Name       string
	Problem    string // why the host cannot use it
	Refused    string // why riser does not believe it
}

// HostPF is a physical function of a host, with its VFs as ranges.
type HostPF struct {
	ID              int64
	Host            string
	Address         string // "0000:82:00.0"
	Slot            string // of its card
	Serial          string // of its card
	Vendor          string // four hexadecimal digits
	Product         string
	VFProduct       string
	MAC             string // lower case with colons
	Netdev          string
	NUMA            int // -1 when there is none
	TotalVFs        int
	VFs             int // in all ranges
	Ranges          []VFRange
	PhysicalNetwork *string // of the device spec that its VFs matched
	RemoteManaged   bool
	Reason          string // which device spec matched, or why none did

	Claimed int  // claims on it
	Whole   bool // it is claimed as a whole
	Free    int  // VFs that nobody has claimed; 0 when it is claimed as a whole
}

// VFRange is a run of VFs with consecutive numbers whose routing IDs rise by a constant stride.
type VFRange struct {
	First   int    `json:"first"`
	Count   int    `json:"count"`
	Address string `json:"address"` // of the first
	Stride  int    `json:"stride"`
	Product string `json:"product,omitempty"`
}

// At returns the PCI address of the VF with this number, and whether the range holds it.
func (r VFRange) At(number int) (string, bool) {
	if number < r.First || number >= r.First+r.Count {
		return "", false
	}
	first, err := pci.ParseAddress(r.Address)
	if err != nil {
		return "", false
	}
	a, ok := first.Offset((number - r.First) * r.Stride)
	return a.String(), ok
}

// VF returns the address and the product of the VF with this number, and whether the PF has it.
func (p *HostPF) VF(number int) (address, product string, ok bool) {
	for _, r := range p.Ranges {
		if a, ok := r.At(number); ok {
			if r.Product != "" {
				return a, r.Product, true
			}
			return a, p.VFProduct, true
		}
	}
	return "", "", false
}

var hosts = table[Host]{"hosts", []column[Host]{
	text("name", func(h *Host) *string { return &h.Name }),
	text("node", func(h *Host) *string { return &h.Node }),
	text("system_uuid", func(h *Host) *string { return &h.SystemUUID }),
	text("system_serial", func(h *Host) *string { return &h.SystemSerial }),
	count("service", func(h *Host) *int { return &h.Service }),
	text("fingerprint", func(h *Host) *string { return &h.Fingerprint }),
	jsonText("virt", func(h *Host) *Virt { return &h.Virt }),
	text("refused", func(h *Host) *string { return &h.Refused }),
	text("disabled", func(h *Host) *string { return &h.Disabled }),
	when("expires_at", func(h *Host) *time.Time { return &h.ExpiresAt }),
	when("reported_at", func(h *Host) *time.Time { return &h.ReportedAt }),
	when("created_at", func(h *Host) *time.Time { return &h.CreatedAt }),
}}

var hostCards = table[HostCard]{"host_cards", []column[HostCard]{
	text("host", func(c *HostCard) *string { return &c.Host }),
	text("slot", func(c *HostCard) *string { return &c.Slot }),
	text("serial", func(c *HostCard) *string { return &c.Serial }),
	text("card_uuid", func(c *HostCard) *string { return &c.UUID }),
	text("part_number", func(c *HostCard) *string { return &c.PartNumber }),
	text("name", func(c *HostCard) *string { return &c.Name }),
	text("problem", func(c *HostCard) *string { return &c.Problem }),
	text("refused", func(c *HostCard) *string { return &c.Refused }),
}}

var hostPFs = table[HostPF]{"host_pfs", []column[HostPF]{
	text("host", func(p *HostPF) *string { return &p.Host }),
	text("address", func(p *HostPF) *string { return &p.Address }),
	text("slot", func(p *HostPF) *string { return &p.Slot }),
	text("serial", func(p *HostPF) *string { return &p.Serial }),
	text("vendor", func(p *HostPF) *string { return &p.Vendor }),
	text("product", func(p *HostPF) *string { return &p.Product }),
	text("vf_product", func(p *HostPF) *string { return &p.VFProduct }),
	text("mac", func(p *HostPF) *string { return &p.MAC }),
	text("netdev", func(p *HostPF) *string { return &p.Netdev }),
	count("numa", func(p *HostPF) *int { return &p.NUMA }),
	count("total_vfs", func(p *HostPF) *int { return &p.TotalVFs }),
	count("vfs", func(p *HostPF) *int { return &p.VFs }),
	jsonText("ranges", func(p *HostPF) *[]VFRange { return &p.Ranges }),
	textOrNull("physical_network", func(p *HostPF) **string { return &p.PhysicalNetwork }),
	boolean("remote_managed", func(p *HostPF) *bool { return &p.RemoteManaged }),
	text("reason", func(p *HostPF) *string { return &p.Reason }),
}}

// textOrNull is a column that may be NULL, which a nil pointer stands for.
func textOrNull[T any](name string, f func(*T) **string) column[T] {
	return column[T]{name, func(v *T) (any, error) {
		if *f(v) == nil {
			return nil, nil
		}
		return **f(v), nil
	}, func(v *T) any { return f(v) }}
}

// TopicHosts wakes those who watch hosts, cards and DPUs.
const TopicHosts = "hosts"

// HostNotFound is the fault for a host that is not there.
func HostNotFound(name string) error {
	return fault.New(fault.NotFound, "Host %s could not be found: no agent has reported under that name.", name)
}

// HostQuery selects hosts. The zero value selects all, by name.
type HostQuery struct {
	Names      []string
	Node       string
	SystemUUID string
	Untied     bool   // only those without a node
	Below      int    // only those whose agents speak a lower version of the protocol; 0 means all
	After      string // only those whose names come after this one
	Limit      int    // 0 means no limit
	Lock       bool   // hold the rows against other writers until the transaction ends
}

// Hosts returns the hosts that q selects, by name.
func (tx *Tx) Hosts(ctx context.Context, q HostQuery) ([]*Host, error) {
	w := &where{}
	in(w, "name", q.Names)
	w.equal("node", q.Node)
	w.equal("system_uuid", q.SystemUUID)
	if q.Untied {
		w.add("node = ''")
	}
	if q.Below > 0 {
		w.add("service < ?", q.Below)
	}
	if q.After != "" {
		w.add("name > ?", q.After)
	}
	tail := " ORDER BY name"
	if q.Limit > 0 {
		tail += " LIMIT ?"
	}
	if q.Lock {
		tail += " {update}"
	}
	args := w.args
	if q.Limit > 0 {
		args = append(args, q.Limit)
	}
	var list []*Host
	err := tx.each(ctx, "SELECT "+hosts.names("", nil)+", CASE WHEN expires_at > {now} THEN 1 ELSE 0 END FROM hosts"+w.sql()+tail,
		args, func(rows *sql.Rows) error {
			h := &Host{}
			list = append(list, h)
			return rows.Scan(append(hosts.dests(h, nil), flag{&h.Alive})...)
		})
	return list, err
}

// Host returns the host with this name. The error is fault.NotFound when there is none.
func (tx *Tx) Host(ctx context.Context, name string) (*Host, error) {
	list, err := tx.Hosts(ctx, HostQuery{Names: []string{name}})
	if err == nil && len(list) == 0 {
		err = HostNotFound(name)
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// SaveHostReport adds h, or writes what its agent reports of it: all but Node, Refused and Disabled. Its lease runs for ttl from now.
func (tx *Tx) SaveHostReport(ctx context.Context, h *Host, ttl time.Duration) error {
	h.CreatedAt, h.ReportedAt = tx.Now(), tx.Now()
	query, args, err := hosts.insert(h)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, query+` ON CONFLICT (name) DO UPDATE SET system_uuid = excluded.system_uuid, system_serial = excluded.system_serial,
		service = excluded.service, fingerprint = excluded.fingerprint, virt = excluded.virt, reported_at = excluded.reported_at`, args...)
	if err != nil {
		return err
	}
	tx.Wake(TopicHosts)
	_, err = tx.BeatHost(ctx, h.Name, ttl)
	return err
}

// BeatHost extends the lease of a host by ttl from now. It reports false when the host is unknown.
func (tx *Tx) BeatHost(ctx context.Context, name string, ttl time.Duration) (bool, error) {
	n, err := tx.exec(ctx, "UPDATE hosts SET expires_at = {now} + ? WHERE name = ?", ttl.Microseconds(), name)
	return n > 0, err
}

// TieHost writes what riser concluded about a host: its node, and why it refuses what the host says.
func (tx *Tx) TieHost(ctx context.Context, name, node, refused string) error {
	_, err := tx.exec(ctx, "UPDATE hosts SET node = ?, refused = ? WHERE name = ?", node, refused, name)
	tx.Wake(TopicHosts)
	return err
}

// DisableHost takes a host out of scheduling for reason, or puts it back when reason is empty.
func (tx *Tx) DisableHost(ctx context.Context, name, reason string) error {
	n, err := tx.exec(ctx, "UPDATE hosts SET disabled = ? WHERE name = ?", reason, name)
	if err == nil && n == 0 {
		err = HostNotFound(name)
	}
	tx.Wake(TopicHosts)
	return err
}

// DeleteHost forgets a host with its cards. It is fault.Conflict while VFs of it are claimed.
func (tx *Tx) DeleteHost(ctx context.Context, name string) error {
	claims, err := tx.Claims(ctx, ClaimQuery{Host: name})
	if err != nil {
		return err
	}
	if len(claims) > 0 {
		return fault.New(fault.Conflict, "Host %s has %d claimed functions: release them first.", name, len(claims))
	}
	n, err := tx.exec(ctx, "DELETE FROM hosts WHERE name = ?", name)
	if err == nil && n == 0 {
		err = HostNotFound(name)
	}
	tx.Wake(TopicHosts)
	return err
}

// NodesBySystemUUID returns the UUIDs of the nodes without a parent whose properties or driver_internal_info have this system_uuid.
func (tx *Tx) NodesBySystemUUID(ctx context.Context, systemUUID string) ([]string, error) {
	like := `%"system_uuid":"` + escapeLike(strings.ToLower(systemUUID)) + `"%`
	return tx.strings(ctx, `SELECT uuid FROM nodes WHERE parent_node = '' AND (LOWER(properties) LIKE ? ESCAPE '\' OR LOWER(driver_internal_info) LIKE ? ESCAPE '\')
		ORDER BY id`, like, like)
}
