package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
)

// VPort is a virtual network port, and how far the backend is with it. A bare-metal port of a node is another thing.
type VPort struct {
	network.Port
	Version    int64  // row version; a write names the version it read
	NUMAPolicy string // required, preferred, legacy, socket; empty leaves it to the server
	Up         bool   // the backend says so
	UpReason   string // why not
	Trouble    string // why the backend could not be told
	Pending    int64  // not 0 while the backend must still be told; rises with each change
	Deleted    bool   // to be removed, first from the backend
}

type vp = VPort

var vports = table[vp]{"vports", []column[vp]{
	text("uuid", func(p *vp) *string { return &p.ID }),
	text("network", func(p *vp) *string { return &p.NetworkID }),
	text("name", func(p *vp) *string { return &p.Name }),
	text("mac", func(p *vp) *string { return &p.MAC }),
	jsonText("fixed_ips", func(p *vp) *[]network.FixedIP { return &p.FixedIPs }),
	text("vnic_type", func(p *vp) *string { return &p.VNICType }),
	boolean("admin_down", func(p *vp) *bool { return &p.AdminDown }),
	text("device_id", func(p *vp) *string { return &p.DeviceID }),
	text("device_owner", func(p *vp) *string { return &p.DeviceOwner }),
	text("host", func(p *vp) *string { return &p.HostID }),
	jsonText("profile", func(p *vp) *network.Profile { return &p.Profile }),
	text("vif_type", func(p *vp) *string { return &p.VIFType }),
	text("status", func(p *vp) *string { return &p.Status }),
	text("status_reason", func(p *vp) *string { return &p.StatusReason }),
	number("generation", func(p *vp) *int64 { return &p.Generation }),
	boolean("port_security", func(p *vp) *bool { return &p.PortSecurity }),
	jsonText("security_groups", func(p *vp) *[]string { return &p.Groups }),
	text("numa_policy", func(p *vp) *string { return &p.NUMAPolicy }),
	text("project", func(p *vp) *string { return &p.Project }),
	boolean("up", func(p *vp) *bool { return &p.Up }),
	text("up_reason", func(p *vp) *string { return &p.UpReason }),
	text("trouble", func(p *vp) *string { return &p.Trouble }),
	number("pending", func(p *vp) *int64 { return &p.Pending }),
	boolean("deleted", func(p *vp) *bool { return &p.Deleted }),
	when("created_at", func(p *vp) *time.Time { return &p.CreatedAt }),
	when("updated_at", func(p *vp) *time.Time { return &p.UpdatedAt }),
}}

// TopicPorts wakes those who keep the backend as the store says.
const TopicPorts = "ports"

// TopicPort is the topic of the port with this UUID: its status has changed.
func TopicPort(uuid string) string { return "port:" + uuid }

// PortNotFound is the fault for a port that is not there.
func PortNotFound(uuid string) error {
	return fault.New(fault.NotFound, "Port %s could not be found.", uuid)
}

// VPortQuery selects ports. The zero value selects all that are not deleted, in the order of their creation.
type VPortQuery struct {
	UUIDs     []string
	NetworkID string
	DeviceID  string
	HostID    string
	Name      string
	Project   string
	Status    string
	MAC       string
	Pending   bool // only those that the backend must still be told of, deleted ones too
	Marker    string
	Limit     int  // 0 means no limit
	Lock      bool // hold the rows against other writers until the transaction ends
}

// VPorts returns the ports that q selects.
func (tx *Tx) VPorts(ctx context.Context, q VPortQuery) ([]*VPort, error) {
	w := &where{}
	in(w, "uuid", q.UUIDs)
	w.equal("network", q.NetworkID)
	w.equal("device_id", q.DeviceID)
	w.equal("host", q.HostID)
	w.equal("name", q.Name)
	w.equal("project", q.Project)
	w.equal("status", q.Status)
	w.equal("mac", q.MAC)
	if q.Pending {
		w.add("pending <> 0")
	} else {
		w.add("deleted = 0")
	}
	order, err := tx.keyset(ctx, w, keyset{table: "vports", key: "id", marker: q.Marker, limit: q.Limit, missing: PortNotFound})
	if err != nil {
		return nil, err
	}
	if q.Lock {
		order += " {update}"
	}
	var list []*VPort
	err = tx.each(ctx, "SELECT "+vports.names("", nil)+", version FROM vports"+w.sql()+order, w.args, func(rows *sql.Rows) error {
		p := &VPort{}
		list = append(list, p)
		return rows.Scan(append(vports.dests(p, nil), &p.Version)...)
	})
	return list, err
}

// VPort returns the port with this UUID. The error is fault.NotFound when there is none.
func (tx *Tx) VPort(ctx context.Context, uuid string) (*VPort, error) {
	return tx.vport(ctx, uuid, false)
}

// VPortForUpdate is VPort, and holds the row against other writers until the transaction ends.
func (tx *Tx) VPortForUpdate(ctx context.Context, uuid string) (*VPort, error) {
	return tx.vport(ctx, uuid, true)
}

func (tx *Tx) vport(ctx context.Context, uuid string, lock bool) (*VPort, error) {
	list, err := tx.VPorts(ctx, VPortQuery{UUIDs: []string{uuid}, Lock: lock})
	if err == nil && len(list) == 0 {
		err = PortNotFound(uuid)
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// InsertVPort adds p, which the backend is to be told of. The error is fault.Conflict when its MAC is in use on the network.
func (tx *Tx) InsertVPort(ctx context.Context, p *VPort) error {
	p.CreatedAt, p.UpdatedAt, p.Version, p.Pending = tx.Now(), tx.Now(), 1, 1
	query, args, err := vports.insert(p)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, query, args...)
	tx.Wake(TopicPorts)
	return p.conflict(err)
}

func (p *VPort) conflict(err error) error {
	if !isUnique(err) {
		return err
	}
	return &fault.Error{Kind: fault.Conflict, Err: err,
		Text: "Unable to complete operation for network " + p.NetworkID + ". The mac address " + p.MAC + " is in use."}
}

// SaveVPort writes all of p, which was read at the version it names, and has the backend told. The error is fault.Conflict when somebody wrote
// the port in between.
func (tx *Tx) SaveVPort(ctx context.Context, p *VPort) error {
	p.UpdatedAt = tx.Now()
	p.Pending++
	tx.Wake(TopicPorts)
	return tx.saveVPort(ctx, p)
}

// SaveVPortStatus is SaveVPort for changes that do not concern the backend.
func (tx *Tx) SaveVPortStatus(ctx context.Context, p *VPort) error { return tx.saveVPort(ctx, p) }

func (tx *Tx) saveVPort(ctx context.Context, p *VPort) error {
	set, args, err := vports.set(p)
	if err != nil {
		return err
	}
	n, err := tx.exec(ctx, "UPDATE vports SET "+set+", version = version + 1 WHERE uuid = ? AND version = ?", append(args, p.ID, p.Version)...)
	if err != nil {
		return p.conflict(err)
	}
	if n == 0 {
		return fault.New(fault.Conflict, "Port %s was changed by somebody else in the meantime: read it again.", p.ID)
	}
	p.Version++
	tx.Wake(TopicPort(p.ID))
	if p.DeviceID != "" {
		tx.Wake(TopicServers)
	}
	return nil
}

// VPortTold notes that the backend was told of the port as it was when it had this Pending; a deleted port is gone then. When the port has
// changed since, the backend is to be told again, even if another process has done so meanwhile: it may have been overtaken.
func (tx *Tx) VPortTold(ctx context.Context, p *VPort) error {
	if p.Deleted {
		_, err := tx.exec(ctx, "DELETE FROM vports WHERE uuid = ?", p.ID)
		tx.Wake(TopicPort(p.ID))
		return err
	}
	n, err := tx.exec(ctx, "UPDATE vports SET pending = 0, trouble = '', version = version + 1 WHERE uuid = ? AND pending = ?", p.ID, p.Pending)
	if err == nil && n == 0 {
		return tx.TouchVPort(ctx, p.ID, "")
	}
	return err
}

// TouchVPort has the backend told of the port again; trouble says why it could not be told the last time.
func (tx *Tx) TouchVPort(ctx context.Context, uuid, trouble string) error {
	_, err := tx.exec(ctx, "UPDATE vports SET pending = pending + 1, trouble = ?, version = version + 1 WHERE uuid = ?", trouble, uuid)
	tx.Wake(TopicPorts)
	return err
}

// DeleteVPort marks a port to be removed, and takes its addresses and its places in security groups back at once.
func (tx *Tx) DeleteVPort(ctx context.Context, p *VPort) error {
	for _, table := range []string{"vport_addresses", "vport_groups"} {
		if _, err := tx.exec(ctx, "DELETE FROM "+table+" WHERE port = ?", p.ID); err != nil {
			return err
		}
	}
	p.Deleted = true
	return tx.SaveVPort(ctx, p)
}
