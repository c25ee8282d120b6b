package conductor

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// retry marks the steps that the operation before this one has done, when that failed or was aborted and had the very same list of steps, and
// nothing else has been done to their nodes since. Of a deployment only the steps on children count: the node itself is deployed anew.
func (a *admission) retry(ctx context.Context, kind string, rows []*store.OpStep) error {
	switch kind {
	case kindClean, kindService, kindDeploy:
	default:
		return nil
	}
	last, err := a.tx.LastOp(ctx, a.n.UUID, kind)
	if err != nil || last == nil || (last.State != store.OpFailed && last.State != store.OpAborted) {
		return err
	}
	done, err := a.tx.Steps(ctx, last.ID)
	if err != nil {
		return err
	}
	if err := a.tx.UnsealSteps(ctx, last, done); err != nil {
		return err
	}
	if !sameList(done, rows) {
		return nil
	}
	for _, row := range rows {
		i := slices.IndexFunc(done, func(s *store.OpStep) bool { return s.Seq == row.Seq && s.Node == row.Node && s.State.Finished() })
		if i < 0 || kind == kindDeploy && !row.Child {
			continue
		}
		touched, err := a.touched(ctx, row, last.ID)
		if err != nil {
			return err
		}
		if touched {
			continue
		}
		row.State, row.Started, row.Ended = store.StepSkipped, a.tx.Now(), a.tx.Now()
		row.Evidence = []string{fmt.Sprintf("done by operation %s at %s", last.UUID, done[i].Ended.Format("15:04:05"))}
		if done[i].State == store.StepSkipped {
			row.Evidence = done[i].Evidence
		}
	}
	return nil
}

// touched reports whether anything was sent to the row's node since: by its own operations, or, where power matters, by its server's.
func (a *admission) touched(ctx context.Context, row *store.OpStep, since int64) (bool, error) {
	touched, err := a.tx.TouchedSince(ctx, row.Node, since)
	if err != nil || touched || !row.Child || row.Interface != node.Power {
		return touched, err
	}
	return a.tx.TouchedSince(ctx, a.n.UUID, since)
}

// sameList reports whether two operations run the same steps in the same order, on whichever children.
func sameList(a, b []*store.OpStep) bool {
	return reflect.DeepEqual(outline(a), outline(b))
}

// outlined is a step without its node.
type outlined struct {
	name  string
	args  node.Object
	child bool
}

func outline(rows []*store.OpStep) map[int]outlined {
	list := map[int]outlined{}
	for _, s := range rows {
		if s.Seq == extraSeq {
			continue
		}
		args := s.Args
		if len(args) == 0 {
			args = nil
		}
		list[s.Seq] = outlined{s.Name(), args, s.Child}
	}
	return list
}
