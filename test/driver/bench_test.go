package driver_test

import (
	"encoding/json"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/driver/ipmi"
	"github.com/riser-project/riser/driver/redfish"
	"github.com/riser-project/riser/node"
)

// fleetSize is how many controllers the benchmarks poll, all at the same time.
const fleetSize = 100

// simulated is a machine as riser sim --json tells it.
type simulated struct {
	Redfish  string `json:"redfish_address"`
	IPMI     string `json:"ipmi_address"`
	IPMIPort int    `json:"ipmi_port"`
	Username string `json:"username"`
	Password string `json:"password"`
}

// machines simulates a fleet in another process, so that what it costs is not counted.
func machines(b *testing.B) []*node.Node {
	b.Helper()
	out := newProgram(b).start(b, "sim", "--servers", "100", "--cards", "0", "--ipmi", "--json")
	var list []simulated
	if err := json.NewDecoder(out).Decode(&list); err != nil || len(list) != fleetSize {
		b.Fatalf("%d machines, %v", len(list), err)
	}
	nodes := make([]*node.Node, len(list))
	for i, m := range list {
		nodes[i] = &node.Node{DriverInfo: node.Object{
			"redfish_address": m.Redfish, "redfish_username": m.Username, "redfish_password": m.Password,
			"ipmi_address": m.IPMI, "ipmi_port": m.IPMIPort, "ipmi_username": m.Username, "ipmi_password": m.Password,
		}}
	}
	return nodes
}

// protocols are the drivers, each with sessions that outlive a poll, or without.
func protocols(linger time.Duration) map[string]driver.Driver {
	return map[string]driver.Driver{
		"redfish": redfish.New(redfish.Options{Linger: linger}),
		"ipmi":    ipmi.New(ipmi.Options{Linger: linger}),
	}
}

func poll(b *testing.B, d driver.Driver, n *node.Node) {
	c, err := d.Open(b.Context(), n)
	if err != nil {
		b.Error(err)
		return
	}
	p, _ := driver.As[driver.Power](c)
	if state, err := p.PowerState(b.Context()); err != nil || state != node.PowerOn {
		b.Errorf("%q, %v", state, err)
	}
	_ = c.Close()
}

// busy is the processor time that this process has used.
func busy() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Polls of the power state of a fleet: polls per second, and processor time per poll.
func BenchmarkPollsOfAFleet(b *testing.B) {
	nodes := machines(b)
	for how, linger := range map[string]time.Duration{"session kept": time.Hour, "session for each": 0} {
		for name, d := range protocols(linger) {
			b.Run(name+", "+how, func(b *testing.B) {
				for _, n := range nodes {
					poll(b, d, n)
				}
				var next atomic.Int64
				var wg sync.WaitGroup
				b.ReportAllocs()
				b.ResetTimer()
				start := busy()
				for _, n := range nodes {
					wg.Go(func() {
						for next.Add(1) <= int64(b.N) {
							poll(b, d, n)
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "polls/s")
				b.ReportMetric(float64((busy()-start).Microseconds())/float64(b.N), "cpu-µs/poll")
			})
		}
	}
}

// Memory of a connection that is open, and has been used.
func BenchmarkMemoryPerOpenController(b *testing.B) {
	nodes := machines(b)
	for name, d := range protocols(time.Hour) {
		b.Run(name, func(b *testing.B) {
			var most int64 // later rounds find room that earlier ones left
			for b.Loop() {
				before := inUse()
				conns := make([]driver.Conn, len(nodes))
				for i, n := range nodes {
					c, err := d.Open(b.Context(), n)
					if err != nil {
						b.Fatal(err)
					}
					p, _ := driver.As[driver.Power](c)
					if _, err := p.PowerState(b.Context()); err != nil {
						b.Fatal(err)
					}
					conns[i] = c
				}
				most = max(most, inUse()-before)
				for _, c := range conns {
					_ = c.Close()
				}
				if closer, ok := d.(interface{ Close() error }); ok {
					_ = closer.Close()
				}
			}
			b.ReportMetric(float64(most)/fleetSize, "B/controller")
		})
	}
}

// inUse is the heap and the stacks that live.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
