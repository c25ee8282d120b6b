package instance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/virt"
)

// Limits of Run.
const (
	batch    = 256             // servers taken up at once
	width    = 16              // servers worked on at a time
	patience = 2 * time.Minute // for one call of a virt driver
)

// Run carries out the tasks of servers until ctx ends. It takes up what an earlier process left unfinished.
func (r *Runner) Run(ctx context.Context) {
	woken, cancel := r.o.DB.Subscribe(store.TopicServers)
	defer cancel()
	for {
		wait := r.o.Resync
		if err := r.Reconcile(ctx); err != nil && ctx.Err() == nil {
			r.o.Log.Error("servers are behind", "error", err)
			wait = time.Second
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-woken:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// Reconcile takes every server that has a task as far as it comes now.
func (r *Runner) Reconcile(ctx context.Context) error {
	marker := ""
	errs := []error{r.clear(ctx)}
	for {
		var list []*store.Server
		err := r.o.DB.Read(ctx, func(tx *store.Tx) (err error) {
			list, err = tx.Servers(ctx, store.ServerQuery{Busy: true, Marker: marker, Limit: batch})
			return err
		})
		if fault.Is(err, fault.NotFound) { // the marker was deleted meanwhile
			return errors.Join(errs...)
		}
		if err != nil {
			return err
		}
		errs = append(errs, r.advanceAll(ctx, list)...)
		if len(list) < batch {
			return errors.Join(errs...)
		}
		marker = list[len(list)-1].UUID
	}
}

func (r *Runner) advanceAll(ctx context.Context, list []*store.Server) []error {
	var mu sync.Mutex
	var errs []error
	var all sync.WaitGroup
	slots := make(chan struct{}, width)
	for _, s := range list {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := r.advance(ctx, s); err != nil {
				mu.Lock()
				errs = append(errs, fmt.Errorf("server %s: %s: %w", s.UUID, s.Task, err))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return errs
}

// errWaiting ends an advance: the server waits for something that will wake the Runner.
var errWaiting = errors.New("waiting")

// advance carries out the server's task step by step until it is done or has to wait. A failure that may pass is left for the next round; any
// other puts the server into ERROR with the reason.
func (r *Runner) advance(ctx context.Context, s *store.Server) error {
	for s.Task != "" {
		task := tasks[s.Task]
		if task == nil {
			return fmt.Errorf("task %q is unknown", s.Task)
		}
		err := task(r, ctx, s)
		switch {
		case err == nil:
			continue
		case errors.Is(err, errGone), errors.Is(err, errWaiting):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case passes(err):
			return errors.Join(err, r.say(ctx, s, err.Error()))
		case s.Task == store.TaskDeleting:
			return errors.Join(err, r.say(ctx, s, err.Error()))
		}
		r.o.Log.Warn("a server failed", "server", s.UUID, "task", s.Task, "error", err)
		return r.save(ctx, s, func(tx *store.Tx) error {
			s.State, s.Task, s.Reason, s.WaitUntil = store.ServerError, "", failure(err), time.Time{}
			return r.giveUp(ctx, tx, s)
		})
	}
	return nil
}

// errGone ends an advance: the server is no more.
var errGone = errors.New("the server is gone")

// passes reports whether trying again may help.
func passes(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Timeout, fault.Locked, fault.Full, fault.Lost:
		return true
	}
	return false
}

func failure(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Text
	}
	return err.Error()
}

// tasks carries out one step of each task. A step returns nil when it has changed the server's task, errWaiting when it waits.
var tasks = map[string]func(*Runner, context.Context, *store.Server) error{
	store.TaskScheduling: (*Runner).schedule,
	store.TaskNetworking: (*Runner).awaitPorts,
	store.TaskSpawning:   (*Runner).spawn,
	store.TaskStarting:   (*Runner).start,
	store.TaskStopping:   (*Runner).stop,
	store.TaskRebooting:  (*Runner).reboot,
	store.TaskAttaching:  (*Runner).attach,
	store.TaskDetaching:  (*Runner).detach,
	store.TaskDeleting:   (*Runner).remove,
	store.TaskMigrating:  (*Runner).migrate,
	store.TaskReverting:  (*Runner).migrate,
	store.TaskFinishing:  (*Runner).finish,
	store.TaskEvacuating: (*Runner).finish,
	store.TaskRebuilding: (*Runner).rebuild,
}

// save writes s after f has changed it. When somebody else wrote the server meanwhile, it is read anew and the advance goes on from there.
func (r *Runner) save(ctx context.Context, s *store.Server, f func(*store.Tx) error) error {
	err := r.o.DB.Write(ctx, func(tx *store.Tx) error {
		now, err := tx.ServerForUpdate(ctx, s.UUID)
		if err != nil {
			return err
		}
		if now.Version != s.Version {
			return errStale
		}
		if err := f(tx); err != nil {
			return err
		}
		return tx.SaveServer(ctx, s)
	})
	switch {
	case fault.Is(err, fault.NotFound):
		return errGone
	case errors.Is(err, errStale):
		return r.reread(ctx, s)
	}
	return err
}

var errStale = errors.New("the server was changed meanwhile")

func (r *Runner) reread(ctx context.Context, s *store.Server) error {
	return r.o.DB.Read(ctx, func(tx *store.Tx) error {
		now, err := tx.Server(ctx, s.UUID)
		if fault.Is(err, fault.NotFound) {
			return errGone
		}
		if err == nil {
			*s = *now
		}
		return err
	})
}

// say shows what the server waits for.
func (r *Runner) say(ctx context.Context, s *store.Server, reason string) error {
	if s.Reason == reason {
		return nil
	}
	err := r.save(ctx, s, func(*store.Tx) error {
		s.Reason = reason
		return nil
	})
	if errors.Is(err, errGone) {
		return nil
	}
	return err
}

// schedule chooses the host, claims the functions and binds the ports: one transaction.
func (r *Runner) schedule(ctx context.Context, s *store.Server) error {
	if len(s.Ports) == 0 {
		return r.place(ctx, s)
	}
	var err error
	request, err := r.requestOf(ctx, s)
	if err != nil {
		return err
	}
	stale := false
	_, _, err = r.o.Placer.Place(ctx, request, func(tx *store.Tx, host string, claims []*store.Claim) error {
		now, err := tx.ServerForUpdate(ctx, s.UUID)
		if err != nil {
			return err
		}
		if stale = now.Version != s.Version; stale {
			return errStale
		}
		if err := r.bind(ctx, tx, claims); err != nil {
			return err
		}
		now.Host, now.Task, now.Reason, now.WaitUntil = host, store.TaskNetworking, "", tx.Now().Add(r.o.PlugTimeout)
		if err := tx.SaveServer(ctx, now); err != nil {
			return err
		}
		*s = *now
		return nil
	})
	switch {
	case stale:
		return r.reread(ctx, s)
	case fault.Is(err, fault.NotFound):
		return errors.Join(err, r.reread(ctx, s))
	}
	return err
}

// place chooses the host of a server without ports.
func (r *Runner) place(ctx context.Context, s *store.Server) error {
	request, err := r.requestOf(ctx, s)
	if err != nil {
		return err
	}
	host, _, err := r.o.Placer.Place(ctx, request, nil)
	if err != nil {
		return err
	}
	return r.save(ctx, s, func(*store.Tx) error {
		s.Host, s.Task, s.Reason = host, store.TaskSpawning, ""
		return nil
	})
}

func (r *Runner) bind(ctx context.Context, tx *store.Tx, claims []*store.Claim) error {
	for _, c := range claims {
		if err := r.o.Binder.Bind(ctx, tx, c, owner); err != nil {
			return err
		}
	}
	return nil
}

// awaitPorts goes on when every port is ACTIVE.
func (r *Runner) awaitPorts(ctx context.Context, s *store.Server) error {
	if err := r.plugged(ctx, s); err != nil {
		return err
	}
	return r.save(ctx, s, func(*store.Tx) error {
		s.Task, s.Reason, s.WaitUntil = store.TaskSpawning, "", time.Time{}
		return nil
	})
}

// plugged returns errWaiting, having said what is waited for, while a port of the server is not ACTIVE; after the deadline it is a conflict.
func (r *Runner) plugged(ctx context.Context, s *store.Server) error {
	if r.o.NoWait {
		return nil
	}
	var waits []string
	var late bool
	err := r.o.DB.Read(ctx, func(tx *store.Tx) error {
		late = tx.Now().After(s.WaitUntil)
		for _, sp := range s.Ports {
			if sp.Detaching {
				continue
			}
			p, err := tx.VPort(ctx, sp.ID)
			if err != nil {
				return err
			}
			if p.Status != network.StatusActive {
				waits = append(waits, fmt.Sprintf("port %s: %s", p.ID, p.StatusReason))
			}
		}
		return nil
	})
	switch {
	case err != nil || len(waits) == 0:
		return err
	case late:
		return fault.New(fault.Conflict, "gave up waiting for its ports to be plugged at %s: %s", s.WaitUntil.Format(time.RFC3339), strings.Join(waits, "; "))
	}
	if err := r.say(ctx, s, strings.Join(waits, "; ")); err != nil {
		return err
	}
	return errWaiting
}

func (r *Runner) remove(ctx context.Context, s *store.Server) error {
	if s.Host != "" {
		err := r.call(ctx, s, func(ctx context.Context, d virt.Driver) error { return d.Destroy(ctx, s.UUID) })
		if err != nil && !fault.Is(err, fault.NotFound) { // a host that was forgotten has nothing of it
			return err
		}
	}
	err := r.o.DB.Write(ctx, func(tx *store.Tx) error {
		ports, err := tx.VPorts(ctx, store.VPortQuery{DeviceID: s.UUID})
		if err != nil {
			return err
		}
		owned := map[string]bool{}
		for _, sp := range s.Ports {
			owned[sp.ID] = sp.Owned
		}
		for _, p := range ports {
			end := r.o.Binder.Unbind
			if owned[p.ID] {
				end = r.o.Binder.Delete
			}
			if err := end(ctx, tx, p.ID); err != nil {
				return err
			}
		}
		if err := r.giveUp(ctx, tx, s); err != nil {
			return err
		}
		return tx.DeleteServer(ctx, s.UUID)
	})
	if err != nil {
		return err
	}
	return errGone
}
