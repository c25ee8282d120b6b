package store_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
)

var errNo = errors.New("no")

// openHost opens a store with one host that has a card with one PF of these VFs.
func openHost(t *testing.T, ranges ...store.VFRange) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "riser.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	inTx(t, db, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.SaveHostReport(ctx, &store.Host{Name: "cmp1"}, time.Hour); err != nil {
			return err
		}
		return saveCard(ctx, tx, ranges...)
	})
	return db
}

func saveCard(ctx context.Context, tx *store.Tx, ranges ...store.VFRange) error {
	pf := &store.HostPF{Host: "cmp1", Address: "0000:81:00.0", Slot: "0000:81:00.0", Serial: "MT1", MAC: "0c:42:a1:00:00:01", RemoteManaged: true, Ranges: ranges}
	for _, r := range ranges {
		pf.VFs += r.Count
	}
	return tx.SaveHostCards(ctx, "cmp1", []*store.HostCard{{Host: "cmp1", Slot: pf.Slot, Serial: "MT1"}}, []*store.HostPF{pf})
}

func inTx(t *testing.T, db *store.DB, fn func(context.Context, *store.Tx) error) {
	t.Helper()
	if err := db.Write(t.Context(), func(tx *store.Tx) error { return fn(t.Context(), tx) }); err != nil {
		t.Fatal(err)
	}
}

// take claims a VF in a transaction of its own.
func take(t *testing.T, db *store.DB, vf int) (*store.Claim, error) {
	t.Helper()
	c := &store.Claim{UUID: uuid.NewString(), VF: vf, Port: "p"}
	c.Key = c.UUID
	err := db.Write(t.Context(), func(tx *store.Tx) error {
		return tx.ClaimOn(t.Context(), &store.HostPF{Host: "cmp1", Address: "0000:81:00.0"}, c)
	})
	return c, err
}

func wantPF(t *testing.T, db *store.DB, claimed, free int, whole bool) {
	t.Helper()
	inTx(t, db, func(ctx context.Context, tx *store.Tx) error {
		pfs, err := tx.HostPFs(ctx, store.PFQuery{})
		if err == nil && (pfs[0].Claimed != claimed || pfs[0].Free != free || pfs[0].Whole != whole) {
			t.Errorf("%d claimed, %d free, whole %v; want %d, %d, %v", pfs[0].Claimed, pfs[0].Free, pfs[0].Whole, claimed, free, whole)
		}
		return err
	})
}

func TestTheLowestFreeVFIsTaken(t *testing.T) {
	db := openHost(t, store.VFRange{First: 0, Count: 2, Address: "0000:81:00.2", Stride: 1}, store.VFRange{First: 63, Count: 3, Address: "0000:81:10.0", Stride: 2})
	var claims []*store.Claim
	for _, want := range []int{0, 1, 63, 64, 65} {
		c, err := take(t, db, store.AnyVF)
		if err != nil || c.VF != want {
			t.Fatalf("claimed VF %d, error %v; want VF %d", c.VF, err, want)
		}
		claims = append(claims, c)
	}
	wantPF(t, db, 5, 0, false)
	if _, err := take(t, db, store.AnyVF); !fault.Is(err, fault.Conflict) {
		t.Errorf("a sixth of five VFs: %v", err)
	}
	for _, i := range []int{3, 0} {
		inTx(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.FreeClaim(ctx, claims[i].UUID) })
		c, err := take(t, db, store.AnyVF)
		if err != nil || c.VF != claims[i].VF || c.Address != claims[i].Address {
			t.Errorf("claimed VF %d at %s, error %v; want VF %d, which was released", c.VF, c.Address, err, claims[i].VF)
		}
	}
}

func TestWhatCannotBeTaken(t *testing.T) {
	db := openHost(t, store.VFRange{Count: 4, Address: "0000:81:00.2", Stride: 1})
	zero, err := take(t, db, 0)
	if err != nil || zero.Address != "0000:81:00.2" {
		t.Fatalf("VF 0 at %s, error %v", zero.Address, err)
	}
	for name, tt := range map[string]struct {
		vf   int
		kind fault.Kind
	}{
		"VF 0 twice":              {0, fault.Conflict},
		"a VF that is not there":  {4, fault.NotFound},
		"a negative VF":           {-3, fault.NotFound},
		"the PF of a claimed VF":  {store.WholePF, fault.Conflict},
		"a VF far beyond the PF":  {1 << 20, fault.NotFound},
		"the VF after the ranges": {64, fault.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := take(t, db, tt.vf); !fault.Is(err, tt.kind) {
				t.Errorf("error %v, want %v", err, tt.kind)
			}
		})
	}
	wantPF(t, db, 1, 3, false)
}

func TestAPFThatIsClaimedAsAWholeHasNoFreeVF(t *testing.T) {
	db := openHost(t, store.VFRange{Count: 4, Address: "0000:81:00.2", Stride: 1})
	c, err := take(t, db, store.WholePF)
	if err != nil {
		t.Fatal(err)
	}
	wantPF(t, db, 1, 0, true)
	inTx(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.FreeClaim(ctx, c.UUID) })
	wantPF(t, db, 0, 4, false)
}

func TestAReportCountsTheClaimsAnew(t *testing.T) {
	db := openHost(t, store.VFRange{Count: 4, Address: "0000:81:00.2", Stride: 1})
	if _, err := take(t, db, 3); err != nil {
		t.Fatal(err)
	}
	inTx(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.SaveHostCards(ctx, "cmp1", nil, nil) })
	inTx(t, db, func(ctx context.Context, tx *store.Tx) error {
		return saveCard(ctx, tx, store.VFRange{Count: 8, Address: "0000:81:00.2", Stride: 1})
	})
	wantPF(t, db, 1, 7, false)
}

func TestAFailedAttemptLeavesWhatWasBefore(t *testing.T) {
	db := openHost(t, store.VFRange{Count: 4, Address: "0000:81:00.2", Stride: 1})
	woken, cancel := db.Subscribe("lost")
	defer cancel()
	inTx(t, db, func(ctx context.Context, tx *store.Tx) error {
		disable := func(reason string, err error) error {
			return tx.Try(ctx, func() error { return errors.Join(tx.DisableHost(ctx, "cmp1", reason), err) })
		}
		if err := disable("kept", nil); err != nil {
			return err
		}
		err := tx.Try(ctx, func() error {
			tx.Wake("lost")
			return disable("lost", errNo)
		})
		if !errors.Is(err, errNo) {
			t.Errorf("error %v, want that of the function", err)
		}
		return nil
	})
	inTx(t, db, func(ctx context.Context, tx *store.Tx) error {
		h, err := tx.Host(ctx, "cmp1")
		if err == nil && h.Disabled != "kept" {
			t.Errorf("the host is disabled for %q", h.Disabled)
		}
		return err
	})
	select {
	case <-woken:
		t.Error("somebody was woken for what was taken back")
	default:
	}
}
