package neutron

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
)

// State reads whether the port is up. The error is fault.NotFound when Neutron does not have the port.
func (b *Backend) State(ctx context.Context, id string) (network.State, error) {
	p, _, err := b.port(ctx, id)
	if err != nil {
		return network.State{}, err
	}
	if p == nil {
		return network.State{}, fault.New(fault.NotFound, "port %s is unknown to Neutron", id)
	}
	return stateOf(id, p), nil
}

func stateOf(id string, p *port) network.State {
	s := network.State{Port: id}
	switch {
	case p.VIFType == network.VIFFailed:
		s.Reason = fmt.Sprintf("Neutron could not bind the port to host %s", p.Host)
	case p.Host == "" || p.VIFType == network.VIFUnbound:
		s.Reason = "the port is not bound in Neutron"
	case !p.AdminUp:
		s.Reason = "the port is administratively down"
	case p.Status != network.StatusActive:
		s.Reason = fmt.Sprintf("Neutron says that the port is %s: no chassis has plugged it", p.Status)
	default:
		s.Up = true
	}
	return s
}

// watcher is one call of Watch: which ports it shall look at before the next round.
type watcher struct {
	asked map[string]bool
	wake  chan struct{}
}

// changed has all watchers look at a port at once.
func (b *Backend) changed(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for w := range b.watchers {
		w.asked[id] = true
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Watch calls fn for every port that riser has in Neutron once at the start, and then for each change: those that Events tells of at once, others when
// they are read next, until ctx ends or Neutron does not answer.
func (b *Backend) Watch(ctx context.Context, fn func(network.State)) error {
	w := &watcher{asked: map[string]bool{}, wake: make(chan struct{}, 1)}
	b.mu.Lock()
	b.watchers[w] = true
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.watchers, w)
		b.mu.Unlock()
	}()
	told := map[string]network.State{}
	tell := func(s network.State) {
		if before, ok := told[s.Port]; !ok || before != s {
			told[s.Port] = s
			fn(s)
		}
	}
	round := time.NewTicker(b.poll)
	defer round.Stop()
	for all := true; ; {
		if err := b.look(ctx, w, all, told, tell); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.wake:
			all = false
		case <-round.C:
			all = true
		}
	}
}

// look reads the ports that were asked for, or all.
func (b *Backend) look(ctx context.Context, w *watcher, all bool, told map[string]network.State, tell func(network.State)) error {
	b.mu.Lock()
	asked := w.asked
	w.asked = map[string]bool{}
	b.mu.Unlock()
	if !all {
		for id := range asked {
			s, err := b.State(ctx, id)
			if fault.Is(err, fault.NotFound) {
				s = network.State{Port: id, Reason: "Neutron has no such port any more"}
			} else if err != nil {
				return err
			}
			tell(s)
		}
		return nil
	}
	var list struct{ Ports []*port }
	fields := url.Values{"fields": {"id", "name", "description", "status", "admin_state_up", "binding:host_id", "binding:vif_type"}}
	if err := b.get(ctx, "ports", fields, &list); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, p := range list.Ports {
		if id := b.nameOf(p); id != "" {
			seen[id] = true
			tell(stateOf(id, p))
		}
	}
	for id := range told {
		if !seen[id] {
			tell(network.State{Port: id, Reason: "Neutron has no such port any more"})
		}
	}
	return nil
}

// nameOf returns riser's id of a port of Neutron's, or nothing when it is none of riser's.
func (b *Backend) nameOf(p *port) string {
	if id := marked(p.Description); id != "" {
		return id
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.names[p.ID]
}

// maxEvents bounds the body of a call of Events, in bytes.
const maxEvents = 1 << 20

// event is what Neutron tells Nova (Compute API, os-server-external-events).
type event struct {
	Name   string `json:"name"`
	Server string `json:"server_uuid"`
	Status string `json:"status,omitempty"`
	Tag    string `json:"tag,omitempty"` // id of the port
	Code   int    `json:"code,omitempty"`
}

// Events returns a handler for the events that Neutron sends to Nova: POST /os-server-external-events with {"events": [...]}. It answers as Nova does:
// 200, or 207 with a code for each event when some are about ports that are not riser's. An event is only a reason to look at the port, so that a
// forged one does no harm; the handler asks nobody who they are.
func (b *Backend) Events() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Events []event `json:"events"`
		}
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvents))
		if err != nil || json.Unmarshal(text, &body) != nil || len(body.Events) == 0 {
			answer(w, http.StatusBadRequest, object{"badRequest": object{"code": 400, "message": "want {\"events\": [...]}"}})
			return
		}
		status := http.StatusOK
		for i := range body.Events {
			e := &body.Events[i]
			e.Code = http.StatusOK
			b.mu.Lock()
			id := b.names[e.Tag]
			b.mu.Unlock()
			switch {
			case !strings.HasPrefix(e.Name, "network-"):
				e.Code = http.StatusBadRequest
			case id != "":
				b.changed(id)
			case e.Tag != "":
				e.Code = http.StatusNotFound
			}
			if e.Code != http.StatusOK {
				status = http.StatusMultiStatus
			}
		}
		answer(w, status, object{"events": body.Events})
	})
}

func answer(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		status, text = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text) // a client that went away needs no answer
}
