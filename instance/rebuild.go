package instance

import (
	"context"

	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/virt"
)

// Rebuild makes the domain of a server anew, booting from image. Its ports and functions stay. A stopped server stays stopped.
func (r *Runner) Rebuild(ctx context.Context, id, image string) error {
	return r.change(ctx, id, "rebuild", func(_ *store.Tx, s *store.Server) error {
		if err := allowed(s, "rebuild", store.ServerActive, store.ServerStopped, store.ServerError); err != nil {
			return err
		}
		s.Image, s.Task = image, store.TaskRebuilding
		return nil
	})
}

func (r *Runner) rebuild(ctx context.Context, s *store.Server) error {
	if err := r.call(ctx, s, func(ctx context.Context, d virt.Driver) error { return d.Destroy(ctx, s.UUID) }); err != nil {
		return err
	}
	if s.State != store.ServerStopped {
		return r.spawn(ctx, s)
	}
	if err := r.define(ctx, s); err != nil {
		return err
	}
	return r.done(ctx, s, store.ServerStopped)
}
