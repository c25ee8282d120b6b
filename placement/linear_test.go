package placement_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/riser-project/riser/enrol"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/placement"
	"github.com/riser-project/riser/store"
)

// The tests of this file have clients claim and release the VFs of a card through a process that is killed now and then, as by kill -9, and starts
// anew on the same file. A client that lost an answer asks again with the same key. The history must be linearizable: each VF is a lock that
// at most one client holds.

const (
	serverDir = "RISER_TEST_CLAIMS" // the folder of the process that serves claims: this test binary again
	lineVFs   = 127
	perClient = 2 // functions that a client wants: 64 clients want more than there are
)

// Claims is what the process offers over net/rpc.
type Claims struct{ placer *placement.Placer }

// Claimed is an answer: a claim, or Full.
type Claimed struct {
	UUID string
	VF   int
	Full bool
}

// Claim claims a function under a key.
func (c *Claims) Claim(key string, out *Claimed) error {
	r := placement.Request{Key: key, NUMANode: -1, Ports: []placement.Port{{ID: "port"}}}
	_, claims, err := c.placer.Place(context.Background(), r, nil)
	if fault.Is(err, fault.Conflict) {
		out.Full = true
		return nil
	}
	if err == nil {
		out.UUID, out.VF = claims[0].UUID, claims[0].VF
	}
	return err
}

// Release releases a claim.
func (c *Claims) Release(uuid string, _ *struct{}) error {
	return c.placer.Release(context.Background(), uuid)
}

// TestServeClaims is the process; on its own it does nothing.
func TestServeClaims(t *testing.T) {
	dir := os.Getenv(serverDir)
	if dir == "" {
		t.Skip("part of the tests that kill it")
	}
	w := attachsim.On(t, "sqlite:"+filepath.Join(dir, "riser.db"), func(o *enrol.Options) { o.Lease = 24 * time.Hour })
	if known, err := w.Placer.Explain(t.Context(), placement.Request{Host: "cmp1"}); err != nil {
		t.Fatal(err)
	} else if len(known) == 0 {
		w.Node("cmp1")
		w.Report("cmp1", attachsim.Card(serial1, 0x81, 1, lineVFs))
		w.DPU(serial1, "dpu-a")
	}
	server := rpc.NewServer()
	w.Must(server.Register(&Claims{w.Placer}))
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(dir, strconv.Itoa(os.Getpid())))
	w.Must(err)
	fmt.Println("serving", l.Addr())
	server.Accept(l)
}

// process is the process as the clients see it: one that comes back.
type process struct {
	t   *testing.T
	dir string

	mu      sync.Mutex
	cmd     *exec.Cmd
	client  *rpc.Client
	started int
}

func startProcess(t *testing.T) *process {
	t.Helper()
	dir, err := os.MkdirTemp("", "claims") //nolint:usetesting // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, dir: dir}
	t.Cleanup(func() {
		p.kill()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return p
}

// connect returns a connection to the process, which it starts if it is not there. Clients whose connection broke off share the new one.
func (p *process) connect(broken *rpc.Client) (*rpc.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client != broken {
		return p.client, nil
	}
	p.stop()
	cmd := exec.CommandContext(p.t.Context(), os.Args[0], "-test.run=^TestServeClaims$")
	cmd.Env = append(os.Environ(), serverDir+"="+p.dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.cmd = cmd
	p.started++
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var socket string
		if n, _ := fmt.Sscanf(lines.Text(), "serving %s", &socket); n == 1 {
			p.client, err = rpc.Dial("unix", socket)
			return p.client, err
		}
		p.t.Log(lines.Text())
	}
	return nil, fmt.Errorf("the process ended without serving")
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stop()
}

func (p *process) stop() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait() // it was killed
		p.cmd = nil
	}
}

// call calls until there is an answer.
func (p *process) call(method string, in, out any) error {
	var client *rpc.Client
	var err error
	for range 100 {
		if client, err = p.connect(client); err != nil {
			return err
		}
		err = client.Call("Claims."+method, in, out)
		var answer rpc.ServerError
		if err == nil || errors.As(err, &answer) {
			return err
		}
	}
	return err
}

// recorder collects the history of the clients.
type recorder struct {
	p       *process
	start   time.Time
	left    atomic.Int64 // operations to be made
	full    atomic.Int64
	mu      sync.Mutex
	history []porcupine.Operation
}

type operation struct {
	vf    int
	claim string // UUID; a release names it too
	take  bool
}

func (r *recorder) claim(client int, key string) (*Claimed, error) {
	out := &Claimed{}
	called := time.Since(r.start)
	err := r.p.call("Claim", key, out)
	if err == nil && !out.Full {
		r.record(client, operation{out.VF, out.UUID, true}, called)
	}
	return out, err
}

func (r *recorder) release(client int, c *Claimed) error {
	called := time.Since(r.start)
	err := r.p.call("Release", c.UUID, &struct{}{})
	if err == nil {
		r.record(client, operation{c.VF, c.UUID, false}, called)
	}
	return err
}

func (r *recorder) record(client int, o operation, called time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history = append(r.history, porcupine.Operation{ClientId: client, Input: o, Call: int64(called), Return: int64(time.Since(r.start))})
}

// run is one client: it claims as many functions as it can have, and gives one back whenever it has them.
func (r *recorder) run(client int) error {
	var held []*Claimed
	for i := 0; r.left.Add(-1) >= 0; i++ {
		if len(held) < perClient {
			c, err := r.claim(client, fmt.Sprintf("%d-%d", client, i))
			if err != nil {
				return err
			}
			if !c.Full {
				held = append(held, c)
				continue
			}
			r.full.Add(1)
		}
		if len(held) == 0 {
			continue
		}
		if err := r.release(client, held[0]); err != nil {
			return err
		}
		held = held[1:]
	}
	for _, c := range held {
		if err := r.release(client, c); err != nil {
			return err
		}
	}
	return nil
}

// locks is the model: each VF is held by one claim or by none.
var locks = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := make([][]porcupine.Operation, lineVFs)
		for _, o := range history {
			vf := o.Input.(operation).vf
			parts[vf] = append(parts[vf], o)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, _ any) (bool, any) {
		o := input.(operation)
		if o.take {
			return state == "", o.claim
		}
		return state == o.claim, ""
	},
	Equal: func(a, b any) bool { return a == b },
}

// linearize has 64 clients make operations while the process is killed every so many of them, and checks the history and what is left.
func linearize(t *testing.T, operations, kills int) {
	t.Helper()
	r := &recorder{p: startProcess(t), start: time.Now()}
	r.left.Store(int64(operations))
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			if err := r.run(client); err != nil {
				t.Errorf("client %d: %v", client, err)
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		all.Wait()
		close(ended)
	}()
	every := time.NewTicker(time.Millisecond)
	defer every.Stop()
	for killed := 0; ; {
		select {
		case <-every.C:
			if done := operations - int(r.left.Load()); killed < kills && done > (killed+1)*operations/(kills+1) {
				killed++
				r.p.kill()
			}
			continue
		case <-ended:
		}
		break
	}
	took := time.Since(r.start)
	if t.Failed() {
		return
	}
	if r.p.started != kills+1 {
		t.Errorf("the process started %d times, want %d", r.p.started, kills+1)
	}
	checkHistory(t, r)
	t.Logf("%d operations of %d clients in %s, %d refused for want of a VF, %d kills", len(r.history), clients, took.Round(time.Millisecond), r.full.Load(), kills)
}

func checkHistory(t *testing.T, r *recorder) {
	t.Helper()
	if got := porcupine.CheckOperationsTimeout(locks, r.history, time.Minute); got != porcupine.Ok {
		t.Errorf("the history of %d operations is not linearizable: %s", len(r.history), got)
	}
	seen := map[int]bool{}
	for _, o := range r.history {
		seen[o.Input.(operation).vf] = true
	}
	if !seen[0] || r.full.Load() > 0 && len(seen) != lineVFs {
		t.Errorf("%d VFs were claimed, VF 0: %v", len(seen), seen[0])
	}
	r.p.kill()
	w := attachsim.On(t, "sqlite:"+filepath.Join(r.p.dir, "riser.db"))
	if left := w.Claims(store.ClaimQuery{}); len(left) != 0 {
		t.Errorf("%d claims are left when every client has released its own", len(left))
	}
	w.Write(func(tx *store.Tx) error {
		pfs, err := tx.HostPFs(t.Context(), store.PFQuery{})
		if err == nil && (len(pfs) != 1 || pfs[0].Free != lineVFs || pfs[0].Claimed != 0) {
			t.Errorf("PFs %+v, want one with %d free VFs", pfs, lineVFs)
		}
		return err
	})
}

func TestClaimsAreLinearizableWhenTheProcessIsKilled(t *testing.T) {
	linearize(t, 2000, 2)
}
