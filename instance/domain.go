package instance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/placement"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/virt"
)

func (r *Runner) requestOf(ctx context.Context, s *store.Server) (placement.Request, error) {
	var request placement.Request
	err := r.o.DB.Read(ctx, func(tx *store.Tx) (err error) {
		request, err = r.request(ctx, tx, s)
		return err
	})
	return request, err
}

// call calls the virt driver of the server's host.
func (r *Runner) call(ctx context.Context, s *store.Server, f func(context.Context, virt.Driver) error) error {
	d, err := r.o.Virt(s.Host)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := f(ctx, d); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return fault.New(fault.Timeout, "host %s: the virt driver did not answer within %s", s.Host, patience)
		}
		return err
	}
	return nil
}

// domain returns the server as its virt driver is to know it.
func (r *Runner) domain(ctx context.Context, s *store.Server) (virt.Domain, error) {
	d := virt.Domain{ID: s.UUID, Name: s.Name, VCPUs: s.Flavor.VCPUs, MemoryMB: s.Flavor.MemoryMB, Image: s.Image}
	err := r.o.DB.Read(ctx, func(tx *store.Tx) error {
		for _, sp := range s.Ports {
			if sp.Detaching {
				continue
			}
			f, err := functionOf(ctx, tx, s, sp.ID)
			if err != nil {
				return err
			}
			d.Functions = append(d.Functions, f)
		}
		return nil
	})
	return d, err
}

// functionOf returns the function that a port of the server is bound to.
func functionOf(ctx context.Context, tx *store.Tx, s *store.Server, port string) (virt.Function, error) {
	p, err := tx.VPort(ctx, port)
	if err != nil {
		return virt.Function{}, err
	}
	claims, err := tx.Claims(ctx, store.ClaimQuery{Port: port, Host: s.Host})
	if err != nil {
		return virt.Function{}, err
	}
	for _, c := range claims {
		if c.State != store.ClaimReleasing {
			return virt.Function{Address: c.Address, MAC: p.MAC}, nil
		}
	}
	return virt.Function{}, fault.New(fault.Conflict, "port %s has no function on host %s", port, s.Host)
}

// spawn defines and starts the domain.
func (r *Runner) spawn(ctx context.Context, s *store.Server) error {
	if err := r.run(ctx, s); err != nil {
		return err
	}
	return r.done(ctx, s, store.ServerActive)
}

func (r *Runner) run(ctx context.Context, s *store.Server) error {
	if err := r.define(ctx, s); err != nil {
		return err
	}
	return r.call(ctx, s, func(ctx context.Context, v virt.Driver) error { return v.Start(ctx, s.UUID) })
}

// define makes the server's domain known to its host, which has forgotten before what was left over there.
func (r *Runner) define(ctx context.Context, s *store.Server) error {
	if err := r.clearHost(ctx, s.Host); err != nil {
		return err
	}
	d, err := r.domain(ctx, s)
	if err != nil {
		return err
	}
	return r.call(ctx, s, func(ctx context.Context, v virt.Driver) error { return v.Define(ctx, d) })
}

// done ends the server's task in a state.
func (r *Runner) done(ctx context.Context, s *store.Server, state store.ServerState) error {
	return r.save(ctx, s, func(tx *store.Tx) error {
		s.State, s.Task, s.Reason, s.WaitUntil = state, "", "", time.Time{}
		s.Power = string(virt.Running)
		if state == store.ServerStopped {
			s.Power = string(virt.Stopped)
		}
		if s.LaunchedAt.IsZero() {
			s.LaunchedAt = tx.Now()
		}
		return nil
	})
}

func (r *Runner) start(ctx context.Context, s *store.Server) error { return r.spawn(ctx, s) }

func (r *Runner) stop(ctx context.Context, s *store.Server) error {
	if err := r.halt(ctx, s); err != nil {
		return err
	}
	return r.done(ctx, s, store.ServerStopped)
}

// halt asks the guest to stop, and stops it when it does not.
func (r *Runner) halt(ctx context.Context, s *store.Server) error {
	err := r.call(ctx, s, func(ctx context.Context, v virt.Driver) error { return v.Stop(ctx, s.UUID, false) })
	if fault.Is(err, fault.Timeout) {
		return r.call(ctx, s, func(ctx context.Context, v virt.Driver) error { return v.Stop(ctx, s.UUID, true) })
	}
	return err
}

func (r *Runner) reboot(ctx context.Context, s *store.Server) error {
	if err := r.halt(ctx, s); err != nil {
		return err
	}
	return r.spawn(ctx, s)
}

// attach gives the domain the functions that it does not have yet, once their ports are plugged.
func (r *Runner) attach(ctx context.Context, s *store.Server) error {
	if err := r.plugged(ctx, s); err != nil {
		return err
	}
	d, err := r.domain(ctx, s)
	if err != nil {
		return err
	}
	for _, f := range d.Functions {
		err := r.call(ctx, s, func(ctx context.Context, v virt.Driver) error { return v.Attach(ctx, s.UUID, f) })
		if err != nil {
			return fmt.Errorf("attach %s: %w", f.Address, err)
		}
	}
	return r.done(ctx, s, s.State)
}

// detach takes functions from the domain, and only then unbinds their ports.
func (r *Runner) detach(ctx context.Context, s *store.Server) error {
	for _, sp := range s.Ports {
		if !sp.Detaching {
			continue
		}
		var f virt.Function
		err := r.o.DB.Read(ctx, func(tx *store.Tx) (err error) {
			f, err = functionOf(ctx, tx, s, sp.ID)
			return err
		})
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict) {
			continue // the port is gone or unbound already
		}
		if err != nil {
			return err
		}
		if err := r.call(ctx, s, func(ctx context.Context, v virt.Driver) error { return v.Detach(ctx, s.UUID, f.Address) }); err != nil {
			return fmt.Errorf("detach %s: %w", f.Address, err)
		}
	}
	err := r.save(ctx, s, func(tx *store.Tx) error {
		for _, sp := range s.Ports {
			if !sp.Detaching {
				continue
			}
			if err := r.o.Binder.Unbind(ctx, tx, sp.ID); err != nil && !fault.Is(err, fault.NotFound) {
				return err
			}
		}
		s.Ports = slices.DeleteFunc(s.Ports, func(p store.ServerPort) bool { return p.Detaching })
		s.Task, s.Reason = "", ""
		return nil
	})
	return err
}
