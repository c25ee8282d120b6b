// Package instance runs servers: it has them placed, their ports bound, waits until these are plugged, and tells the virt driver of their host what
// to do.
//
// A request writes what is wanted into the server's row, as its task, and Run carries it out. Every task is a row of steps that can be
// repeated, and what was reached stands in the store, so a crash at any point loses nothing. A server is ACTIVE only when its ports are plugged;
// until then it says what it waits for, and a deadline ends the wait.
package instance

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/riser-project/riser/binding"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/placement"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/virt"
)

// Options says how servers are run. DB, Placer, Binder and Virt must be set.
type Options struct {
	DB     *store.DB
	Placer *placement.Placer
	Binder *binding.Binder

	// Virt returns the virt driver of a host. The error is fault.Unavailable when the host cannot be reached now.
	Virt func(host string) (virt.Driver, error)

	// NoWait lets a server become ACTIVE without its ports being plugged, as Nova does with remote-managed ports.
	NoWait bool

	// PlugTimeout is how long a server waits for its ports. 0 means 5 minutes.
	PlugTimeout time.Duration

	// Resync is how often Run looks for work that it was not woken for. 0 means 5 s.
	Resync time.Duration

	Log *slog.Logger // nil discards
}

// Runner runs servers. It is safe for concurrent use, by several processes on one database too.
type Runner struct{ o Options }

// New returns a Runner. Its work is done only while Run runs.
func New(o Options) *Runner {
	if o.PlugTimeout == 0 {
		o.PlugTimeout = 5 * time.Minute
	}
	if o.Resync == 0 {
		o.Resync = 5 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Runner{o}
}

// owner is the device_owner of a server's ports.
const owner = "compute:nova"

// Spec is a server to be made.
type Spec struct {
	Name        string
	Description string
	Project     string
	User        string
	Flavor      string // id or name
	Image       string
	Metadata    map[string]string
	Hints       map[string]any // see Hints
	Host        string         // the host to take; empty leaves the choice
	Ports       []Attachment
}

// Attachment is a port for a server: one that exists, or one to be made on a network.
type Attachment struct {
	Port    string // UUID
	Network string // UUID, when there is no Port
	Address string // wanted fixed IP of a port to be made
	Tag     string
}

// Create makes a server and returns it while it is being built. The error is fault.Invalid for a port or a flavor that does not exist or does
// not fit, and fault.Conflict for a port that is in use.
func (r *Runner) Create(ctx context.Context, spec Spec) (*store.Server, error) {
	s := &store.Server{
		UUID: uuid.NewString(), Name: spec.Name, Description: spec.Description, Project: spec.Project, Owner: spec.User, Image: spec.Image,
		Metadata: spec.Metadata, Hints: spec.Hints, State: store.ServerBuild, Task: store.TaskScheduling,
	}
	if _, err := hints(spec.Hints); err != nil {
		return nil, err
	}
	if spec.Host != "" {
		s.Hints = withHint(s.Hints, hintHost, spec.Host)
	}
	if err := r.ready(ctx, spec.Ports); err != nil {
		return nil, err
	}
	err := r.o.DB.Write(ctx, func(tx *store.Tx) error {
		f, err := tx.Flavor(ctx, spec.Flavor)
		if fault.Is(err, fault.NotFound) {
			return fault.New(fault.Invalid, "Flavor %s could not be found.", spec.Flavor)
		}
		if err != nil {
			return err
		}
		s.Flavor = *f
		for _, a := range spec.Ports {
			p, err := r.take(ctx, tx, s, a)
			if fault.Is(err, fault.NotFound) {
				return fault.New(fault.Invalid, "%w", err)
			}
			if err != nil {
				return err
			}
			s.Ports = append(s.Ports, p)
		}
		return tx.InsertServer(ctx, s)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// ready refuses remote-managed ports while a host does not know them.
func (r *Runner) ready(ctx context.Context, ports []Attachment) error {
	if len(ports) == 0 {
		return nil
	}
	outdated, err := r.o.Placer.Outdated(ctx, placement.MinService)
	if err != nil {
		return err
	}
	if len(outdated) > 0 {
		return fault.New(fault.Invalid, "Remote-managed ports are not supported until an upgrade is fully finished.")
	}
	return nil
}

// take makes a port the server's, so that no other server can have it.
func (r *Runner) take(ctx context.Context, tx *store.Tx, s *store.Server, a Attachment) (store.ServerPort, error) {
	if a.Port == "" {
		return store.ServerPort{}, fault.New(fault.Invalid, "Network %s: make a port of VNIC type remote-managed first and name that; a port made along the way would be of type normal.", a.Network)
	}
	p, err := tx.VPortForUpdate(ctx, a.Port)
	switch {
	case fault.Is(err, fault.NotFound):
		return store.ServerPort{}, fault.New(fault.NotFound, "Port id %s could not be found.", a.Port)
	case err != nil:
		return store.ServerPort{}, err
	case p.DeviceID != "" || p.HostID != "":
		return store.ServerPort{}, fault.New(fault.Conflict, "Port %s is still in use.", p.ID)
	case p.Project != s.Project:
		return store.ServerPort{}, fault.New(fault.Invalid, "Port %s not usable for instance %s.", p.ID, s.UUID)
	case p.VNICType != network.VNICRemoteManaged:
		return store.ServerPort{}, fault.New(fault.Invalid, "Port %s is of VNIC type %s: servers of riser take ports of type %s.", p.ID, p.VNICType, network.VNICRemoteManaged)
	}
	p.DeviceID, p.DeviceOwner = s.UUID, owner
	return store.ServerPort{ID: p.ID, Tag: a.Tag}, tx.SaveVPort(ctx, p)
}

// command is what a request may ask of a server.
type command struct {
	task string
	from []store.ServerState // states that allow it
}

var commands = map[string]command{
	"start":  {task: store.TaskStarting, from: []store.ServerState{store.ServerStopped}},
	"stop":   {task: store.TaskStopping, from: []store.ServerState{store.ServerActive, store.ServerError}},
	"reboot": {task: store.TaskRebooting, from: []store.ServerState{store.ServerActive, store.ServerStopped, store.ServerError}},
}

// Command asks a server to start, stop or reboot. The error is fault.Conflict when its state forbids that, or another task is under way.
func (r *Runner) Command(ctx context.Context, id, verb string) error {
	c, ok := commands[verb]
	if !ok {
		return fault.New(fault.Invalid, "There is no such action %s.", verb)
	}
	return r.change(ctx, id, verb, func(_ *store.Tx, s *store.Server) error {
		if !slices.Contains(c.from, s.State) {
			return fault.New(fault.Conflict, "Cannot '%s' instance %s while it is in vm_state %s", verb, s.UUID, strings.ToLower(string(s.State)))
		}
		s.Task = c.task
		return nil
	})
}

// Delete asks a server to go. Whatever is under way is given up; deleting again changes nothing.
func (r *Runner) Delete(ctx context.Context, id string) error {
	return r.o.DB.Write(ctx, func(tx *store.Tx) error {
		s, err := tx.ServerForUpdate(ctx, id)
		if err != nil || s.Task == store.TaskDeleting {
			return err
		}
		s.Task, s.Reason, s.WaitUntil = store.TaskDeleting, "", time.Time{}
		return tx.SaveServer(ctx, s)
	})
}

// Attach gives a running or stopped server another port. The function is claimed and the port bound when Attach returns; the guest gets it
// afterwards. The error is fault.Conflict when the host of the server has no function for it.
func (r *Runner) Attach(ctx context.Context, id string, a Attachment) error {
	if err := r.ready(ctx, []Attachment{a}); err != nil {
		return err
	}
	return r.change(ctx, id, "attach_interface", func(tx *store.Tx, s *store.Server) error {
		if s.State != store.ServerActive && s.State != store.ServerStopped {
			return fault.New(fault.Conflict, "Cannot 'attach_interface' instance %s while it is in vm_state %s", s.UUID, strings.ToLower(string(s.State)))
		}
		p, err := r.take(ctx, tx, s, a)
		if err != nil {
			return err
		}
		s.Ports = append(s.Ports, p)
		request, err := r.request(ctx, tx, s)
		if err != nil {
			return err
		}
		claims, err := r.o.Placer.Claim(ctx, tx, request, s.Host)
		if fault.Is(err, fault.Conflict) {
			return fault.New(fault.Invalid, "Failed to claim PCI device for port %s: %w", p.ID, err)
		}
		if err != nil {
			return err
		}
		s.Task, s.WaitUntil = store.TaskAttaching, tx.Now().Add(r.o.PlugTimeout)
		return r.bind(ctx, tx, claims)
	})
}

// Detach takes a port from a server. The error is fault.NotFound when the server does not have it.
func (r *Runner) Detach(ctx context.Context, id, port string) error {
	return r.change(ctx, id, "detach_interface", func(_ *store.Tx, s *store.Server) error {
		i := slices.IndexFunc(s.Ports, func(p store.ServerPort) bool { return p.ID == port })
		if i < 0 {
			return fault.New(fault.NotFound, "Instance %s does not have port %s.", s.UUID, port)
		}
		s.Ports[i].Detaching, s.Task = true, store.TaskDetaching
		return nil
	})
}

// change gives a server that has nothing to do a new task, by f.
func (r *Runner) change(ctx context.Context, id, verb string, f func(*store.Tx, *store.Server) error) error {
	return r.o.DB.Write(ctx, func(tx *store.Tx) error {
		s, err := tx.ServerForUpdate(ctx, id)
		if err != nil {
			return err
		}
		if s.Task != "" {
			return fault.New(fault.Conflict, "Cannot '%s' instance %s while it is in task_state %s", verb, s.UUID, s.Task)
		}
		s.Reason, s.WaitUntil = "", time.Time{}
		if err := f(tx, s); err != nil {
			return err
		}
		return tx.SaveServer(ctx, s)
	})
}

// Explain says for every host why the server could not be placed there now, or that it could.
func (r *Runner) Explain(ctx context.Context, id string) ([]placement.Refusal, error) {
	var request placement.Request
	err := r.o.DB.Read(ctx, func(tx *store.Tx) error {
		s, err := tx.Server(ctx, id)
		if err != nil {
			return err
		}
		request, err = r.request(ctx, tx, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.o.Placer.Explain(ctx, request)
}
