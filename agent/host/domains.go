package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/virt"
)

// DomainConfig is what the keeper of a host's domains needs to know. Host, Server and Virt must be set.
type DomainConfig struct {
	Host   string // the name under which the hypervisor is known
	Server string // URL of the server: http or https, host and port
	Virt   virt.Driver

	// Client carries the agent's credentials. If nil, a client without any is used that follows no redirects.
	Client *http.Client

	// Retry is the time between two tries of what has failed for now; 5 s if 0.
	Retry time.Duration

	Log *slog.Logger // slog.Default if nil
}

const (
	pollWait     = 20 * time.Second // how long the server may wait for something to do
	maxDomains   = 16 << 20         // bytes
	sideBySide   = 8                // domains worked on at a time
	stopPatience = time.Minute      // of a guest that is asked to stop, or to let go of a function
	callPatience = 2 * time.Minute  // for all else
	defaultRetry = 5 * time.Second
)

// RunDomains keeps the domains of this host as its server says, until ctx ends, and tells the server what became of each. What fails for now, as while the
// hypervisor's daemon restarts, is tried again. Domains that the server has never spoken of are left alone. The error says which setting cannot be
// used.
func RunDomains(ctx context.Context, c DomainConfig) error {
	server, err := newCaller(c.Server, c.Host, c.Client)
	if err != nil {
		return fmt.Errorf("host agent: %w", err)
	}
	if c.Virt == nil {
		return errors.New("host agent: there is no virt driver")
	}
	if c.Retry <= 0 {
		c.Retry = defaultRetry
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	k := &keeper{DomainConfig: c, server: server, todo: map[string]wire.Domain{}, busy: map[string]bool{}, slots: make(chan struct{}, sideBySide)}
	var all sync.WaitGroup
	all.Go(func() { k.watch(ctx) })
	k.fetch(ctx)
	all.Wait()
	k.work.Wait()
	return nil
}

// keeper is the state of a RunDomains.
type keeper struct {
	DomainConfig
	server *caller

	mu    sync.Mutex
	todo  map[string]wire.Domain // the newest order of each domain that is not carried out
	busy  map[string]bool        // domains that somebody works on
	slots chan struct{}
	work  sync.WaitGroup

	saying sync.Mutex // from the look at a state until the server knows it, so that an older one never comes last
}

// fetch hears from the server what is to be done, until ctx ends.
func (k *keeper) fetch(ctx context.Context) {
	var after int64
	for ctx.Err() == nil {
		got, err := k.server.domains(ctx, after)
		if err != nil {
			if ctx.Err() == nil {
				k.Log.Warn("host agent: cannot ask what is to run here", "host", k.Host, "error", err)
			}
			pause(ctx, k.Retry)
			continue
		}
		after = got.Revision
		for _, d := range got.Domains {
			k.order(ctx, d)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// order notes what is to be done about a domain, and has somebody work on it.
func (k *keeper) order(ctx context.Context, d wire.Domain) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.todo[d.ID] = d
	if k.busy[d.ID] {
		return
	}
	k.busy[d.ID] = true
	k.work.Go(func() { k.carryOut(ctx, d.ID) })
}

// next returns what is to be done about a domain, and reports false, and that nobody works on it any more, when there is nothing.
func (k *keeper) next(id string) (wire.Domain, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d, ok := k.todo[id]
	if !ok {
		delete(k.busy, id)
	}
	return d, ok
}

// done notes that an order was carried out, unless a newer one has come.
func (k *keeper) done(d wire.Domain) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.todo[d.ID].Revision == d.Revision {
		delete(k.todo, d.ID)
	}
}

// carryOut works on a domain until there is nothing to do about it, or ctx ends.
func (k *keeper) carryOut(ctx context.Context, id string) {
	for ctx.Err() == nil {
		d, ok := k.next(id)
		if !ok {
			return
		}
		k.slots <- struct{}{}
		s, err := k.apply(ctx, d)
		<-k.slots
		if err == nil {
			err = k.say(ctx, s)
		}
		if err == nil {
			k.done(d)
			continue
		}
		if ctx.Err() == nil {
			k.Log.Warn("host agent: a domain is behind", "host", k.Host, "domain", id, "error", err)
		}
		pause(ctx, k.Retry)
	}
}

// apply carries out an order and returns what to report. The error is for what may pass.
func (k *keeper) apply(ctx context.Context, d wire.Domain) (wire.DomainStatus, error) {
	s := wire.DomainStatus{ID: d.ID, Revision: d.Revision}
	err := k.change(ctx, d)
	if ctx.Err() != nil {
		return s, ctx.Err()
	}
	if err == nil {
		return s, nil
	}
	switch fault.KindOf(err) {
	case fault.Unavailable:
		return s, err
	case fault.Conflict:
		s.Kind = wire.FailedConflict
	case fault.NotFound:
		s.Kind = wire.FailedMissing
	case fault.Timeout:
		s.Kind = wire.FailedTimeout
	default:
		s.Kind = wire.FailedOther
	}
	s.Error = err.Error()
	return s, nil
}

// say tells the server of a domain, with its state as it is now.
func (k *keeper) say(ctx context.Context, s wire.DomainStatus) error {
	k.saying.Lock()
	defer k.saying.Unlock()
	state, err := k.Virt.State(ctx, s.ID)
	if err != nil {
		return err
	}
	s.State = string(state)
	_, err = k.server.post(ctx, "domains/status", wire.DomainReport{Domains: []wire.DomainStatus{s}})
	return err
}

func (k *keeper) change(ctx context.Context, d wire.Domain) error {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	if d.Want == wire.WantAbsent {
		return k.Virt.Destroy(ctx, d.ID)
	}
	patient, enough := context.WithTimeout(ctx, stopPatience)
	defer enough()
	for _, address := range d.Removed {
		if err := k.Virt.Detach(patient, d.ID, address); err != nil {
			return err
		}
	}
	dom := virt.Domain{ID: d.ID, Name: d.Name, VCPUs: d.VCPUs, MemoryMB: d.MemoryMB, Image: d.Image}
	for _, f := range d.Functions {
		dom.Functions = append(dom.Functions, virt.Function(f))
	}
	if err := k.Virt.Define(ctx, dom); err != nil {
		return err
	}
	if d.Want != wire.WantRunning {
		return k.Virt.Stop(patient, d.ID, d.Hard)
	}
	state, err := k.Virt.State(ctx, d.ID)
	if err != nil {
		return err
	}
	if state == virt.Running || state == virt.Paused { // it does not have yet what it was defined with just now
		for _, f := range dom.Functions {
			if err := k.Virt.Attach(ctx, d.ID, f); err != nil {
				return err
			}
		}
	}
	return k.Virt.Start(ctx, d.ID)
}

// watch tells the server of domains whose state has changed, by themselves or not, until ctx ends.
func (k *keeper) watch(ctx context.Context) {
	for ctx.Err() == nil {
		err := k.Virt.Watch(ctx, func(e virt.Event) {
			if err := k.say(ctx, wire.DomainStatus{ID: e.ID}); err != nil && ctx.Err() == nil {
				k.Log.Warn("host agent: the state of a domain is lost until the next one", "host", k.Host, "domain", e.ID, "error", err)
			}
		})
		if ctx.Err() == nil {
			k.Log.Warn("host agent: the hypervisor's events have ended", "host", k.Host, "error", err)
		}
		pause(ctx, k.Retry)
	}
}

// domains asks for what was changed after a revision, which the server may wait for.
func (c *caller) domains(ctx context.Context, after int64) (wire.Domains, error) {
	u := c.base.JoinPath("domains")
	u.RawQuery = url.Values{"after": {strconv.FormatInt(after, 10)}, "wait": {pollWait.String()}}.Encode()
	ctx, cancel := context.WithTimeout(ctx, callTimeout+pollWait)
	defer cancel()
	var out wire.Domains
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return out, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxDomains))
	switch {
	case err != nil:
		return out, fmt.Errorf("read the server's answer: %w", err)
	case resp.StatusCode != http.StatusOK:
		return out, refusalOf(resp, answer)
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return out, fmt.Errorf("read the server's answer: %w", err)
	}
	return out, nil
}
