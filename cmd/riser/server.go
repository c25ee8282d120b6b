package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/riser-project/riser/api/agents"
	"github.com/riser-project/riser/api/baremetal"
	"github.com/riser-project/riser/api/compute"
	"github.com/riser-project/riser/api/networking"
	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/binding"
	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/enrol"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/instance"
	"github.com/riser-project/riser/network"
	fakenet "github.com/riser-project/riser/network/fake"
	"github.com/riser-project/riser/network/ovn"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/placement"
	"github.com/riser-project/riser/shard"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/trust"
	"github.com/riser-project/riser/virt"
	fakevirt "github.com/riser-project/riser/virt/fake"
	"github.com/riser-project/riser/virt/remote"
)

// server is one riser process: what --role says of it.
type server struct {
	set *settings
	log *slog.Logger

	db      *store.DB
	drivers map[string]driver.Driver
	holder  *shard.Holder // nil without a conductor
	intake  *conductor.Intake
	backend network.Backend
	enrol   *enrol.Enroller
	binder  *binding.Binder
	placer  *placement.Placer
	runner  *instance.Runner
	metrics *prometheus.Registry
	seen    *prometheus.HistogramVec

	trust         *trust.Authority
	listener      net.Listener
	agentListener net.Listener // nil without --agents-listen
}

// newServer opens everything and listens. It serves when run is called.
func newServer(ctx context.Context, set *settings, log *slog.Logger) (_ *server, err error) {
	s := &server{set: set, log: log}
	if err := set.check(); err != nil {
		return nil, err
	}
	if s.drivers, err = set.drivers(); err != nil {
		return nil, err
	}
	if s.db, err = store.Open(ctx, set.database, store.Options{KeyFile: set.secretsKey}); err != nil {
		return nil, err
	}
	if s.db.Embedded() && set.role != "all" {
		return nil, errors.Join(fmt.Errorf("--role %s needs PostgreSQL: an SQLite database serves one process", set.role), s.db.Close())
	}
	if err := s.build(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if s.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", set.listen); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if set.agentsListen != "" && set.role != "conductor" {
		if s.agentListener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", set.agentsListen); err != nil {
			return nil, errors.Join(err, s.listener.Close(), s.close())
		}
	}
	return s, nil
}

func (s *server) build(ctx context.Context) (err error) {
	if s.set.role != "api" {
		s.holder = s.leases()
	}
	s.intake = &conductor.Intake{DB: s.db, Catalog: catalog(), Drivers: s.drivers, Config: s.set.conductorConfig()}
	if s.backend, err = s.set.networkBackend(s.log); err != nil {
		return err
	}
	if s.trust, err = trust.Open(ctx, trust.Options{DB: s.db, Log: s.log.With("part", "trust")}); err != nil {
		return err
	}
	creds, err := readCredentials(s.set.dpuCredentials)
	if err != nil {
		return err
	}
	s.enrol = enrol.New(enrol.Options{
		DB: s.db, Driver: s.set.dpuDriver, DriverInfo: bmcInfo(s.set.dpuDriver, creds), Prepare: s.prepare, Manage: s.manage,
		FollowMoves: s.set.followMoves, Log: s.log.With("part", "enrol"),
	})
	s.binder = binding.New(binding.Options{DB: s.db, Backend: s.backend, PlugByOVN: s.set.plug == "ovn", Log: s.log.With("part", "binding")})
	s.placer = placement.New(s.db)
	s.runner = instance.New(instance.Options{
		DB: s.db, Placer: s.placer, Binder: s.binder, Virt: virtDrivers(s.db), NoWait: !s.set.waitForPlug, PlugTimeout: s.set.plugTimeout,
		Log: s.log.With("part", "instance"),
	})
	s.metrics = prometheus.NewRegistry()
	s.seen = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "riser_request_seconds", Help: "Time of API requests by route and status.", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
	}, []string{"method", "route", "status"})
	return errors.Join(s.metrics.Register(s.seen), s.metrics.Register(collectors.NewGoCollector()),
		s.metrics.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})))
}

// networkBackend is the list of network backends. To add one, write its package and add its case.
func (s *settings) networkBackend(log *slog.Logger) (network.Backend, error) {
	if s.backend == "ovn" {
		return ovn.Open(ovn.Options{Endpoint: s.ovnNB, Log: log.With("part", "ovn")})
	}
	return fakenet.New(), nil
}

// virtDrivers returns the virt driver of each host: its agent runs its domains, unless it reports the fake driver, whose domains are entries of a table here.
func virtDrivers(db *store.DB) func(host string) (virt.Driver, error) {
	var mu sync.Mutex
	fakes := map[string]virt.Driver{}
	return func(name string) (virt.Driver, error) {
		var host *store.Host
		err := db.Read(context.Background(), func(tx *store.Tx) (err error) {
			host, err = tx.Host(context.Background(), name)
			return err
		})
		if err != nil {
			return nil, err
		}
		if host.Virt.Driver != "fake" {
			return remote.New(db, name), nil
		}
		mu.Lock()
		defer mu.Unlock()
		if fakes[name] == nil {
			fakes[name] = fakevirt.New()
		}
		return fakes[name], nil
	}
}

// bmcInfo makes the driver_info of an enrolled card's node.
func bmcInfo(driverName string, creds *credentials) func(d *store.DPU) node.Object {
	prefix := "redfish"
	if driverName == "ipmi" {
		prefix = "ipmi"
	}
	return func(d *store.DPU) node.Object {
		info := node.Object{}
		if d.BMCAddress != "" {
			info[prefix+"_address"] = d.BMCAddress
		}
		if creds != nil {
			info[prefix+"_username"], info[prefix+"_password"] = creds.Username, creds.Password
		}
		return info
	}
}

// prepare gives a new node the default interfaces of its driver.
func (s *server) prepare(n *node.Node) error {
	d, ok := s.drivers[n.Driver]
	if !ok {
		return fault.New(fault.Invalid, "there is no hardware type %q for the nodes of cards: see --dpu-driver", n.Driver)
	}
	n.Interfaces = node.Interfaces{}
	for kind, impls := range d.Interfaces() {
		n.Interfaces[kind] = impls[0]
	}
	return nil
}

// manage has a conductor verify a node that enrolment made.
func (s *server) manage(ctx context.Context, uuid string) error {
	verb, _ := node.VerbOf("manage")
	err := s.intake.Provision(ctx, uuid, conductor.Request{Verb: verb, Actor: "enrolment"})
	if fault.Is(err, fault.Locked) || fault.Is(err, fault.Invalid) {
		return nil // it is being managed already
	}
	return err
}

func (s *server) close() error {
	var errs []error
	if s.backend != nil {
		errs = append(errs, s.backend.Close())
	}
	for _, d := range s.drivers {
		if c, ok := d.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(append(errs, s.db.Close())...)
}

// url is where the server answers.
func (s *server) url() string { return "http://" + s.listener.Addr().String() }

// run serves until ctx ends, then finishes or hands over what runs.
func (s *server) run(ctx context.Context) error {
	handler, err := s.handler()
	if err != nil {
		return errors.Join(err, s.listener.Close(), s.close())
	}
	web := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	work, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	fails := make(chan error, 3)
	if s.set.role != "api" {
		wg.Go(func() { fails <- s.conduct(work) })
		for _, loop := range []func(context.Context){s.enrol.Run, s.binder.Run, s.runner.Run} {
			wg.Go(func() { loop(work) })
		}
	}
	if s.agentListener != nil {
		wg.Go(func() { fails <- s.serveAgents(work) })
	}
	wg.Go(func() {
		if err := web.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			fails <- err
		}
	})
	s.log.Info("riser serves", "url", s.url(), "role", s.set.role, "auth", s.set.auth)
	select {
	case <-ctx.Done():
	case err = <-fails:
	}
	stop()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if shut := web.Shutdown(closing); shut != nil {
		shut = web.Close()
		err = errors.Join(err, shut)
	}
	wg.Wait()
	for len(fails) > 0 {
		err = errors.Join(err, <-fails)
	}
	return errors.Join(err, s.close())
}

func (s *server) conduct(ctx context.Context) error {
	return conductor.New(conductor.Options{
		DB: s.db, Holder: s.holder, Catalog: s.intake.Catalog, Drivers: s.drivers, Config: s.intake.Config, Pace: s.set.pace,
		Log: s.log.With("part", "conductor"),
	}).Run(ctx, s.set.drain)
}

// leases are those of this process's conductor.
func (s *server) leases() *shard.Holder {
	opts := s.set.leases
	opts.ID, opts.Hostname, opts.Group, opts.Log = uuid.NewString(), s.set.hostname, s.set.group, s.log.With("part", "leases")
	for name := range s.drivers {
		opts.Drivers = append(opts.Drivers, name)
	}
	slices.Sort(opts.Drivers)
	return shard.New(s.db, opts)
}

// handler mounts what the role serves.
func (s *server) handler() (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.health)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics, promhttp.HandlerOpts{}))
	if s.set.role == "conductor" {
		return mux, nil
	}
	auth, err := s.set.authenticator()
	if err != nil {
		return nil, err
	}
	mux.Handle(agents.Prefix, agents.New(s.agentOptions(auth, agents.ForOperators)))
	mux.Handle(compute.Prefix, compute.New(compute.Options{
		DB: s.db, Runner: s.runner, Placer: s.placer, Auth: auth, Endpoint: s.set.publicEndpoint, Observe: s.observe, Log: s.log,
	}))
	mux.Handle(networking.Prefix, networking.New(networking.Options{
		DB: s.db, Binding: s.binder, Auth: auth, Endpoint: s.set.publicEndpoint, Observe: s.observe, Log: s.log,
	}))
	mux.Handle("/", baremetal.New(baremetal.Options{
		DB: s.db, Intake: s.intake, Auth: auth, Observe: s.observe, Log: s.log,
		Config: baremetal.Config{PublicEndpoint: s.set.publicEndpoint, Children: s.set.children, DefaultResourceClass: s.set.resource},
	}))
	return mux, nil
}

// agentOptions are those of the agents' API. Where agents show certificates, the operators' calls and the agents' are on listeners of their own.
func (s *server) agentOptions(auth rest.Authenticator, side agents.Side) agents.Options {
	o := agents.Options{DB: s.db, Enrol: s.enrol, Binding: s.binder, Auth: auth, Observe: s.observe, Log: s.log}
	if !s.set.openToAgents() {
		o.Trust, o.Serve = s.trust, side
	}
	return o
}

// serveAgents serves agents by their certificates until ctx ends.
func (s *server) serveAgents(ctx context.Context) error {
	auth, err := s.set.authenticator()
	if err != nil {
		return err
	}
	web := &http.Server{
		Handler: agents.New(s.agentOptions(auth, agents.ForAgents)), TLSConfig: s.trust.ServerTLS(), ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = web.Close() }) // agents come back by themselves
	defer stop()
	if err := web.ServeTLS(s.agentListener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// observe counts a request of any API.
func (s *server) observe(method, pattern string, status int, took time.Duration) {
	s.seen.WithLabelValues(method, pattern, fmt.Sprint(status)).Observe(took.Seconds())
}

// health answers 200 when requests can be served: the database answers, and a conductor of this process has joined.
func (s *server) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := s.db.Ping(ctx); err != nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
		return
	}
	if s.holder != nil && len(s.holder.Shards()) == 0 && s.set.role == "all" {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the conductor holds no leases yet", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n")) // a client that went away needs no answer
}

func (s *settings) authenticator() (rest.Authenticator, error) {
	switch s.auth {
	case "basic":
		return rest.NewBasic(s.htpasswd, "Baremetal API")
	case "keystone":
		secret, err := os.ReadFile(s.keystonePasswordFile)
		if err != nil {
			return nil, fmt.Errorf("--keystone-password-file: %w", err)
		}
		return rest.NewKeystone(rest.KeystoneOptions{Auth: gophercloud.AuthOptions{
			IdentityEndpoint: s.keystoneURL, Username: s.keystoneUser, Password: strings.TrimSpace(string(secret)),
			TenantName: s.keystoneProject, DomainName: s.keystoneDomain,
		}}), nil
	}
	return nil, nil
}
