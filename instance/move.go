package instance

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/placement"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/virt"
)

// A move claims functions on the new host first and keeps them aside; then the old host gives up the domain; then, in one transaction, the ports
// are unbound from the old functions and bound to the new ones; then the domain starts once they are plugged. Up to that transaction everything
// can be given up, after it the server is the new host's.

// Migrate moves a server to another host, or to the one that is named. When it has arrived, it is in VERIFY_RESIZE until Confirm or Revert. The
// error is fault.Invalid when no host can take it, with the reasons, and fault.Conflict when its state forbids a move.
func (r *Runner) Migrate(ctx context.Context, id, host string) error {
	return r.move(ctx, id, "migrate", func(s *store.Server, q *placement.Request) (*store.Move, error) {
		if err := allowed(s, "migrate", store.ServerActive, store.ServerStopped); err != nil {
			return nil, err
		}
		if host == s.Host {
			return nil, fault.New(fault.Invalid, "Unable to migrate instance (%s) to current host (%s).", s.UUID, host)
		}
		elsewhere(s, q, host)
		return &store.Move{Kind: store.MoveMigration, Stopped: s.State == store.ServerStopped}, nil
	})
}

// Evacuate moves a server away from a host that is silent. Its ports leave the old functions at once, so the old guest, should it still run, is cut
// off by its card; the old domain is destroyed when its host is back. The errors are those of Migrate, and fault.Invalid while the host lives.
func (r *Runner) Evacuate(ctx context.Context, id, host string) error {
	return r.move(ctx, id, "evacuate", func(s *store.Server, q *placement.Request) (*store.Move, error) {
		if err := allowed(s, "evacuate", store.ServerActive, store.ServerStopped, store.ServerError); err != nil {
			return nil, err
		}
		if err := r.dead(ctx, s.Host); err != nil {
			return nil, err
		}
		if host == s.Host {
			return nil, fault.New(fault.Invalid, "The target host can't be the same one.")
		}
		elsewhere(s, q, host)
		return &store.Move{Kind: store.MoveEvacuation, Stopped: s.State == store.ServerStopped}, nil
	})
}

// Revert takes a migrated server back to the host that it came from. The error is fault.Invalid when that has no functions for it any more.
func (r *Runner) Revert(ctx context.Context, id string) error {
	return r.move(ctx, id, "revertResize", func(s *store.Server, q *placement.Request) (*store.Move, error) {
		if err := allowed(s, "revertResize", store.ServerResized); err != nil {
			return nil, err
		}
		q.Host, q.VCPUs, q.MemoryMB = s.Move.From, 0, 0 // its size is still counted there
		return &store.Move{ID: s.Move.ID, Kind: store.MoveRevert, Stopped: s.Move.Stopped}, nil
	})
}

// Confirm ends a migration: the server stays where it is.
func (r *Runner) Confirm(ctx context.Context, id string) error {
	return r.change(ctx, id, "confirmResize", func(tx *store.Tx, s *store.Server) error {
		if err := allowed(s, "confirmResize", store.ServerResized); err != nil {
			return err
		}
		return arrived(ctx, tx, s, "confirmed")
	})
}

func allowed(s *store.Server, verb string, states ...store.ServerState) error {
	if slices.Contains(states, s.State) {
		return nil
	}
	return fault.New(fault.Conflict, "Cannot '%s' instance %s while it is in vm_state %s", verb, s.UUID, strings.ToLower(string(s.State)))
}

// elsewhere has the request take another host than the server's; its size is not counted there yet.
func elsewhere(s *store.Server, q *placement.Request, host string) {
	if q.Host = host; host == "" {
		q.Avoid = []string{s.Host}
	}
	q.VCPUs, q.MemoryMB = s.Flavor.VCPUs, s.Flavor.MemoryMB
}

// dead returns an error while the host's agent is heard of.
func (r *Runner) dead(ctx context.Context, name string) error {
	var h *store.Host
	err := r.o.DB.Read(ctx, func(tx *store.Tx) (err error) {
		h, err = tx.Host(ctx, name)
		return err
	})
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err == nil && h.Alive {
		err = fault.New(fault.Invalid, "Compute service of %s is still in use.", name)
	}
	return err
}

// move claims what the server needs on another host, as plan says, and gives it the task to go there.
func (r *Runner) move(ctx context.Context, id, verb string, plan func(*store.Server, *placement.Request) (*store.Move, error)) error {
	var s *store.Server
	var q placement.Request
	err := r.o.DB.Read(ctx, func(tx *store.Tx) (err error) {
		if s, err = tx.Server(ctx, id); err == nil {
			q, err = r.request(ctx, tx, s)
		}
		return err
	})
	if err != nil {
		return err
	}
	if s.Task != "" {
		return fault.New(fault.Conflict, "Cannot '%s' instance %s while it is in task_state %s", verb, s.UUID, s.Task)
	}
	m, err := plan(s, &q)
	if err != nil {
		return err
	}
	q.Key = uuid.NewString()
	_, _, err = r.o.Placer.Place(ctx, q, func(tx *store.Tx, host string, claims []*store.Claim) error {
		now, err := tx.ServerForUpdate(ctx, id)
		if err != nil {
			return err
		}
		if now.Version != s.Version {
			return fault.New(fault.Locked, "Instance %s was changed meanwhile: ask again.", id)
		}
		m.From, m.To = now.Host, host
		return r.depart(ctx, tx, now, m, q.Key, claims)
	})
	if fault.Is(err, fault.Conflict) {
		return fault.New(fault.Invalid, "%w", err)
	}
	return err
}

// depart writes a move into the server and its record.
func (r *Runner) depart(ctx context.Context, tx *store.Tx, s *store.Server, m *store.Move, key string, claims []*store.Claim) error {
	for _, c := range claims {
		if err := tx.ReserveClaim(ctx, c); err != nil {
			return err
		}
	}
	s.Move, s.Held, s.ClaimKey, s.Reason = m, m.To, key, ""
	if m.Kind == store.MoveRevert {
		s.Task = store.TaskReverting
		if err := tx.SetMigrationStatus(ctx, m.ID, "reverting"); err != nil {
			return err
		}
		return tx.SaveServer(ctx, s)
	}
	m.ID = key
	err := tx.InsertMigration(ctx, &store.Migration{
		UUID: m.ID, Server: s.UUID, Kind: m.Kind, Status: "migrating", Source: m.From, Dest: m.To, Project: s.Project, Owner: s.Owner, Flavor: s.Flavor.ID,
	})
	if err != nil {
		return err
	}
	s.Task = store.TaskMigrating
	if m.Kind == store.MoveEvacuation {
		if err := tx.AddLeftover(ctx, store.Leftover{Host: m.From, Server: s.UUID}); err != nil {
			return err
		}
		return r.cross(ctx, tx, s)
	}
	return tx.SaveServer(ctx, s)
}

// migrate has the old host give up the domain, and then crosses over.
func (r *Runner) migrate(ctx context.Context, s *store.Server) error {
	if err := r.halt(ctx, s); err != nil {
		return err
	}
	if err := r.call(ctx, s, func(ctx context.Context, d virt.Driver) error { return d.Destroy(ctx, s.UUID) }); err != nil {
		return err
	}
	return r.save(ctx, s, func(tx *store.Tx) error { return r.rebind(ctx, tx, s) })
}

func (r *Runner) cross(ctx context.Context, tx *store.Tx, s *store.Server) error {
	if err := r.rebind(ctx, tx, s); err != nil {
		return err
	}
	return tx.SaveServer(ctx, s)
}

// rebind binds the server's ports to the functions that were claimed on its new host, and makes that its host.
func (r *Runner) rebind(ctx context.Context, tx *store.Tx, s *store.Server) error {
	m := s.Move
	for _, sp := range s.Ports {
		list, err := tx.Claims(ctx, store.ClaimQuery{Key: s.ClaimKey + "/" + sp.ID})
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return fault.New(fault.Conflict, "port %s has no function on host %s", sp.ID, m.To)
		}
		if err := r.o.Binder.Unbind(ctx, tx, sp.ID); err != nil {
			return err
		}
		if err := tx.GiveClaim(ctx, list[0], sp.ID); err != nil {
			return err
		}
		if err := r.o.Binder.Bind(ctx, tx, list[0], owner); err != nil {
			return err
		}
	}
	s.Host, s.Held, s.Task, s.Reason, s.WaitUntil = m.To, m.From, store.TaskFinishing, "", tx.Now().Add(r.o.PlugTimeout)
	if m.Kind != store.MoveMigration {
		s.Held = ""
	}
	if m.Kind == store.MoveEvacuation {
		s.Task = store.TaskEvacuating
	}
	return nil
}

// finish starts the domain on the new host when its ports are plugged there, unless it was stopped before.
func (r *Runner) finish(ctx context.Context, s *store.Server) error {
	if err := r.plugged(ctx, s); err != nil {
		return err
	}
	start := r.run
	if s.Move.Stopped {
		start = r.define
	}
	if err := start(ctx, s); err != nil {
		return err
	}
	return r.save(ctx, s, func(tx *store.Tx) error {
		switch s.Move.Kind {
		case store.MoveRevert:
			return arrived(ctx, tx, s, "reverted")
		case store.MoveEvacuation:
			return arrived(ctx, tx, s, "done")
		}
		power(s)
		s.State, s.Task, s.Reason = store.ServerResized, "", ""
		return tx.SetMigrationStatus(ctx, s.Move.ID, "finished")
	})
}

// power writes how the domain is after a move.
func power(s *store.Server) {
	s.Power = string(virt.Running)
	if s.Move.Stopped {
		s.Power = string(virt.Stopped)
	}
}

// arrived ends the server's move.
func arrived(ctx context.Context, tx *store.Tx, s *store.Server, status string) error {
	power(s)
	s.State = store.ServerActive
	if s.Move.Stopped {
		s.State = store.ServerStopped
	}
	id := s.Move.ID
	s.Move, s.Held, s.Task, s.Reason = nil, "", "", ""
	return tx.SetMigrationStatus(ctx, id, status)
}

// giveUp takes back what was claimed for a move that did not come to pass, and ends it.
func (r *Runner) giveUp(ctx context.Context, tx *store.Tx, s *store.Server) error {
	claims, err := tx.Claims(ctx, store.ClaimQuery{Server: s.UUID, States: []store.ClaimState{store.ClaimClaimed}})
	if err != nil {
		return err
	}
	for _, c := range claims {
		if c.Port != "" {
			continue
		}
		if err := tx.FreeClaim(ctx, c.UUID); err != nil {
			return err
		}
	}
	m := s.Move
	if m == nil {
		return nil
	}
	if s.Host == m.From {
		s.ClaimKey, err = heldKey(ctx, tx, s)
	}
	s.Move, s.Held = nil, ""
	if err != nil {
		return err
	}
	status := "error"
	if s.State == store.ServerResized { // it is deleted before anybody confirmed it
		status = "confirmed"
	}
	return tx.SetMigrationStatus(ctx, m.ID, status)
}

// heldKey returns the key under which a server has claimed what it has on its host.
func heldKey(ctx context.Context, tx *store.Tx, s *store.Server) (string, error) {
	for _, sp := range s.Ports {
		list, err := tx.Claims(ctx, store.ClaimQuery{Port: sp.ID, Host: s.Host})
		if err != nil {
			return "", err
		}
		for _, c := range list {
			if key, ok := strings.CutSuffix(c.Key, "/"+sp.ID); ok && c.State != store.ClaimReleasing {
				return key, nil
			}
		}
	}
	return "", nil
}

// clear has hosts forget the domains that are left over on them, as far as they answer.
func (r *Runner) clear(ctx context.Context) error {
	var list []store.Leftover
	err := r.o.DB.Read(ctx, func(tx *store.Tx) (err error) {
		list, err = tx.Leftovers(ctx, "")
		return err
	})
	if err != nil {
		return err
	}
	for _, l := range list {
		if r.dead(ctx, l.Host) == nil {
			continue // it still is
		}
		if err := r.forget(ctx, l); err != nil {
			r.o.Log.Warn("a domain is left over", "host", l.Host, "server", l.Server, "error", err)
		}
	}
	return nil
}

// clearHost has a host forget what is left over on it.
func (r *Runner) clearHost(ctx context.Context, host string) error {
	var list []store.Leftover
	err := r.o.DB.Read(ctx, func(tx *store.Tx) (err error) {
		list, err = tx.Leftovers(ctx, host)
		return err
	})
	for _, l := range list {
		if err = r.forget(ctx, l); err != nil {
			break
		}
	}
	return err
}

func (r *Runner) forget(ctx context.Context, l store.Leftover) error {
	at := &store.Server{UUID: l.Server, Host: l.Host}
	if err := r.call(ctx, at, func(ctx context.Context, d virt.Driver) error { return d.Destroy(ctx, l.Server) }); err != nil {
		return err
	}
	return r.o.DB.Write(ctx, func(tx *store.Tx) error { return tx.DeleteLeftover(ctx, l) })
}
