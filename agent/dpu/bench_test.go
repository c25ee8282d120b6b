package dpu_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/internal/sim/devlinksim"
)

// crowd is a card with many VFs, and an order for each.
func crowd(b *testing.B, vfs int) (*lab, []wire.Order) {
	l := newLabOf(b, devlinksim.Card{Serial: serial, VFs: vfs, Hosts: [][]net.HardwareAddr{{hostMAC(0, 0)}}})
	orders := make([]wire.Order, vfs)
	for vf := range vfs {
		orders[vf] = plugVF(fmt.Sprintf("0b0a2b8e-6a3c-4b7e-9a35-%012d", vf), 1, hostMAC(0, 0), vf)
	}
	return l, orders
}

// allPlugged waits until the server knows that every order but those in waiting is carried out.
func (l *lab) allPlugged(orders []wire.Order) {
	l.server.until("all plugged", func() bool {
		for _, o := range orders {
			if s := l.server.status[o.Port]; s.State != wire.Plugged || s.Generation != o.Generation {
				return false
			}
		}
		return true
	})
}

// BenchmarkOrderToPlugged measures from an order at the server until the server knows that the representor is plugged.
func BenchmarkOrderToPlugged(b *testing.B) {
	for _, there := range []int{0, 1000} {
		b.Run(fmt.Sprintf("beside %d", there), func(b *testing.B) {
			l, orders := crowd(b, there+1)
			l.start()
			l.server.order(orders[1:]...)
			l.allPlugged(orders[1:])
			generation := int64(0)
			for b.Loop() {
				o := orders[0]
				generation++
				o.Generation = generation
				l.server.order(o)
				l.server.wantStatus(o.Port, generation, wire.Plugged)
				b.StopTimer()
				generation++
				l.server.order(unplug(o, generation))
				l.server.wantStatus(o.Port, generation, wire.Unplugged)
				b.StartTimer()
			}
		})
	}
}

// BenchmarkRestart measures from the start of an agent until the server knows of 1,000 ports that they are plugged: with all of them still in the
// switch, and with a switch that has lost them.
func BenchmarkRestart(b *testing.B) {
	const ports = 1000
	for _, tt := range []struct {
		name string
		lost bool
	}{{"1000 ports still plugged", false}, {"1000 ports to plug again", true}} {
		b.Run(tt.name, func(b *testing.B) {
			l, orders := crowd(b, ports)
			stop := l.start()
			l.server.order(orders...)
			l.allPlugged(orders)
			for b.Loop() {
				b.StopTimer()
				stop()
				l.server.do(func() { clear(l.server.status) })
				if tt.lost {
					l.clear(orders)
				}
				b.StartTimer()
				stop = l.start()
				l.allPlugged(orders)
			}
		})
	}
}

// clear takes out everything behind the agent's back.
func (l *lab) clear(orders []wire.Order) {
	for _, o := range orders {
		if _, err := l.twin().Unplug(l.t.Context(), o.Port, o.Generation); err != nil {
			l.t.Fatal(err)
		}
	}
}
