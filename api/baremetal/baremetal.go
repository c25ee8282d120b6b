// Package baremetal is the bare-metal API, /v1: that of OpenStack Ironic, microversions 1.1 to 1.115, wire for wire, with a few calls of our own.
//
// Each resource has a file: its view (the fields and the microversion of each), its form (which fields a client may write and what they may
// hold) and its calls. What acts on machines is handed to the conductor's intake.
package baremetal

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// Options is what the API stands on.
type Options struct {
	DB     *store.DB
	Intake *conductor.Intake
	Config Config
	Auth   rest.Authenticator // nil means everybody is an administrator
	Policy rest.Policy        // nil allows everything
	Log    *slog.Logger       // nil means slog.Default

	// Observe is told of each request after its answer, for metrics. Nil means nobody is.
	Observe func(method, pattern string, status int, took time.Duration)
}

// Config is what an operator may set about the API. Zero values mean the defaults.
type Config struct {
	PublicEndpoint string // URL that links start with; empty means the one the client used
	MaxLimit       int    // length of a list's page; 1000

	// Children says what deleting a parent does to its children: "cascade" (the default) deletes them, "refuse" refuses while there are any,
	// "orphan" makes them nodes of their own.
	Children string

	DefaultResourceClass  string
	DefaultConductorGroup string
	DefaultInterfaces     node.Interfaces             // before the driver's own preference, where it supports them; storage noop
	EnabledInterfaces     map[node.Interface][]string // implementations that may be used; a kind that is absent has no limit

	// LockWait is how long a request waits for a node that another operation holds, before it is refused; 3 s, negative means not at all.
	LockWait time.Duration

	NoAgent        bool     // close the calls of the agent: lookup, heartbeat, continue_inspection
	OpenLookup     bool     // look-up answers in every provision state
	PlainAgent     bool     // agents may be called back over http as well as https
	AgentHeartbeat int      // seconds between heartbeats that agents are told; 300
	ImageFormats   []string // permitted; raw, gpt, qcow2, iso
}

// Policies of deleting a parent (Config.Children).
const (
	Cascade = "cascade"
	Refuse  = "refuse"
	Orphan  = "orphan"
)

func (c Config) filled() Config {
	if c.MaxLimit <= 0 {
		c.MaxLimit = 1000
	}
	if c.Children == "" {
		c.Children = Cascade
	}
	if c.LockWait == 0 {
		c.LockWait = 3 * time.Second
	}
	if c.AgentHeartbeat <= 0 {
		c.AgentHeartbeat = 300
	}
	if c.ImageFormats == nil {
		c.ImageFormats = []string{"raw", "gpt", "qcow2", "iso"}
	}
	if c.DefaultInterfaces == nil {
		c.DefaultInterfaces = node.Interfaces{node.Storage: "noop"}
	}
	c.PublicEndpoint = strings.TrimSuffix(c.PublicEndpoint, "/")
	return c
}

// aliveFor is how long a conductor counts as alive after its last heartbeat.
const aliveFor = 60 * time.Second

// service has the handlers.
type service struct {
	db     *store.DB
	intake *conductor.Intake
	cfg    Config
}

// New returns the API as a handler for every path: what does not start with /v1 is taken as if it did.
func New(opts Options) http.Handler {
	s := &service{db: opts.DB, intake: opts.Intake, cfg: opts.Config.filled()}
	return rest.New(rest.API{
		Routes:     s.routes(),
		Implied:    "/v1",
		Versions:   &versions,
		Envelope:   envelope,
		Collective: true,
		Auth:       opts.Auth,
		Policy:     opts.Policy,
		Endpoint:   s.cfg.PublicEndpoint,
		Observe:    opts.Observe,
		Log:        opts.Log,
	})
}

// Routes returns the route table of the API, for documents and tests: its handlers serve nothing.
func Routes() []rest.Route { return (&service{}).routes() }

func (s *service) routes() []rest.Route {
	return slices.Concat(
		s.rootRoutes(),
		s.nodeRoutes(),
		s.stateRoutes(),
		s.targetRoutes(),
		s.managementRoutes(),
		s.vendorRoutes(),
		s.portRoutes(),
		s.portgroupRoutes(),
		s.chassisRoutes(),
		s.traitRoutes(),
		s.allocationRoutes(),
		s.templateRoutes(),
		s.runbookRoutes(),
		s.inspectionRuleRoutes(),
		s.volumeRoutes(),
		s.vifRoutes(),
		s.hardwareRoutes(),
		s.historyRoutes(),
		s.eventRoutes(),
		s.agentRoutes(),
		s.driverRoutes(),
		s.conductorRoutes(),
	)
}

// read runs fn on one state of the store.
func (s *service) read(r *rest.Request, fn func(ctx context.Context, tx *store.Tx) error) error {
	ctx := r.Context()
	return s.db.Read(ctx, func(tx *store.Tx) error { return fn(ctx, tx) })
}

// write runs fn in a transaction. It is run again while it finds a node locked.
func (s *service) write(r *rest.Request, fn func(ctx context.Context, tx *store.Tx) error) error {
	ctx := r.Context()
	return s.patiently(ctx, func() error {
		return s.db.Write(ctx, func(tx *store.Tx) error { return fn(ctx, tx) })
	})
}

// lockLook is the time between two looks at a locked node.
const lockLook = 200 * time.Millisecond

// patiently does what may find a node locked, until it does not or the patience for that is over.
func (s *service) patiently(ctx context.Context, do func() error) error {
	err := do()
	if !fault.Is(err, fault.Locked) || s.cfg.LockWait < 0 {
		return err
	}
	look := time.NewTicker(lockLook)
	defer look.Stop()
	over := time.NewTimer(s.cfg.LockWait)
	defer over.Stop()
	for fault.Is(err, fault.Locked) {
		select {
		case <-ctx.Done():
			return err
		case <-over.C:
			return err
		case <-look.C:
			err = do()
		}
	}
	return err
}
