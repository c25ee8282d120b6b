package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/riser-project/riser/cli"
)

// simulate runs riser sim and returns what it printed first, and a function that interrupts it and returns its exit code.
func simulate(t *testing.T, args ...string) (printed string, end func() int) {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	in, out := io.Pipe()
	cmd := root()
	cmd.SetArgs(append([]string{"sim"}, args...))
	cmd.SetOut(out)
	cmd.SetErr(io.Discard)
	code := make(chan int, 1)
	go func() {
		code <- cli.Execute(ctx, cmd)
		_ = out.Close()
	}()
	buffer := make([]byte, 1<<16)
	n, err := in.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, in) }()
	return string(buffer[:n]), func() int {
		interrupt()
		return <-code
	}
}

func TestASimulatedFleetAnswersUntilItIsInterrupted(t *testing.T) {
	printed, end := simulate(t, "--servers", "2", "--cards", "1", "--ipmi", "--json", "--password", "other", "--lie", "server-1-card-1=broken", "--lie", "busy")
	var machines []simulated
	if err := json.Unmarshal([]byte(printed), &machines); err != nil {
		t.Fatalf("%v in %q", err, printed)
	}
	var names []string
	for _, m := range machines {
		names = append(names, m.Name+"<"+m.Parent)
		if m.Serial == "" || m.UUID == "" || m.IPMIPort == 0 || m.Password != "other" {
			t.Errorf("%+v lacks something", m)
		}
	}
	if got := strings.Join(names, " "); got != "server-0< server-0-card-1<server-0 server-1< server-1-card-1<server-1" {
		t.Errorf("machines %s", got)
	}
	status := func(url string) int {
		r, err := (&http.Client{Timeout: 5 * time.Second}).Get(url + "/redfish/v1")
		if err != nil {
			return 0
		}
		_ = r.Body.Close()
		return r.StatusCode
	}
	if got := status(machines[0].Redfish); got != http.StatusServiceUnavailable {
		t.Errorf("a controller that is busy answers %d", got)
	}
	if got := status(machines[3].Redfish); got != http.StatusInternalServerError && got != http.StatusServiceUnavailable {
		t.Errorf("a controller that is broken answers %d", got)
	}
	if code := end(); code != 0 {
		t.Errorf("interrupted, it ends with %d", code)
	}
	if got := status(machines[0].Redfish); got != 0 {
		t.Errorf("it still answers %d after its end", got)
	}
}

func TestTheTableOfASimulatedFleet(t *testing.T) {
	printed, end := simulate(t, "--cards", "1")
	if code := end(); code != 0 {
		t.Errorf("interrupted, it ends with %d", code)
	}
	if !strings.HasPrefix(printed, "MACHINE ") {
		t.Errorf("it prints %q", printed)
	}
}

func TestFleetsThatCannotBe(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"no server":                {[]string{"--servers", "0"}, "--servers"},
		"less than no cards":       {[]string{"--cards", "-1"}, "--cards"},
		"a name to listen on":      {[]string{"--listen", "localhost"}, `"localhost" is not an IP address`},
		"a lie that is none":       {[]string{"--lie", "fib"}, `no such lie "fib"; --list-lies has them`},
		"a lie of nobody":          {[]string{"--lie", "server-7=hang"}, "no machine server-7; the last is server-0-card-2"},
		"a latency before the ask": {[]string{"--latency", "-1s"}, "--latency"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			cmd := root()
			cmd.SetArgs(append([]string{"sim"}, tt.args...))
			cmd.SetOut(&out)
			cmd.SetErr(&out)
			if code := cli.Execute(t.Context(), cmd); code != 2 || !strings.Contains(out.String(), tt.want) {
				t.Errorf("exit code %d, printed %q", code, out.String())
			}
		})
	}
}

func TestTheListOfLies(t *testing.T) {
	var out bytes.Buffer
	cmd := root()
	cmd.SetArgs([]string{"sim", "--list-lies"})
	cmd.SetOut(&out)
	if code := cli.Execute(t.Context(), cmd); code != 0 || strings.Count(out.String(), "\n") < 40 || !strings.Contains(out.String(), "slow-loris") {
		t.Errorf("exit code %d, printed %q", code, out.String())
	}
}
