package enrol_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/store"
)

// Whatever an agent reports, it is taken or refused as its own fault; and what is taken says nothing about anybody else's card.

func FuzzDPUReport(f *testing.F) {
	for _, change := range []func(*wire.DPUReport){
		func(*wire.DPUReport) {},
		func(r *wire.DPUReport) { r.Serial = "N/A" },
		func(r *wire.DPUReport) { r.Serial = serial2 },
		func(r *wire.DPUReport) { r.Chassis = strings.Repeat("x", 300) },
		func(r *wire.DPUReport) { r.Controllers[0].PFs[0].MAC = "x" },
		func(r *wire.DPUReport) { r.UUID, r.PartNumber, r.Problems = "\x00", "\xff", []string{"\x00"} },
	} {
		r := attachsim.DPUReport(serial1, "dpu-a", 2)
		change(r)
		b, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(serial1, b)
	}
	w, _ := attachsim.Standard(f)
	f.Fuzz(func(t *testing.T, serial string, body []byte) {
		var r wire.DPUReport
		if json.Unmarshal(body, &r) != nil || serial == serial2 {
			return
		}
		_, err := w.Enrol.DPUReport(t.Context(), serial, &r)
		if err != nil && !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Conflict) {
			t.Fatalf("%v, want it taken, invalid or a conflict", err)
		}
		read(t, w, func(tx *store.Tx) error {
			list, err := tx.DPUs(t.Context(), []string{serial2})
			if len(list) != 1 {
				t.Errorf("%d reporters of the other card", len(list))
			}
			return err
		})
	})
}

func read(t *testing.T, w *attachsim.World, fn func(*store.Tx) error) {
	t.Helper()
	if err := w.DB.Read(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func FuzzStatusReport(f *testing.F) {
	w, _ := attachsim.Standard(f)
	p := w.Port(w.Network(""))
	w.Write(func(tx *store.Tx) error {
		return tx.SaveOrder(f.Context(), &store.Order{Port: p.ID, Card: serial2, Claim: "c", Generation: 3, Action: wire.Plug, Kind: wire.KindVF})
	})
	f.Add(p.ID, int64(3), wire.Plugged, "", "pf0vf0")
	f.Add(p.ID, int64(-1), "", "\x00", "\xff")
	f.Add("x", int64(1)<<62, "flying", strings.Repeat("x", 1<<16), "")
	f.Fuzz(func(t *testing.T, port string, generation int64, state, reason, representor string) {
		err := w.Binder.Report(t.Context(), serial1, []wire.PortStatus{{
			Port: port, Generation: generation, State: state, Reason: reason, Representor: representor,
		}})
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Fatal(err)
		}
		read(t, w, func(tx *store.Tx) error {
			list, err := tx.Orders(t.Context(), store.OrderQuery{Card: serial2})
			if len(list) != 1 || list[0].Reported != 0 {
				t.Errorf("a card has reported on another's order: %+v", list)
			}
			return err
		})
	})
}

func BenchmarkDPUBeat(b *testing.B) {
	w, _ := attachsim.Standard(b)
	for b.Loop() {
		if _, err := w.Enrol.DPUBeat(b.Context(), serial1, wire.Heartbeat{Version: 1, Fingerprint: "dpu-a/" + serial1}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(time.Second)/float64(b.Elapsed()/time.Duration(b.N)), "beats/s")
}
