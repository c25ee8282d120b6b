// Package host is the agent on a hypervisor. Run tells riser's server which cards the host has, and that it lives. RunDomains keeps the domains of the
// host as the server says. Neither can say anything to a DPU, nor speaks of another host.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/pci"
)

// Source finds the functions of this host. A *sysfs.Tree is one, and a *nodedev.Daemon.
type Source interface {
	// Scan looks at everything.
	Scan(ctx context.Context) (*pci.Host, error)

	// Fingerprint returns a text that changes when Scan would find something else. It MUST be cheap: it is called every few seconds.
	Fingerprint(ctx context.Context) (string, error)
}

// Config is what an agent needs to know. Host, Server and Source must be set.
type Config struct {
	Host   string // the name under which the hypervisor is known
	Server string // URL of the server: http or https, host and port
	Source Source
	Rules  pci.Rules // device_spec: which VFs may be handed out; none of them without rules
	Virt   wire.Virt // what the hypervisor can do

	// Client carries the agent's credentials. If nil, a client without any is used that follows no redirects.
	Client *http.Client

	// Poll is the time between two looks for changes; DefaultPoll if 0.
	Poll time.Duration

	Log *slog.Logger // slog.Default if nil
}

// DefaultPoll is the time between two looks at the source's fingerprint.
const DefaultPoll = 5 * time.Second

const (
	rescanEvery     = 10 * time.Minute // for what a fingerprint does not show
	defaultInterval = 10 * time.Second // between heartbeats, unless the server says otherwise
	maxInterval     = time.Hour
	minBackOff      = time.Second
	maxBackOff      = time.Minute
	maxRetryAfter   = 10 * time.Minute // more is not believed
)

// Run reports the host until ctx ends, and then returns nil. It sends a whole report at the start, when the host has changed and when the
// server asks for one, and heartbeats in between. While the server cannot be reached, it tries again after pauses that double from a second
// to a minute, each with a random part, and then sends what the host is by then. A source that fails is tried again at each poll, and what
// was found last stays reported. Faults are logged when they begin, change and end.
//
// The error says which setting cannot be used.
func Run(ctx context.Context, c Config) error {
	server, err := newCaller(c.Server, c.Host, c.Client)
	if err != nil {
		return fmt.Errorf("host agent: %w", err)
	}
	if c.Source == nil {
		return errors.New("host agent: there is no source")
	}
	if c.Poll <= 0 {
		c.Poll = DefaultPoll
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	a := &agent{Config: c, server: server, interval: defaultInterval, said: map[string]string{}}
	a.look(ctx)
	poll := time.NewTicker(c.Poll)
	defer poll.Stop()
	send := time.NewTimer(0)
	defer send.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
			if a.look(ctx) && !a.backingOff() {
				send.Reset(0)
			}
		case <-send.C:
			send.Reset(a.talk(ctx))
		}
	}
}

// agent is the state of a Run.
type agent struct {
	Config
	server *caller

	seen   string           // the source's fingerprint before the last Scan
	rescan time.Time        // when to scan in any case
	report *wire.HostReport // nil until the first Scan
	unsent bool             // the server does not have report

	interval time.Duration // between heartbeats
	backOff  time.Duration // the last pause after a failure; 0 if the last call went well
	refused  bool          // the last failure will last until the report changes

	said map[string]string // what is wrong, by subject, as last logged
}

// backingOff tells whether a new report has to wait for the pause to end.
func (a *agent) backingOff() bool { return a.backOff > 0 && !a.refused }

// look scans the host if it may have changed, and returns whether there is a new report.
func (a *agent) look(ctx context.Context) bool {
	now, err := a.Source.Fingerprint(ctx)
	if err == nil && now == a.seen && a.report != nil && time.Now().Before(a.rescan) {
		return false
	}
	found, err := a.Source.Scan(ctx)
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		a.tell("source", err.Error())
		return false
	}
	a.tell("source", "")
	a.seen, a.rescan = now, time.Now().Add(rescanEvery)
	a.tell("devices", strings.Join(found.Problems, "; "))
	rules := ""
	if err := a.Rules.Check(found.Functions); err != nil {
		rules = err.Error()
	}
	a.tell("rules", rules)
	report := NewReport(found, a.Rules, a.Virt)
	if a.report != nil && report.Fingerprint == a.report.Fingerprint {
		return false
	}
	a.report, a.unsent = report, true
	return true
}

// tell logs what is wrong with a subject when that changes. An empty text says that all is well.
func (a *agent) tell(subject, wrong string) {
	if a.said[subject] == wrong {
		return
	}
	a.said[subject] = wrong
	if wrong == "" {
		a.Log.Info("host agent: in order again", "host", a.Host, "subject", subject)
		return
	}
	a.Log.Warn("host agent: trouble", "host", a.Host, "subject", subject, "problem", wrong)
}

// talk sends what is due, and returns the time until the next call.
func (a *agent) talk(ctx context.Context) time.Duration {
	if a.report == nil {
		return a.Poll
	}
	what, message := "heartbeat", any(wire.Heartbeat{Version: wire.Version, Fingerprint: a.report.Fingerprint})
	if a.unsent {
		what, message = "report", a.report
	}
	reply, err := a.server.post(ctx, what, message)
	if ctx.Err() != nil {
		return a.interval
	}
	if err != nil {
		return a.failed(err)
	}
	a.tell("server", "")
	a.tell("reply", strings.Join(slices.Sorted(slices.Values(reply.Problems)), "; "))
	a.backOff, a.refused = 0, false
	if reply.Interval > 0 {
		a.interval = min(reply.Interval, maxInterval)
	}
	asked := a.unsent
	a.unsent = reply.Rediscover
	if reply.Rediscover && !asked {
		a.rescan = time.Time{}
		a.look(ctx)
		return 0
	}
	// A server that asks for a report in answer to one gets it with the next beat, not in a circle.
	return a.interval - rand.N(a.interval/10+1) //nolint:gosec // spreads load, keeps no secret
}

// failed returns the pause after a call that failed.
func (a *agent) failed(err error) time.Duration {
	a.tell("server", err.Error())
	a.backOff = min(max(2*a.backOff, minBackOff), maxBackOff)
	a.refused = false
	pause := func() time.Duration { return a.backOff/2 + rand.N(a.backOff/2) } //nolint:gosec // spreads load, keeps no secret
	var r *refusal
	switch {
	case !errors.As(err, &r):
		return pause()
	case r.lasting() && !a.unsent:
		a.unsent = true // a server that does not take a heartbeat may not know the host any more
	case r.lasting():
		a.refused, a.backOff = true, maxBackOff
	}
	return max(pause(), r.after)
}
