package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/riser-project/riser/api/baremetal"
	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/driver/fake"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/shard"
)

// settings is everything an operator may say to riser serve. A flag is also a key of the file and a RISER_ variable.
type settings struct {
	listen, database, auth, config, role string
	agentsListen                         string
	insecure                             bool
	logLevel, logFormat                  string

	hostname, group      string
	secretsKey           string
	htpasswd             string
	keystoneURL          string
	keystoneUser         string
	keystoneProject      string
	keystoneDomain       string
	keystonePasswordFile string
	publicEndpoint       string
	drain                time.Duration

	engine      conductor.Config
	clean       bool
	noClean     []string
	noDeploy    []string
	noService   []string
	leases      shard.Options
	children    string
	resource    string
	hardware    []string
	delays      map[node.Interface]*string
	backend     string
	ovnNB       string
	plug        string
	waitForPlug bool
	plugTimeout time.Duration

	dpuDriver      string
	dpuCredentials string
	followMoves    bool
	bmcTimeout     time.Duration
	allowRaw       []string

	pace driver.Pace // of power changes; not a flag: the defaults are what real BMCs need
}

func newSettings() *settings { return &settings{delays: map[node.Interface]*string{}} }

// delayed are the interfaces whose fake implementation can be slowed down, as in Ironic's [fake] section.
var delayed = []node.Interface{
	node.Power, node.Boot, node.Deploy, node.Vendor, node.Management, node.Inspect, node.RAID, node.BIOS, node.Storage, node.Rescue, node.Firmware,
}

func (s *settings) flags(set *pflag.FlagSet) {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	set.StringVar(&s.listen, "listen", "127.0.0.1:6385", "address and port to serve")
	set.StringVar(&s.agentsListen, "agents-listen", "", "address and port where agents are served, by certificates of riser's own authority (default: --listen serves agents of this machine without)")
	set.StringVar(&s.database, "database", "sqlite:riser.db", "sqlite:PATH or postgres://USER@HOST/NAME")
	set.StringVar(&s.auth, "auth", "none", "who may ask: none, basic or keystone")
	set.StringVar(&s.config, "config", "", "YAML file with these settings as keys")
	set.StringVar(&s.role, "role", "all", "what this process does: all, api or conductor (the latter two need PostgreSQL)")
	set.BoolVar(&s.insecure, "insecure", false, "allow --auth none on an address that others can reach")
	set.StringVar(&s.logLevel, "log-level", "info", "debug, info, warn or error")
	set.StringVar(&s.logFormat, "log-format", "text", "text or json")
	set.StringVar(&s.hostname, "hostname", host, "name of this conductor, as nodes show it in reservation")
	set.StringVar(&s.group, "conductor-group", "", "conductor group whose nodes this process serves")
	set.StringVar(&s.secretsKey, "secrets-key-file", "", "key that seals secrets; made when it is new (default: the SQLite file with .key)")
	set.StringVar(&s.htpasswd, "htpasswd-file", "", "users and bcrypt hashes for --auth basic")
	set.StringVar(&s.keystoneURL, "keystone-url", "", "identity service for --auth keystone, as in https://keystone.example:5000/v3")
	set.StringVar(&s.keystoneUser, "keystone-user", "riser", "service user that checks tokens")
	set.StringVar(&s.keystoneProject, "keystone-project", "service", "project of the service user")
	set.StringVar(&s.keystoneDomain, "keystone-domain", "Default", "domain of the service user and its project")
	set.StringVar(&s.keystonePasswordFile, "keystone-password-file", "", "file with the service user's password")
	set.StringVar(&s.publicEndpoint, "public-endpoint", "", "URL that links in answers start with (default: the one the client used)")
	set.DurationVar(&s.drain, "drain", 30*time.Second, "how long running work may come to a safe point on SIGTERM")

	set.IntVar(&s.engine.ChildWidth, "child-width", 64, "child nodes on which a step runs at the same time")
	set.DurationVar(&s.engine.StepTimeout, "step-timeout", 30*time.Minute, "longest attempt of a step that has no limit of its own")
	set.DurationVar(&s.engine.WaitTimeout, "wait-timeout", 30*time.Minute, "longest wait for an agent's call-back")
	set.DurationVar(&s.engine.PollInterval, "step-poll-interval", 10*time.Second, "between two looks at a step that goes on outside")
	set.BoolVar(&s.engine.AsyncChildren, "permit-child-node-step-async-result", false, "let steps on child nodes go on outside the conductor")
	set.DurationVar(&s.engine.SyncInterval, "sync-power-state-interval", 2*time.Minute, "between two looks at a machine's power; negative turns it off")
	set.BoolVar(&s.clean, "automated-clean", true, "clean nodes on their way to available")
	off := []string{"vendor.send_raw"}
	set.StringSliceVar(&s.noClean, "disallow-clean-steps", off, "clean steps that nobody may ask for")
	set.StringSliceVar(&s.noDeploy, "disallow-deploy-steps", off, "deploy steps that nobody may ask for")
	set.StringSliceVar(&s.noService, "disallow-service-steps", off, "service steps that nobody may ask for")
	set.DurationVar(&s.leases.TTL, "lease-ttl", 15*time.Second, "life of a conductor's lease after its last renewal")
	set.DurationVar(&s.leases.Renew, "lease-renew", 5*time.Second, "between renewals")
	set.DurationVar(&s.leases.Delay, "lease-delay", 10*time.Second, "how long a successor waits after a lease has expired")
	set.StringVar(&s.children, "deletion-children", baremetal.Cascade, "what deleting a parent does to its children: cascade, refuse or orphan")
	set.StringVar(&s.resource, "default-resource-class", "", "resource class of new nodes that name none")
	set.StringSliceVar(&s.hardware, "enabled-hardware-types", nil, "hardware types to serve (default: all)")
	for _, kind := range delayed {
		s.delays[kind] = set.String("fake-"+string(kind)+"-delay", "0", "seconds, or \"a,b\" for between the two, that fake-hardware takes for "+string(kind))
	}
	set.StringVar(&s.backend, "network-backend", "fake", "who programs the network: fake or ovn")
	set.StringVar(&s.ovnNB, "ovn-nb", "unix:/run/ovn/ovnnb_db.sock", "OVN's northbound database for --network-backend ovn")
	set.StringVar(&s.plug, "plug", "agent", "who plugs representors: agent (riser's own) or ovn (ovn-controller's provider)")
	set.BoolVar(&s.waitForPlug, "wait-for-plug", true, "a server is ACTIVE only when its ports are plugged")
	set.DurationVar(&s.plugTimeout, "plug-timeout", 5*time.Minute, "how long a server waits for its ports")
	set.StringVar(&s.dpuDriver, "dpu-driver", "bluefield", "hardware type of child nodes that enrolment makes: bluefield, redfish or ipmi")
	set.StringVar(&s.dpuCredentials, "dpu-credentials-file", "", "YAML file with username and password of the BMCs of such nodes, mode 0600")
	set.DurationVar(&s.bmcTimeout, "bmc-timeout", 30*time.Second, "longest answer of a management controller to a question; commands have at most 10 s of it")
	set.StringArrayVar(&s.allowRaw, "allow-raw", nil, "one more raw IPMI command that a hardware profile may send, as in \"bluefield:0x32 0x6a\"; may be repeated")
	set.BoolVar(&s.followMoves, "follow-card-moves", false, "re-parent the node of a card that appears in another host once the old one reports it gone")
}

// check refuses settings that do not go together.
func (s *settings) check() error {
	var errs []error
	one := func(name, value string, of ...string) {
		for _, o := range of {
			if o == value {
				return
			}
		}
		errs = append(errs, fmt.Errorf("--%s %q: want one of %v", name, value, of))
	}
	one("auth", s.auth, "none", "basic", "keystone")
	one("role", s.role, "all", "api", "conductor")
	one("log-level", s.logLevel, "debug", "info", "warn", "error")
	one("log-format", s.logFormat, "text", "json")
	one("deletion-children", s.children, baremetal.Cascade, baremetal.Refuse, baremetal.Orphan)
	one("network-backend", s.backend, "fake", "ovn")
	one("plug", s.plug, "agent", "ovn")
	host, _, err := net.SplitHostPort(s.listen)
	switch {
	case err != nil:
		errs = append(errs, fmt.Errorf("--listen %q: want ADDRESS:PORT", s.listen))
	case s.auth == "none" && !s.insecure && !loopback(host):
		errs = append(errs, fmt.Errorf("--listen %s lets others in and --auth none asks nobody who they are: use --auth basic or keystone, a loopback address, or --insecure", s.listen))
	}
	if _, _, err := net.SplitHostPort(s.agentsListen); s.agentsListen != "" && err != nil {
		errs = append(errs, fmt.Errorf("--agents-listen %q: want ADDRESS:PORT", s.agentsListen))
	}
	if s.auth == "basic" && s.htpasswd == "" {
		errs = append(errs, errors.New("--auth basic needs --htpasswd-file"))
	}
	if s.auth == "keystone" && (s.keystoneURL == "" || s.keystonePasswordFile == "") {
		errs = append(errs, errors.New("--auth keystone needs --keystone-url and --keystone-password-file"))
	}
	return errors.Join(errs...)
}

// openToAgents reports whether --listen serves agents without certificates: no other machine can reach it, or the operator insists.
func (s *settings) openToAgents() bool {
	host, _, err := net.SplitHostPort(s.listen)
	return s.agentsListen == "" && err == nil && (loopback(host) || s.insecure)
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// conductorConfig is the engine's part of the settings.
func (s *settings) conductorConfig() conductor.Config {
	c := s.engine
	c.AutomatedClean = &s.clean
	c.Disallowed = map[node.Flow][]string{node.FlowClean: s.noClean, node.FlowDeploy: s.noDeploy, node.FlowService: s.noService}
	return c
}

func (s *settings) fakeOptions() (fake.Options, error) {
	o := fake.Options{Delays: map[node.Interface]fake.Delay{}}
	for kind, text := range s.delays {
		d, err := fake.ParseDelay(*text)
		if err != nil {
			return o, fmt.Errorf("--fake-%s-delay: %w", kind, err)
		}
		o.Delays[kind] = d
	}
	return o, nil
}

// credentials are those of the BMCs of enrolled cards.
type credentials struct {
	Username string `yaml:"username"`
	Password string `yaml:"password"`
}

func readCredentials(path string) (*credentials, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path) //nolint:gosec // the path is the operator's own choice
	if err != nil {
		return nil, fmt.Errorf("--dpu-credentials-file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("--dpu-credentials-file %s may be read by others (mode %04o): chmod 600 it", path, info.Mode().Perm())
	}
	var c credentials
	dec := yaml.NewDecoder(f)
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil {
		return nil, fmt.Errorf("--dpu-credentials-file %s: want the keys username and password", path)
	}
	return &c, nil
}
