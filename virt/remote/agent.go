package remote

import (
	"context"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/virt"
)

// Domains returns what a host is to do: the domains that were changed after a revision.
func Domains(ctx context.Context, db *store.DB, host string, after int64) (wire.Domains, error) {
	out := wire.Domains{Revision: after, Domains: []wire.Domain{}}
	err := db.Read(ctx, func(tx *store.Tx) error {
		list, err := tx.Domains(ctx, store.DomainQuery{Host: host, After: after})
		for _, d := range list {
			out.Revision = d.Revision
			w := wire.Domain{
				ID: d.ID, Revision: d.Revision, Want: d.Want, Hard: d.Hard, Name: d.Spec.Name, VCPUs: d.Spec.VCPUs, MemoryMB: d.Spec.MemoryMB,
				Image: d.Spec.Image, Removed: d.Spec.Removed,
			}
			for _, f := range d.Spec.Functions {
				w.Functions = append(w.Functions, wire.Function(f))
			}
			out.Domains = append(out.Domains, w)
		}
		return err
	})
	return out, err
}

// Report takes what the agent of a host says of its domains. What it says of a domain that it was never told of, or of a revision that was never
// given, is not believed. The error is fault.Invalid for a state that is none.
func Report(ctx context.Context, db *store.DB, host string, report []wire.DomainStatus) error {
	for i := range report {
		switch s := &report[i]; virt.State(s.State) {
		case virt.Absent, virt.Stopped, virt.Running, virt.Paused, virt.Crashed:
		default:
			return fault.New(fault.Invalid, "domain %s: %q is not a state", s.ID, s.State)
		}
	}
	return db.Write(ctx, func(tx *store.Tx) error {
		for i := range report {
			if err := take(ctx, tx, host, &report[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

const maxText = 1024

func take(ctx context.Context, tx *store.Tx, host string, s *wire.DomainStatus) error {
	list, err := tx.Domains(ctx, store.DomainQuery{Host: host, ID: s.ID, Lock: true})
	if err != nil || len(list) == 0 {
		return err
	}
	d := list[0]
	if s.Revision > d.Revision || s.Revision != 0 && s.Revision < d.Reported {
		return nil
	}
	d.State = s.State
	if s.Revision != 0 {
		d.Reported, d.Kind, d.Error = s.Revision, s.Kind, s.Error[:min(len(s.Error), maxText)]
	}
	if d.Want == wire.WantAbsent && s.Revision == d.Revision && s.Error == "" && s.State == string(virt.Absent) {
		return tx.DeleteDomain(ctx, host, s.ID)
	}
	return tx.SaveDomainReport(ctx, d)
}
