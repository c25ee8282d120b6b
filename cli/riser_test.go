package cli_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/riser-project/riser/api/agents"
	"github.com/riser-project/riser/api/baremetal"
	"github.com/riser-project/riser/api/compute"
	"github.com/riser-project/riser/api/networking"
	"github.com/riser-project/riser/client"
	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/driver/fake"
	"github.com/riser-project/riser/instance"
	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/shard"
	"github.com/riser-project/riser/step"
	"github.com/riser-project/riser/step/steps"
	"github.com/riser-project/riser/virt"
	fakevirt "github.com/riser-project/riser/virt/fake"
)

// TestAgainstRiser runs the scripts of testdata/riser against riser's own APIs, with a conductor, over machines, hosts and cards that are fakes.
func TestAgainstRiser(t *testing.T) {
	url := serve(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/riser",
		Setup: func(e *testscript.Env) error {
			e.Setenv("RISER_URL", url)
			e.Setenv("GORACE", noLinger)
			return nil
		},
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"code": code},
		RequireExplicitExec: true,
	})
}

// serve runs riser until the test ends: one host, cmp1, whose two cards have DPUs that do what they are told. It returns when the APIs answer.
func serve(t *testing.T) (url string) {
	t.Helper()
	w, dpus := attachsim.Standard(t)
	for _, d := range dpus {
		w.Start(d.Run)
	}
	hypervisor := fakevirt.New()
	runner := instance.New(instance.Options{DB: w.DB, Placer: w.Placer, Binder: w.Binder, Virt: func(string) (virt.Driver, error) { return hypervisor, nil }})
	w.Start(w.Binder.Run)
	w.Start(runner.Run)

	catalog := step.NewCatalog(steps.All(), fake.Steps())
	drivers := map[string]driver.Driver{"fake-hardware": fake.New(fake.Options{})}
	c := conductor.New(conductor.Options{
		DB: w.DB, Holder: shard.New(w.DB, shard.Options{ID: "c1", Hostname: "c-1", Drivers: []string{"fake-hardware"}}), Catalog: catalog, Drivers: drivers,
		Config: conductor.Config{PollInterval: 5 * time.Millisecond, SyncInterval: -1},
		Pace: driver.Pace{
			Poll: time.Millisecond, Rest: time.Millisecond, Off: time.Second, SoftOff: time.Second, On: time.Second, Restart: time.Second, Boot: time.Second,
			Hint: time.Millisecond,
		},
	})
	w.Start(func(ctx context.Context) {
		if err := c.Run(ctx, 0); err != nil {
			t.Error(err)
		}
	})

	mux := http.NewServeMux()
	mux.Handle(compute.Prefix, compute.New(compute.Options{DB: w.DB, Runner: runner, Placer: w.Placer}))
	mux.Handle(networking.Prefix, networking.New(networking.Options{DB: w.DB, Binding: w.Binder}))
	mux.Handle(agents.Prefix, agents.New(agents.Options{DB: w.DB, Enrol: w.Enrol, Binding: w.Binder}))
	mux.Handle("/", baremetal.New(baremetal.Options{DB: w.DB, Intake: &conductor.Intake{DB: w.DB, Catalog: catalog, Drivers: drivers}}))
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)

	api := &client.Client{URL: s.URL}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if list, err := client.List[any](t.Context(), api, "/v1/drivers", "drivers", 0); err == nil && len(list) > 0 {
			return s.URL
		}
	}
	t.Fatal("in vain: waited for a conductor")
	return ""
}
