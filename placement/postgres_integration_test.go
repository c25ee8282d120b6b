//go:build integration

package placement_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/lab"
	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/placement"
	"github.com/riser-project/riser/store"
)

func TestProcessesOnPostgreSQLNeverShareAVF(t *testing.T) {
	dsn, options := lab.StartPostgreSQL(t).Database(t), store.Options{KeyFile: filepath.Join(t.TempDir(), "key")}
	one, other := attachsim.With(t, dsn, options), attachsim.With(t, dsn, options)
	one.Node("cmp1")
	one.Report("cmp1", attachsim.Card(serial1, 0x81, 2, 8), attachsim.Card(serial2, 0x82, 2, 8))
	one.DPU(serial1, "dpu-a")
	one.DPU(serial2, "dpu-b")
	var all sync.WaitGroup
	for i, p := range []*placement.Placer{one.Placer, other.Placer, one.Placer, other.Placer, one.Placer, other.Placer} {
		all.Go(func() {
			for j := range 12 {
				_, claims, err := p.Place(context.Background(), request(fmt.Sprintf("p%d-%d", i, j)), nil)
				if err == nil && j%2 == 0 {
					err = p.Release(context.Background(), claims[0].UUID)
				}
				if err != nil && !fault.Is(err, fault.Conflict) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for _, c := range one.Claims(store.ClaimQuery{}) {
		if seen[c.Address] {
			t.Errorf("%s is claimed twice", c.Address)
		}
		seen[c.Address] = true
	}
	if len(seen) != 32 {
		t.Errorf("%d VFs are claimed, want all 32", len(seen))
	}
	one.Write(func(tx *store.Tx) error {
		pfs, err := tx.HostPFs(t.Context(), store.PFQuery{})
		for _, p := range pfs {
			if p.Claimed != 8 || p.Free != 0 {
				t.Errorf("PF %s: %d claimed, %d free", p.Address, p.Claimed, p.Free)
			}
		}
		return err
	})
	if hosts, err := other.Placer.Choose(t.Context(), request("p"), 1); err != nil || len(hosts) != 0 {
		t.Errorf("hosts %v, error %v; want none, since no VF is free", hosts, err)
	}
}
