package ipmi_test

import (
	"testing"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/driver/ipmi"
	"github.com/riser-project/riser/internal/sim/bmc"
)

// A poll of the power state, with the session that the last poll left.
func BenchmarkPoll(b *testing.B) {
	s, err := bmc.NewServer(bmc.Options{On: true, IPMI: true, Password: password})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	for name, linger := range map[string]time.Duration{"session kept": time.Hour, "session for each": 0} {
		b.Run(name, func(b *testing.B) {
			d := ipmi.New(ipmi.Options{Linger: linger})
			defer func() { _ = d.Close() }()
			n := nodeOf(s.Host, nil)
			b.ReportAllocs()
			for b.Loop() {
				c, err := d.Open(b.Context(), n)
				if err != nil {
					b.Fatal(err)
				}
				p, _ := driver.As[driver.Power](c)
				if _, err := p.PowerState(b.Context()); err != nil {
					b.Fatal(err)
				}
				_ = c.Close()
			}
		})
	}
}
