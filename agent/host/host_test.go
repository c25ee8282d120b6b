package host_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riser-project/riser/agent/host"
	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/pci"
)

// server is riser's server as far as host agents see it. It keeps what it was told, and answers as it was told to.
type server struct {
	mu     sync.Mutex
	start  time.Time
	calls  []call
	answer func(n int, what string) (int, any) // of the n-th call, from 0; nil answers all with a beat each 10 s
	header http.Header
}

type call struct {
	at     time.Duration // since the start
	path   string
	what   string // report or heartbeat
	report wire.HostReport
	beat   wire.Heartbeat
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := call{path: r.URL.EscapedPath(), what: r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]}
	body := any(&c.report)
	if c.what == "heartbeat" {
		body = &c.beat
	}
	if err := json.NewDecoder(r.Body).Decode(body); err != nil || r.Method != http.MethodPost {
		http.Error(w, "no message", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.at = time.Since(s.start)
	s.calls = append(s.calls, c)
	status, reply := http.StatusOK, any(wire.Reply{Interval: 10 * time.Second, Lease: 40 * time.Second})
	if s.answer != nil {
		status, reply = s.answer(len(s.calls)-1, c.what)
	}
	for key, values := range s.header {
		w.Header()[key] = values
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(reply)
}

// RoundTrip lets the server be called without a network, which has no place in a bubble of testing/synctest. A status of 0 breaks the call off.
func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	s.ServeHTTP(brokenOff{w}, r)
	if w.Code == 999 {
		return nil, errors.New("connection refused")
	}
	return w.Result(), nil
}

type brokenOff struct{ *httptest.ResponseRecorder }

func (w brokenOff) WriteHeader(status int) {
	if status == 0 {
		status = 999
	}
	w.ResponseRecorder.WriteHeader(status)
}

func (s *server) seen() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]call(nil), s.calls...)
}

// last returns the last call of a sort.
func (s *server) last(t *testing.T, what string) call {
	t.Helper()
	all := s.seen()
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].what == what {
			return all[i]
		}
	}
	t.Fatalf("there was no %s", what)
	return call{}
}

// count returns how often a sort of call was made.
func (s *server) count(what string) (n int) {
	for _, c := range s.seen() {
		if c.what == what {
			n++
		}
	}
	return n
}

// start runs an agent against the server until the test ends, in a bubble.
func start(t *testing.T, s *server, c host.Config) *bytes.Buffer {
	t.Helper()
	s.start = time.Now()
	var log bytes.Buffer
	c.Host, c.Server, c.Client = "cmp1", "http://riser.test:6385", &http.Client{Transport: s}
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- host.Run(ctx, c) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return &log
}

// pass lets time go by.
func pass(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

func TestTheAgentReportsAndThenBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, tree := machine(t, blueField(t, "S1", 0x82, 4))
		s := &server{}
		start(t, s, host.Config{Source: tree, Rules: rules(t, remote), Virt: wire.Virt{Driver: "libvirt", VCPUs: 8}})
		first := s.seen()
		if len(first) != 1 || first[0].what != "report" || first[0].at != 0 || len(first[0].report.Cards) != 1 || first[0].report.Virt.VCPUs != 8 {
			t.Fatalf("it began with %+v", first)
		}
		pass(5 * time.Minute)
		all := s.seen()
		if n := s.count("report"); n != 1 {
			t.Errorf("%d reports of an unchanged host", n)
		}
		for i, c := range all[1:] {
			if gap := c.at - all[i].at; gap < 9*time.Second || gap > 10*time.Second {
				t.Errorf("beat %d came %v after the call before", i+1, gap)
			}
			if c.beat.Fingerprint != first[0].report.Fingerprint || c.beat.Version != wire.Version {
				t.Errorf("beat %d is %+v", i+1, c.beat)
			}
			if want := "/agents/v1/hosts/cmp1/heartbeat"; c.path != want {
				t.Errorf("beat %d went to %s", i+1, c.path)
			}
		}
	})
}

func TestAChangeIsReportedWithinAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, tree := machine(t, blueField(t, "S1", 0x82, 4))
		s := &server{}
		start(t, s, host.Config{Source: tree, Rules: rules(t, remote), Poll: 2 * time.Second})
		pass(7 * time.Second)
		for _, tt := range []struct {
			name string
			make func() error
			want func(*wire.HostReport) bool
		}{
			{"a card more", func() error { return sim.Plug(blueField(t, "S2", 0xc1, 1)) }, func(r *wire.HostReport) bool { return len(r.Cards) == 2 && r.Cards[1].Serial == "S2" }},
			{"more VFs", func() error { return sim.SetNumVFs(pci.Address{Bus: 0x82}, 9) }, func(r *wire.HostReport) bool { return r.Cards[0].PFs[0].VFs[0].Count == 9 }},
			{"another MAC", func() error { return sim.SetMAC(pci.Address{Bus: 0x82}, "b8:3f:d2:00:00:99") }, func(r *wire.HostReport) bool { return r.Cards[0].PFs[0].MAC == "b8:3f:d2:00:00:99" }},
			{"a corrupt VPD", func() error {
				return errors.Join(sim.CorruptVPD(pci.Address{Bus: 0x82}), sim.CorruptVPD(pci.Address{Bus: 0x82, Function: 1}))
			}, func(r *wire.HostReport) bool {
				return r.Cards[0].Serial == "" && strings.Contains(r.Cards[0].Problem, "checksum is wrong")
			}},
			{"no card", func() error {
				return errors.Join(sim.Unplug(pci.Address{Bus: 0x82}), sim.Unplug(pci.Address{Bus: 0xc1}))
			}, func(r *wire.HostReport) bool { return len(r.Cards) == 0 }},
		} {
			before := s.count("report")
			must(t, tt.make())
			pass(2 * time.Second)
			r := s.last(t, "report").report
			if s.count("report") != before+1 || !tt.want(&r) {
				t.Errorf("%s: %d new reports, the last is %+v", tt.name, s.count("report")-before, r)
			}
		}
		pass(time.Minute)
		if beat := s.last(t, "heartbeat").beat; beat.Fingerprint != s.last(t, "report").report.Fingerprint {
			t.Errorf("the beats go on with %q", beat.Fingerprint)
		}
	})
}

func TestAVFsDriverIsNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, tree := machine(t, blueField(t, "S1", 0x82, 4))
		s := &server{}
		start(t, s, host.Config{Source: tree, Rules: rules(t, remote)})
		must(t, sim.SetDriver(pci.Address{Bus: 0x82, Function: 3}, "vfio-pci"))
		pass(time.Minute)
		if n := s.count("report"); n != 1 {
			t.Errorf("%d reports", n)
		}
	})
}

func TestAnOutageIsSurvivedWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, tree := machine(t, blueField(t, "S1", 0x82, 4))
		down := true
		s := &server{answer: func(int, string) (int, any) {
			if down {
				return 0, nil
			}
			return 200, wire.Reply{Interval: 10 * time.Second}
		}}
		log := start(t, s, host.Config{Source: tree, Rules: rules(t, remote)})
		pass(10 * time.Minute)
		all := s.seen()
		want := time.Second
		for i, c := range all[1:] {
			if gap := c.at - all[i].at; gap < want/2 || gap > want {
				t.Errorf("pause %d is %v; want between %v and %v", i, gap, want/2, want)
			}
			want = min(2*want, time.Minute)
		}
		if len(all) < 10 || len(all) > 25 {
			t.Errorf("%d calls in ten minutes", len(all))
		}
		must(t, sim.SetNumVFs(pci.Address{Bus: 0x82}, 7))
		must(t, sim.SetNumVFs(pci.Address{Bus: 0x82}, 8))
		pass(5 * time.Second)
		s.mu.Lock()
		down = false
		s.calls = nil
		s.mu.Unlock()
		pass(time.Minute)
		if first := s.seen()[0]; first.what != "report" || first.report.Cards[0].PFs[0].VFs[0].Count != 8 || s.count("report") != 1 {
			t.Errorf("after the outage came %d reports, the first call is %+v", s.count("report"), first)
		}
		if n := strings.Count(log.String(), "connection refused"); n != 1 {
			t.Errorf("the outage was logged %d times:\n%s", n, log)
		}
		if !strings.Contains(log.String(), "in order again") {
			t.Errorf("the end was not logged:\n%s", log)
		}
	})
}

// Agents that lost the same server must not come back in step.
func TestPausesAreRandom(t *testing.T) {
	gaps := map[time.Duration]bool{}
	for range 8 {
		synctest.Test(t, func(t *testing.T) {
			_, tree := machine(t)
			s := &server{answer: func(int, string) (int, any) { return 0, nil }}
			start(t, s, host.Config{Source: tree})
			pass(2 * time.Second)
			gaps[s.seen()[1].at] = true
		})
	}
	if len(gaps) < 7 {
		t.Errorf("eight agents made %d different pauses", len(gaps))
	}
}

func TestTheServerMayAskForAReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, tree := machine(t, blueField(t, "S1", 0x82, 4))
		s := &server{}
		s.answer = func(n int, _ string) (int, any) {
			return 200, wire.Reply{Interval: 10 * time.Second, Rediscover: n == 2}
		}
		start(t, s, host.Config{Source: tree, Rules: rules(t, remote)})
		pass(25 * time.Second)
		all := s.seen()
		if len(all) < 4 || all[2].what != "heartbeat" || all[3].what != "report" || all[3].at != all[2].at {
			t.Fatalf("the calls are %+v", all)
		}
		if all[3].report.Fingerprint != all[0].report.Fingerprint {
			t.Error("the same host has another fingerprint")
		}
	})
}

func TestAServerThatAlwaysAsksIsNotFlooded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, tree := machine(t)
		s := &server{answer: func(int, string) (int, any) { return 200, wire.Reply{Interval: 10 * time.Second, Rediscover: true} }}
		start(t, s, host.Config{Source: tree})
		pass(time.Minute)
		if n := len(s.seen()); n > 8 {
			t.Errorf("%d calls in a minute", n)
		}
	})
}

func TestARefusedReportWaitsForAnotherOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, tree := machine(t, blueField(t, "S1", 0x82, 4))
		s := &server{answer: func(int, string) (int, any) { return 400, wire.Error{Error: "PF 0000:82:00.0 is reported twice"} }}
		log := start(t, s, host.Config{Source: tree, Rules: rules(t, remote)})
		pass(29 * time.Second)
		if n := len(s.seen()); n != 1 {
			t.Errorf("what was refused was sent %d times in half a minute", n)
		}
		if !strings.Contains(log.String(), "the server answers 400 Bad Request: PF 0000:82:00.0 is reported twice") {
			t.Errorf("the refusal was logged as\n%s", log)
		}
		must(t, sim.SetNumVFs(pci.Address{Bus: 0x82}, 7))
		pass(host.DefaultPoll)
		if n := len(s.seen()); n != 2 {
			t.Errorf("after a change, %d calls", n)
		}
	})
}

func TestABusyServerIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, tree := machine(t)
		s := &server{header: http.Header{"Retry-After": {"40"}}, answer: func(n int, _ string) (int, any) {
			if n == 0 {
				return 429, wire.Error{Error: "too many reports"}
			}
			return 200, wire.Reply{}
		}}
		start(t, s, host.Config{Source: tree})
		pass(39 * time.Second)
		if n := len(s.seen()); n != 1 {
			t.Errorf("%d calls before the time was over", n)
		}
		pass(time.Second)
		if all := s.seen(); len(all) != 2 || all[1].what != "report" {
			t.Errorf("the calls are %+v", all)
		}
		pass(10 * time.Second)
		if all := s.seen(); len(all) != 3 || all[2].what != "heartbeat" {
			t.Errorf("without an interval from the server, the calls are %+v", all)
		}
	})
}

func TestAServerThatForgotTheHostIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, tree := machine(t)
		s := &server{answer: func(n int, what string) (int, any) {
			if n == 1 {
				return 404, wire.Error{Error: "host cmp1 is unknown"}
			}
			return 200, wire.Reply{Interval: 10 * time.Second}
		}}
		start(t, s, host.Config{Source: tree})
		pass(12 * time.Second)
		if all := s.seen(); len(all) != 3 || all[1].what != "heartbeat" || all[2].what != "report" {
			t.Errorf("the calls are %+v", all)
		}
	})
}

// flaky is a source that fails while told to.
type flaky struct {
	host.Source
	mu   sync.Mutex
	fail error
}

func (f *flaky) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

func (f *flaky) Scan(ctx context.Context) (*pci.Host, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return nil, f.fail
	}
	return f.Source.Scan(ctx)
}

func (f *flaky) Fingerprint(ctx context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return "", f.fail
	}
	return f.Source.Fingerprint(ctx)
}

func TestAnAgentWithoutSourceSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, tree := machine(t, blueField(t, "S1", 0x82, 4))
		source := &flaky{Source: tree, fail: errors.New("libvirt: no such file")}
		s := &server{}
		log := start(t, s, host.Config{Source: source})
		pass(time.Minute)
		if n := len(s.seen()); n != 0 {
			t.Errorf("%d calls about nothing", n)
		}
		if n := strings.Count(log.String(), "libvirt: no such file"); n != 1 {
			t.Errorf("the trouble was logged %d times:\n%s", n, log)
		}
		source.set(nil)
		pass(host.DefaultPoll)
		if all := s.seen(); len(all) != 1 || all[0].what != "report" || len(all[0].report.Cards) != 1 {
			t.Fatalf("the calls are %+v", all)
		}
		source.set(errors.New("libvirt: gone"))
		must(t, sim.Unplug(pci.Address{Bus: 0x82}))
		pass(time.Minute)
		if n := s.count("report"); n != 1 {
			t.Errorf("%d reports", n)
		}
		if s.count("heartbeat") < 5 {
			t.Error("the heartbeats stopped with the source")
		}
	})
}

func TestProblemsAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, tree := machine(t, blueField(t, "S1", 0x82, 4))
		s := &server{answer: func(int, string) (int, any) {
			return 200, wire.Reply{Interval: time.Second, Problems: []string{"card S1 is node bf, a child of another host"}}
		}}
		must(t, sim.SetMAC(pci.Address{Bus: 0x82}, "zz"))
		log := start(t, s, host.Config{Source: tree, Rules: rules(t, `{"devname":"eth9","remote_managed":true}`)})
		pass(time.Minute)
		for _, want := range []string{"a child of another host", `\"zz\" is not a MAC`, "no network device eth9"} {
			if n := strings.Count(log.String(), want); n != 1 {
				t.Errorf("%q was logged %d times:\n%s", want, n, log)
			}
		}
	})
}

func TestRunOverARealConnection(t *testing.T) {
	_, tree := machine(t, blueField(t, "S1", 0x82, 4))
	s := &server{start: time.Now(), answer: func(int, string) (int, any) { return 200, wire.Reply{Interval: 5 * time.Millisecond} }}
	web := httptest.NewServer(s)
	defer web.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- host.Run(ctx, host.Config{Host: "rack 1/cmp1", Server: web.URL + "/prefix/", Source: tree, Log: slog.New(slog.DiscardHandler)})
	}()
	deadline := time.Now().Add(10 * time.Second)
	for s.count("heartbeat") < 3 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	cancel()
	must(t, <-done)
	all := s.seen()
	if len(all) < 4 || all[0].what != "report" {
		t.Fatalf("the calls are %+v", all)
	}
	for _, c := range all {
		if !strings.HasPrefix(c.path, "/prefix/agents/v1/hosts/rack%201%2Fcmp1/") {
			t.Errorf("a call went to %s", c.path)
		}
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"a redirect is not followed", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		}, "the server answers 307 Temporary Redirect"},
		{"an answer that is no JSON", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "read the server's answer"},
		{"an endless answer", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.CopyN(w, endless{}, 10<<20) }, "read the server's answer"},
		{"an answer cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "{")
		}, "read the server's answer"},
		{"an error that is no JSON", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }, "the server answers 502 Bad Gateway: Bad Gateway"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, tree := machine(t)
			web := httptest.NewServer(tt.answer)
			defer web.Close()
			ctx, cancel := context.WithCancel(t.Context())
			log := &watched{want: tt.want, found: cancel}
			timeout := time.AfterFunc(10*time.Second, cancel)
			defer timeout.Stop()
			must(t, host.Run(ctx, host.Config{Host: "cmp1", Server: web.URL, Source: tree, Log: slog.New(slog.NewTextHandler(log, nil))}))
			if !log.ok {
				t.Errorf("the log is\n%s\nwant %q", &log.all, tt.want)
			}
		})
	}
}

// watched is a log that calls found when a text comes.
type watched struct {
	want  string
	found func()
	ok    bool
	all   bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.want) {
		w.ok = true
		w.found()
	}
	return w.all.Write(p)
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestSettingsThatCannotBeUsed(t *testing.T) {
	_, tree := machine(t)
	for _, tt := range []struct {
		name   string
		config host.Config
		want   string
	}{
		{"no server", host.Config{Host: "h", Source: tree}, "want a URL"},
		{"a server without scheme", host.Config{Host: "h", Source: tree, Server: "riser:6385"}, "want a URL"},
		{"a server that is no URL", host.Config{Host: "h", Source: tree, Server: "http://[::1"}, "server:"},
		{"no name", host.Config{Source: tree, Server: "http://riser:6385"}, "the host has no name"},
		{"a name that is a path", host.Config{Host: "..", Source: tree, Server: "http://riser:6385"}, "the host has no name"},
		{"no source", host.Config{Host: "h", Server: "http://riser:6385"}, "there is no source"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := host.Run(t.Context(), tt.config); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v; want %q", err, tt.want)
			}
		})
	}
}
