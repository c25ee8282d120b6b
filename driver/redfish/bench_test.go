package redfish_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/riser-project/riser/driver/redfish"
	"github.com/riser-project/riser/internal/sim/bmc"
)

func benchServer(b *testing.B) *bmc.Server {
	b.Helper()
	s, err := bmc.NewServer(bmc.Options{On: true, Password: password})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// A poll of the power state, with the session that the last poll left.
func BenchmarkPoll(b *testing.B) {
	s := benchServer(b)
	d := redfish.New(redfish.Options{Linger: time.Hour})
	n := nodeOf(s.Host, nil)
	b.ReportAllocs()
	for b.Loop() {
		c, err := d.Connect(b.Context(), n)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.PowerState(b.Context()); err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
}

// The same with a session of its own for each poll.
func BenchmarkPollWithLogin(b *testing.B) {
	s := benchServer(b)
	d := redfish.New(redfish.Options{})
	n := nodeOf(s.Host, nil)
	for b.Loop() {
		c, err := d.Connect(b.Context(), n)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.PowerState(b.Context()); err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
}

// What an open connection costs, without the simulated machine behind it.
func BenchmarkMemoryPerController(b *testing.B) {
	const fleet = 50
	var servers []*bmc.Server
	for i := range fleet {
		s, err := bmc.NewServer(bmc.Options{Number: i, On: true, Password: password})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() })
		servers = append(servers, s)
	}
	for b.Loop() {
		d := redfish.New(redfish.Options{Linger: time.Hour})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var conns []*redfish.Conn
		for _, s := range servers {
			c, err := d.Connect(b.Context(), nodeOf(s.Host, nil))
			if err != nil {
				b.Fatal(err)
			}
			conns = append(conns, c)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/fleet, "B/controller")
		for _, c := range conns {
			_ = c.Close()
		}
		_ = d.Close()
	}
}
