package dpu

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/devlink"
	"github.com/riser-project/riser/ovsdb"
)

const (
	defaultInterval = 10 * time.Second // between heartbeats, unless the server says otherwise
	maxInterval     = time.Hour
	reportPause     = 200 * time.Millisecond // between two reports, while functions come and go
	minBackOff      = 500 * time.Millisecond
	maxBackOff      = 30 * time.Second
)

// report tells the server what card this is, and that its agent lives, until ctx ends.
func (a *agent) report(ctx context.Context) {
	changed := a.kernel.subscribe()
	defer a.kernel.unsubscribe(changed)
	rows := a.vswitch.Subscribe()
	defer rows.Close()
	r := reporter{agent: a, interval: defaultInterval}
	due := time.Now()
	var look time.Time // when to see whether the report has changed; zero for not
	for {
		next := due
		if !look.IsZero() && look.Before(due) {
			next = look
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-changed:
		case <-rows.C:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return
		case !now.Before(due):
			due, look = now.Add(r.talk(ctx)), time.Time{}
		case look.IsZero():
			look = now.Add(reportPause)
		case !now.Before(look):
			look = time.Time{}
			if r.backOff.last == 0 && r.makeReport().Fingerprint != r.sent {
				due = now
			}
		}
	}
}

// reporter is the state of report.
type reporter struct {
	*agent
	sent     string         // fingerprint of the report that the server took last
	last     wire.DPUReport // the last report that could be made
	interval time.Duration  // between heartbeats
	backOff  backOff
	first    sync.Once
}

// talk sends what is due, and returns the time until the next call.
func (r *reporter) talk(ctx context.Context) time.Duration {
	report := r.makeReport()
	var reply wire.Reply
	var err error
	if report.Fingerprint == r.sent {
		err = r.server.post(ctx, r.card.serial, "heartbeat", wire.Heartbeat{Version: wire.Version, Fingerprint: r.sent}, &reply)
	} else {
		err = r.server.post(ctx, r.card.serial, "report", report, &reply)
	}
	if ctx.Err() != nil {
		return r.interval
	}
	r.news.tellErr("report", err)
	if err != nil {
		if refused := (*refusal)(nil); errors.As(err, &refused) && refused.status < http.StatusInternalServerError {
			r.sent = "" // a server that does not take a heartbeat may not know the card any more
		}
		return r.backOff.next(err)
	}
	r.backOff.reset()
	if reply.Interval > 0 {
		r.interval = min(reply.Interval, maxInterval)
	}
	if reply.Lease > 0 {
		r.backOff.longest = max(reply.Lease/4, minBackOff)
	}
	r.news.tell("what the server says", strings.Join(reply.Problems, "; "))
	if r.sent != report.Fingerprint {
		r.sent = report.Fingerprint
		r.first.Do(func() { close(r.known) })
		r.reported.raise()
	} else if reply.Rediscover {
		r.sent = ""
		r.ledger.resend()
		return 0
	}
	return r.interval - rand.N(r.interval/10+1) //nolint:gosec // spreads load, keeps no secret
}

// makeReport says what the card is now. While Open vSwitch is away, what it said last holds.
func (r *reporter) makeReport() *wire.DPUReport {
	report := &wire.DPUReport{
		Version: wire.Version, Serial: r.card.serial, Source: r.card.source, UUID: r.card.uuid, PartNumber: r.card.partNumber,
		BMCAddress: r.BMCAddress, Bridge: r.Bridge, Problems: slices.Clone(r.card.problems),
		Chassis: r.last.Chassis, SystemID: r.last.SystemID,
	}
	id, err := r.vswitch.Identity()
	if err != nil {
		report.Problems = append(report.Problems, "Open vSwitch cannot be read")
	} else {
		report.Chassis, report.SystemID = r.chassis(id), id.SystemID
		if !slices.Contains(id.Bridges, r.Bridge) {
			report.Problems = append(report.Problems, fmt.Sprintf("Open vSwitch has no bridge %s", r.Bridge))
		}
	}
	if report.Chassis == "" {
		report.Chassis = r.chassis(ovsdb.Identity{})
	}
	p := r.kernel.ports()
	if p.table == nil {
		report.Problems = append(report.Problems, fmt.Sprintf("devlink cannot be read: %v", p.err))
	} else {
		report.Uplinks = uplinks(p.table, r.PhysicalNetworks)
		report.Controllers = controllers(p.table)
		for _, problem := range p.table.Problems() {
			report.Problems = append(report.Problems, fmt.Sprintf("port %s (%s): %s", problem.Port.ID, problem.Port.Function, problem.Reason))
		}
	}
	r.last = *report
	report.Fingerprint = fingerprint(report)
	return report
}

// fingerprint is the same for equal reports and differs for others.
func fingerprint(r *wire.DPUReport) string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // the types of package wire can all be written
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

func uplinks(t *devlink.Table, physical map[string]string) []wire.Uplink {
	var out []wire.Uplink
	for _, p := range t.Ports() {
		if p.Flavour == devlink.FlavourPhysical {
			out = append(out, wire.Uplink{
				Handle: p.ID.Handle.String(), Number: p.Number, Netdev: p.Netdev, PhysicalNetwork: physical[p.Netdev],
			})
		}
	}
	return out
}

// controllers lists the hosts that the card serves, each with the PFs whose address is known: without it, no order can name a PF.
func controllers(t *devlink.Table) []wire.Controller {
	type side struct {
		number   uint32
		external bool
	}
	index := map[side]int{}
	children := map[devlink.Function][2]int{}
	var out []wire.Controller
	list := t.Ports()
	for _, p := range list {
		n := children[p.Function.Parent()]
		switch p.Function.Kind {
		case devlink.KindVF:
			n[0]++
		case devlink.KindSF:
			n[1]++
		}
		children[p.Function.Parent()] = n
	}
	for _, p := range list {
		f := p.Function
		if f.Kind != devlink.KindPF {
			continue
		}
		s := side{f.Controller, f.External}
		i, ok := index[s]
		if !ok {
			i = len(out)
			index[s] = i
			out = append(out, wire.Controller{Number: int(f.Controller), External: f.External, PFs: []wire.Host{}})
		}
		if mac := t.HostMAC(f); mac != nil {
			n := children[f]
			out[i].PFs = append(out[i].PFs, wire.Host{Handle: f.Handle.String(), Number: int(f.PF), MAC: mac.String(), VFs: n[0], SFs: n[1]})
		}
	}
	slices.SortFunc(out, func(a, b wire.Controller) int { return cmp.Compare(a.Number, b.Number) })
	return out
}

// backOff makes the pauses after failures: they double up to a longest, each with a random part.
type backOff struct {
	last    time.Duration // 0 when all is well
	longest time.Duration // maxBackOff if 0
}

func (b *backOff) reset() { b.last = 0 }

// next returns the pause after a failure; a server that said when to come again is believed.
func (b *backOff) next(err error) time.Duration {
	longest := b.longest
	if longest == 0 {
		longest = maxBackOff
	}
	b.last = min(max(2*b.last, minBackOff), longest)
	pause := b.last/2 + rand.N(b.last/2+1) //nolint:gosec // spreads load, keeps no secret
	if refused := (*refusal)(nil); errors.As(err, &refused) {
		return max(pause, refused.after)
	}
	return pause
}
