package sysfs

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/riser-project/riser/pci"
	"github.com/riser-project/riser/pci/vpd"
)

// source is where a function's VPD is, and what tells that it is still the same device's. The zero value is that of a function without VPD.
type source struct {
	file string // below the root
	key  key
}

// key changes when a device is plugged anew, and for a PF when its driver changes.
type key struct{ device, file, driver string }

func (s *scan) source(f *pci.Function, dir string) source {
	file := filepath.Join(dir, "vpd")
	inode := s.tree.inode(file)
	if inode == "" {
		return source{}
	}
	k := key{device: s.tree.inode(dir), file: inode}
	if f.Kind != pci.VF {
		k.driver = f.Driver
	}
	return source{file, k}
}

// reading is the reading of one VPD, under way or done.
type reading struct {
	key      key
	done     chan struct{} // closed when the fields below are set
	identity pci.Identity
	failed   bool // it could not be read, so a later Scan may try again

	givenUp bool // a Scan has waited in vain; guarded by Tree.mu
}

// forget drops what is known of functions that are gone, and notes those that Fingerprint watches.
func (s *scan) forget() {
	t := s.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	here := make(map[pci.Address]bool, len(s.found))
	t.watched = t.watched[:0]
	for i := range s.found {
		f := &s.found[i]
		here[f.Address] = true
		if f.Kind != pci.VF {
			t.watched = append(t.watched, f.Address)
		}
	}
	for a := range t.readings {
		if !here[a] {
			delete(t.readings, a)
		}
	}
}

// readVPDs reads what is not known yet: slots side by side, the functions of a slot one after the other.
func (s *scan) readVPDs(ctx context.Context) error {
	type slot struct {
		domain    uint32
		bus, slot uint8
	}
	slots := map[slot][]int{}
	for i := range s.found {
		if s.vpds[i].file == "" {
			continue
		}
		pf := s.found[i].PF()
		k := slot{pf.Domain, pf.Bus, pf.Slot}
		slots[k] = append(slots[k], i)
	}
	var wait sync.WaitGroup
	for _, members := range slots {
		wait.Go(func() { s.readSlot(ctx, members) })
	}
	wait.Wait()
	return ctx.Err()
}

func (s *scan) readSlot(ctx context.Context, members []int) {
	hangs := ""
	for _, i := range members {
		src := s.vpds[i]
		var id pci.Identity
		if hangs == "" {
			var ended bool
			if id, ended = s.tree.identity(ctx, s.found[i].Address, src); !ended {
				hangs = src.file
			}
		} else {
			id = pci.Identity{Problem: fmt.Sprintf("%s: not read, since reading %s hangs", src.file, hangs)}
		}
		s.found[i].Identity = &id
	}
}

// identity returns what a function's VPD says of its card. It reports false if reading does not end.
func (t *Tree) identity(ctx context.Context, a pci.Address, src source) (id pci.Identity, ended bool) {
	r, givenUp := t.reading(a, src)
	timeout := t.VPDTimeout
	if givenUp {
		timeout = 0
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-r.done:
		return r.identity, true
	case <-timer.C:
	case <-ctx.Done():
		return pci.Identity{Problem: ctx.Err().Error()}, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-r.done: // just now
		return r.identity, true
	default:
	}
	r.givenUp = true
	return pci.Identity{Problem: fmt.Sprintf("%s: reading did not end within %v", src.file, t.VPDTimeout)}, false
}

// reading returns the reading of a function's VPD, and starts it if there is none of this device or it failed. givenUp says that it has been
// waited for.
func (t *Tree) reading(a pci.Address, src source) (r *reading, givenUp bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.readings[a]; r != nil && r.key == src.key {
		select {
		case <-r.done:
			if !r.failed {
				return r, false
			}
		default:
			return r, r.givenUp
		}
	}
	r = &reading{key: src.key, done: make(chan struct{})}
	t.readings[a] = r
	go t.read(r, src.file)
	return r, false
}

// read ends when the kernel does; a device whose VPD hangs can hold it for long.
func (t *Tree) read(r *reading, file string) {
	data, err := readVPD(filepath.Join(t.root, file))
	if err != nil {
		r.identity, r.failed = pci.Identity{Problem: fmt.Sprintf("%s: %v", file, reason(err))}, true
	} else if v, err := vpd.Parse(data); err != nil {
		r.identity = pci.Identity{Problem: err.Error()}
	} else {
		r.identity = v.Identity()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	close(r.done)
	if r.givenUp {
		t.late++
	}
}

func readVPD(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, vpd.Space))
}

// ReadVPD returns the VPD of a function as it is, at most vpd.Space bytes. It waits as long as the kernel does.
func (t *Tree) ReadVPD(a pci.Address) ([]byte, error) {
	data, err := readVPD(filepath.Join(t.root, devices, a.String(), "vpd"))
	if err != nil {
		return nil, fmt.Errorf("sysfs: VPD of %s: %w", a, err)
	}
	return data, nil
}
