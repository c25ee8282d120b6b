package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/riser-project/riser/fault"
)

// ServerState is the state of an instance, as the Compute API spells it in status.
type ServerState string

// States of a server.
const (
	ServerBuild   ServerState = "BUILD"
	ServerActive  ServerState = "ACTIVE"
	ServerStopped ServerState = "SHUTOFF"
	ServerResized ServerState = "VERIFY_RESIZE" // migrated; to be confirmed or reverted
	ServerError   ServerState = "ERROR"
)

// Tasks of a server: what is under way. An empty task is none.
const (
	TaskScheduling = "scheduling"
	TaskNetworking = "networking" // its ports are being bound and plugged
	TaskSpawning   = "spawning"
	TaskStarting   = "powering-on"
	TaskStopping   = "powering-off"
	TaskRebooting  = "rebooting"
	TaskAttaching  = "attaching"
	TaskDetaching  = "detaching"
	TaskDeleting   = "deleting"
	TaskMigrating  = "resize_migrating" // its old host gives it up
	TaskReverting  = "resize_reverting" // so does its new one
	TaskFinishing  = "resize_finish"    // its ports are plugged on the new host, and it is started there
	TaskEvacuating = "rebuild_spawning" // the same after an evacuation
	TaskRebuilding = "rebuilding"
)

// Server is an instance: a virtual machine on a host, with its ports.
type Server struct {
	Version     int64 // row version; a write names the version it read
	UUID        string
	Name        string
	Project     string
	Owner       string // user
	Description string
	Flavor      Flavor // as it was when the server was made
	Image       string // UUID or name; empty boots from nothing
	Metadata    map[string]string
	Hints       map[string]any // scheduler hints, as they came
	Ports       []ServerPort   // in the order of the guest's interfaces
	Host        string         // empty until one is chosen
	Held        string         // another host on which its size is counted
	Move        *Move          // nil unless it moves, or its migration is not confirmed
	ClaimKey    string         // key of its claims; empty means UUID
	State       ServerState
	Task        string
	Power       string    // as the virt driver last said: running, stopped, absent
	Reason      string    // what it waits for, or why it failed
	WaitUntil   time.Time // deadline of the wait
	CreatedAt   time.Time
	UpdatedAt   time.Time
	LaunchedAt  time.Time
}

// ServerPort is a port of a server.
type ServerPort struct {
	ID        string `json:"id"`
	Tag       string `json:"tag,omitempty"`
	Owned     bool   `json:"owned,omitempty"`     // it was made for the server, and goes with it
	Detaching bool   `json:"detaching,omitempty"` // it is being taken from the server
}

// Flavor is a size of a server.
type Flavor struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	VCPUs      int               `json:"vcpus"`
	MemoryMB   int               `json:"memory_mb"`
	DiskGB     int               `json:"disk_gb"`
	ExtraSpecs map[string]string `json:"extra_specs,omitempty"`
}

var servers = table[Server]{"servers", []column[Server]{
	text("uuid", func(s *Server) *string { return &s.UUID }),
	text("name", func(s *Server) *string { return &s.Name }),
	text("project", func(s *Server) *string { return &s.Project }),
	text("owner", func(s *Server) *string { return &s.Owner }),
	text("description", func(s *Server) *string { return &s.Description }),
	jsonText("flavor", func(s *Server) *Flavor { return &s.Flavor }),
	text("image", func(s *Server) *string { return &s.Image }),
	jsonText("metadata", func(s *Server) *map[string]string { return &s.Metadata }),
	jsonText("hints", func(s *Server) *map[string]any { return &s.Hints }),
	jsonText("ports", func(s *Server) *[]ServerPort { return &s.Ports }),
	text("host", func(s *Server) *string { return &s.Host }),
	text("held", func(s *Server) *string { return &s.Held }),
	jsonText("move", func(s *Server) **Move { return &s.Move }),
	text("claim_key", func(s *Server) *string { return &s.ClaimKey }),
	spelled("state", func(s *Server) *ServerState { return &s.State }),
	text("task", func(s *Server) *string { return &s.Task }),
	text("power", func(s *Server) *string { return &s.Power }),
	text("reason", func(s *Server) *string { return &s.Reason }),
	when("wait_until", func(s *Server) *time.Time { return &s.WaitUntil }),
	when("created_at", func(s *Server) *time.Time { return &s.CreatedAt }),
	when("updated_at", func(s *Server) *time.Time { return &s.UpdatedAt }),
	when("launched_at", func(s *Server) *time.Time { return &s.LaunchedAt }),
}}

var flavors = table[Flavor]{"flavors", []column[Flavor]{
	text("uuid", func(f *Flavor) *string { return &f.ID }),
	text("name", func(f *Flavor) *string { return &f.Name }),
	count("vcpus", func(f *Flavor) *int { return &f.VCPUs }),
	count("memory_mb", func(f *Flavor) *int { return &f.MemoryMB }),
	count("disk_gb", func(f *Flavor) *int { return &f.DiskGB }),
	jsonText("extra_specs", func(f *Flavor) *map[string]string { return &f.ExtraSpecs }),
}}

// TopicServers wakes those who carry out what servers were told to do.
const TopicServers = "servers"

// TopicServer is the topic of the server with this UUID.
func TopicServer(uuid string) string { return "server:" + uuid }

// ServerNotFound is the fault for a server that is not there.
func ServerNotFound(uuid string) error {
	return fault.New(fault.NotFound, "Instance %s could not be found.", uuid)
}

// ServerQuery selects servers. The zero value selects all, in the order of their creation.
type ServerQuery struct {
	UUIDs   []string
	Name    string
	Project string
	Host    string
	States  []ServerState
	Busy    bool // only those with a task
	Marker  string
	Limit   int  // 0 means no limit
	Lock    bool // hold the rows against other writers until the transaction ends
}

// Servers returns the servers that q selects.
func (tx *Tx) Servers(ctx context.Context, q ServerQuery) ([]*Server, error) {
	w := &where{}
	in(w, "uuid", q.UUIDs)
	w.equal("name", q.Name)
	w.equal("project", q.Project)
	w.equal("host", q.Host)
	in(w, "state", q.States)
	if q.Busy {
		w.add("task <> ''")
	}
	order, err := tx.keyset(ctx, w, keyset{table: "servers", key: "id", marker: q.Marker, limit: q.Limit, missing: ServerNotFound})
	if err != nil {
		return nil, err
	}
	if q.Lock {
		order += " {update}"
	}
	var list []*Server
	err = tx.each(ctx, "SELECT "+servers.names("", nil)+", version FROM servers"+w.sql()+order, w.args, func(rows *sql.Rows) error {
		s := &Server{}
		list = append(list, s)
		return rows.Scan(append(servers.dests(s, nil), &s.Version)...)
	})
	return list, err
}

// Server returns the server with this UUID. The error is fault.NotFound when there is none.
func (tx *Tx) Server(ctx context.Context, uuid string) (*Server, error) {
	return tx.server(ctx, uuid, false)
}

// ServerForUpdate is Server, and holds the row against other writers until the transaction ends.
func (tx *Tx) ServerForUpdate(ctx context.Context, uuid string) (*Server, error) {
	return tx.server(ctx, uuid, true)
}

func (tx *Tx) server(ctx context.Context, uuid string, lock bool) (*Server, error) {
	list, err := tx.Servers(ctx, ServerQuery{UUIDs: []string{uuid}, Lock: lock})
	if err == nil && len(list) == 0 {
		err = ServerNotFound(uuid)
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// InsertServer adds s and wakes those who carry it out.
func (tx *Tx) InsertServer(ctx context.Context, s *Server) error {
	s.CreatedAt, s.UpdatedAt, s.Version = tx.Now(), tx.Now(), 1
	query, args, err := servers.insert(s)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, query, args...)
	tx.Wake(TopicServers)
	return err
}

// SaveServer writes all of s, which was read at the version it names, and wakes those who carry out its task or watch it. The error is
// fault.Conflict when somebody wrote the server in between.
func (tx *Tx) SaveServer(ctx context.Context, s *Server) error {
	s.UpdatedAt = tx.Now()
	set, args, err := servers.set(s)
	if err != nil {
		return err
	}
	n, err := tx.exec(ctx, "UPDATE servers SET "+set+", version = version + 1 WHERE uuid = ? AND version = ?", append(args, s.UUID, s.Version)...)
	if err == nil && n == 0 {
		err = fault.New(fault.Conflict, "Instance %s was changed by somebody else in the meantime: read it again.", s.UUID)
	}
	if err != nil {
		return err
	}
	s.Version++
	tx.Wake(TopicServer(s.UUID))
	if s.Task != "" {
		tx.Wake(TopicServers)
	}
	return nil
}

// DeleteServer removes a server.
func (tx *Tx) DeleteServer(ctx context.Context, uuid string) error {
	_, err := tx.exec(ctx, "DELETE FROM servers WHERE uuid = ?", uuid)
	tx.Wake(TopicServer(uuid))
	return err
}

// ServerLoad is what the servers of a host use.
type ServerLoad struct {
	Servers  int
	VCPUs    int
	MemoryMB int
}

// ServerLoads sums up the servers of each of these hosts, or of every host when names is nil. A server counts on the host that is held for it, too.
func (tx *Tx) ServerLoads(ctx context.Context, names []string) (map[string]ServerLoad, error) {
	loads := map[string]ServerLoad{}
	for _, column := range []string{"host", "held"} {
		w := &where{}
		w.add(column + " <> ''")
		in(w, column, names)
		err := tx.each(ctx, "SELECT "+column+", flavor FROM servers"+w.sql(), w.args, func(rows *sql.Rows) error {
			var host string
			var f Flavor
			if err := rows.Scan(&host, object[Flavor]{&f}); err != nil {
				return err
			}
			l := loads[host]
			l.Servers, l.VCPUs, l.MemoryMB = l.Servers+1, l.VCPUs+f.VCPUs, l.MemoryMB+f.MemoryMB
			loads[host] = l
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return loads, nil
}

// Flavors returns every flavor, in the order of their creation.
func (tx *Tx) Flavors(ctx context.Context) ([]*Flavor, error) {
	var list []*Flavor
	err := tx.each(ctx, "SELECT "+flavors.names("", nil)+" FROM flavors ORDER BY id", nil, func(rows *sql.Rows) error {
		f := &Flavor{}
		list = append(list, f)
		return rows.Scan(flavors.dests(f, nil)...)
	})
	return list, err
}

// Flavor returns the flavor with this id or name. The error is fault.NotFound when there is none.
func (tx *Tx) Flavor(ctx context.Context, ref string) (*Flavor, error) {
	list, err := tx.Flavors(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		if f.ID == ref || f.Name == ref {
			return f, nil
		}
	}
	return nil, fault.New(fault.NotFound, "Flavor %s could not be found.", ref)
}

// InsertFlavor adds f. The error is fault.Conflict when its id or name is taken.
func (tx *Tx) InsertFlavor(ctx context.Context, f *Flavor) error {
	query, args, err := flavors.insert(f)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, query, args...)
	if isUnique(err) {
		return &fault.Error{Kind: fault.Conflict, Err: err, Text: "Flavor with ID " + f.ID + " or name " + f.Name + " already exists."}
	}
	return err
}

// DeleteFlavor removes a flavor; servers keep the copy they were made with.
func (tx *Tx) DeleteFlavor(ctx context.Context, id string) error {
	n, err := tx.exec(ctx, "DELETE FROM flavors WHERE uuid = ?", id)
	if err == nil && n == 0 {
		err = fault.New(fault.NotFound, "Flavor %s could not be found.", id)
	}
	return err
}
