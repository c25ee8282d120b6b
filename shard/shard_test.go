package shard_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/shard"
	"github.com/riser-project/riser/store"
)

func open(t *testing.T) *store.DB {
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
	return db
}

// clock is a monotonic clock that a test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func TestOneProcessHoldsEverything(t *testing.T) {
	h := shard.New(open(t), shard.Options{ID: "a", Hostname: "h"})
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(h.Shards()); got != store.ShardsPerGroup {
		t.Errorf("it holds %d shards, want %d", got, store.ShardsPerGroup)
	}
	if err := h.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(h.Shards()); got != 0 {
		t.Errorf("after Stop it holds %d shards", got)
	}
}

func TestANewProcessOnAnEmbeddedDatabaseNeedNotWait(t *testing.T) {
	db := open(t)
	first := shard.New(db, shard.Options{ID: "a"})
	second := shard.New(db, shard.Options{ID: "b"})
	for _, h := range []*shard.Holder{first, second} {
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(second.Shards()); got != store.ShardsPerGroup {
		t.Fatalf("the second process holds %d shards", got)
	}
	f, _, ok := first.Begin(0)
	if !ok {
		t.Fatal("the first process does not believe that it holds its lease: the test shows nothing")
	}
	if err := db.WriteFenced(t.Context(), f, func(*store.Tx) error { return nil }); !fault.Is(err, fault.Lost) {
		t.Errorf("a late write of the first process: %v", err)
	}
}

func TestAHolderStopsItselfBeforeItsLeaseEnds(t *testing.T) {
	c := &clock{t: time.Now()}
	h := shard.New(open(t), shard.Options{ID: "a", Now: c.now, TTL: 15 * time.Second, Margin: 3 * time.Second})
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f, done, ok := h.Begin(7)
	if !ok {
		t.Fatal("no lease")
	}
	defer done()
	c.add(11 * time.Second)
	if err := h.Check(f); err != nil {
		t.Errorf("after 11 s: %v", err)
	}
	c.add(2 * time.Second)
	if err := h.Check(f); !fault.Is(err, fault.Lost) {
		t.Errorf("after 13 s, 2 s before the lease can end: %v", err)
	}
	if _, _, ok := h.Begin(7); ok {
		t.Error("work may begin under a lease that may have ended")
	}
	if got := h.Shards(); len(got) != 0 {
		t.Errorf("it still offers shards %v", got)
	}
}

func TestAShortLeaseLeavesAMargin(t *testing.T) {
	h := shard.New(open(t), shard.Options{ID: "a", TTL: time.Second})
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(h.Shards()); got != store.ShardsPerGroup {
		t.Errorf("with leases of a second it may work in %d shards", got)
	}
}

func TestWorkEndsWithItsLease(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := &clock{t: time.Now()}
	h := shard.New(open(t), shard.Options{ID: "a", Now: c.now, TTL: time.Minute, Renew: time.Hour})
	if err := h.Start(ctx); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { h.Run(ctx) })
	f, done, _ := h.Begin(7)
	defer done()
	work, stop := h.Context(ctx, f)
	defer stop()
	ended, stopEnded := h.Context(ctx, f)
	stopEnded()
	<-ended.Done()
	c.add(47 * time.Second)
	if work.Err() != nil {
		t.Fatal("the work was ended while the lease was good")
	}
	c.add(2 * time.Second)
	start := time.Now()
	select {
	case <-work.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("the work goes on without a lease")
	}
	if took := time.Since(start); took > time.Second || !fault.Is(context.Cause(work), fault.Lost) {
		t.Errorf("it ended after %v because of %v", took, context.Cause(work))
	}
}

func TestAHolderComesBackAfterASilenceThatNobodyUsed(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	db := open(t)
	h := shard.New(db, shard.Options{ID: "a", TTL: 400 * time.Millisecond, Renew: 700 * time.Millisecond, Delay: time.Hour})
	if err := h.Start(ctx); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { h.Run(ctx) })
	waitFor(t, "the leases expire", func() bool { return len(h.Shards()) == 0 })
	waitFor(t, "they are renewed", func() bool { return len(h.Shards()) == store.ShardsPerGroup })
	if f, done, ok := h.Begin(3); ok {
		defer done()
		if f.Epoch != 1 {
			t.Errorf("the lease has epoch %d", f.Epoch)
		}
	}
}

func TestRebalance(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	db := open(t)
	opts := func(id string) shard.Options {
		return shard.Options{ID: id, Renew: 5 * time.Millisecond, Delay: time.Millisecond, TTL: time.Minute}
	}
	a := shard.New(db, opts("a"))
	if err := a.Start(ctx); err != nil {
		t.Fatal(err)
	}
	kept := 0
	for s := range store.ShardsPerGroup {
		if shard.Winner(s, []string{"a", "b"}) == "b" {
			kept = s
		}
	}
	f, done, ok := a.Begin(kept)
	if !ok {
		t.Fatal("no lease")
	}
	if err := db.SaveConductor(ctx, store.Conductor{ID: "b"}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { a.Run(ctx) })
	waitFor(t, "a gives away half", func() bool { n := len(a.Shards()); return n > 10 && n < 54 })
	if err := a.Check(f); err != nil {
		t.Errorf("a lost the shard with work under way: %v", err)
	}
	for _, s := range a.Shards() {
		if s == kept {
			t.Error("new work may begin in a shard that is on its way to b")
		}
	}
	if !a.Leaving(kept) {
		t.Error("the work in the shard is not asked to come to a safe point")
	}
	done()
	waitFor(t, "a gives away the rest", func() bool { return fault.Is(a.Check(f), fault.Lost) })
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 5 s: %s", what)
}

func TestWinner(t *testing.T) {
	members := []string{"a", "b", "c", "d"}
	counts := map[string]int{}
	moved := 0
	for s := range 1000 {
		w := shard.Winner(s, members)
		counts[w]++
		without := shard.Winner(s, []string{"a", "b", "d"})
		if w != "c" && w != without {
			t.Errorf("shard %d moved from %s to %s when c left", s, w, without)
		}
		if w == "c" {
			moved++
		}
	}
	for _, m := range members {
		if counts[m] < 180 || counts[m] > 320 {
			t.Errorf("of 1000 shards %s has %d", m, counts[m])
		}
	}
	if shard.Winner(1, nil) != "" {
		t.Error("a shard without members has a winner")
	}
	if moved == 0 {
		t.Errorf("c had nothing: %v", counts)
	}
}
