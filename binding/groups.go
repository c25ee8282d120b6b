package binding

import (
	"context"
	"errors"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/store"
)

// groups tells the backend of the security groups: those to keep, or those to remove. A backend that enforces none has nothing to be told.
func (b *Binder) groups(ctx context.Context, remove bool) error {
	var errs []error
	for {
		var list []*store.SecurityGroup
		err := b.o.DB.Read(ctx, func(tx *store.Tx) (err error) {
			list, err = tx.SecurityGroups(ctx, store.SecurityGroupQuery{Pending: true, Limit: batch})
			return err
		})
		if err != nil {
			return err
		}
		told := 0
		for _, g := range list {
			if g.Deleted != remove {
				continue
			}
			if err := b.tellGroup(ctx, g); err != nil {
				errs = append(errs, err)
				continue
			}
			told++
		}
		if len(list) < batch || told == 0 {
			return errors.Join(errs...)
		}
	}
}

func (b *Binder) tellGroup(ctx context.Context, g *store.SecurityGroup) error {
	policies, ok := b.o.Backend.(network.Policies)
	var err error
	switch {
	case !ok:
	case g.Deleted:
		if err = policies.RemoveGroup(ctx, g.ID); fault.Is(err, fault.NotFound) {
			err = nil
		}
	default:
		err = policies.EnsureGroup(ctx, g.SecurityGroup)
	}
	return errors.Join(b.o.DB.Write(ctx, func(tx *store.Tx) error {
		if err != nil {
			return tx.SecurityGroupTrouble(ctx, g.ID, err.Error())
		}
		return tx.SecurityGroupTold(ctx, g)
	}), wrap("security group", g.ID, err))
}
