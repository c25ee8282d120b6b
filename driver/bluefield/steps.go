package bluefield

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

var (
	impls   = []string{"bluefield"}
	anyFlow = []node.Flow{node.FlowClean, node.FlowDeploy, node.FlowService}
)

// bootTime is how long a card may take from the end of an installation to a running system.
const bootTime = 40 * time.Minute

// Steps lists the steps of nodes with bluefield interfaces.
func Steps() []step.Definition {
	list := []step.Definition{
		{
			Interface: node.Firmware, Name: "install_bfb", ResetCard: true, Timeout: 2 * time.Hour,
			Summary: "Put a new system (BFB) on the card and wait until it runs.",
			Args: []step.Arg{{Name: "url", Description: "http or https URL of the .bfb file, which the card's controller fetches.", Required: true,
				Check: checkURL}},
			Plan: func(args node.Object) []string {
				return []string{"HostRshim.Set Disabled, unless the host does not have it", "BmcRShimEnabled true, unless it is so",
					fmt.Sprintf("UpdateService.SimpleUpdate DPU_OS %v", args["url"])}
			},
			Run: install, Poll: installing,
		},
		{
			Interface: node.Management, Name: "set_dpu_mode",
			Summary: "Make the card a DPU or a plain NIC; it takes effect after two restarts of the card and a power cycle of its host.",
			Args:    []step.Arg{{Name: "mode", Description: "DpuMode or NicMode.", Required: true, Check: checkMode}},
			Plan:    func(args node.Object) []string { return []string{fmt.Sprintf("mode %v", args["mode"])} },
			Run:     setMode,
		},
		{
			Interface: node.Management, Name: "set_host_rshim",
			Summary: "Let the host replace the card's software through the rshim, or not.",
			Args:    []step.Arg{onOff},
			Plan:    func(args node.Object) []string { return []string{fmt.Sprintf("HostRshim.Set %v", args["enabled"])} },
			Run: switched(func(ctx context.Context, c *Conn, on bool) (string, error) {
				return fmt.Sprintf("the host's rshim is set to %v", on), c.SetHostRshim(ctx, on)
			}),
		},
		{
			Interface: node.Management, Name: "set_bmc_rshim",
			Summary: "Give the rshim to the card's controller, or take it away.",
			Args:    []step.Arg{onOff},
			Plan:    func(args node.Object) []string { return []string{fmt.Sprintf("BmcRShimEnabled %v", args["enabled"])} },
			Run: switched(func(ctx context.Context, c *Conn, on bool) (string, error) {
				return fmt.Sprintf("the controller's rshim is %v", on), c.SetControllerRshim(ctx, on)
			}),
		},
		{
			Interface: node.Management, Name: "set_host_privileges",
			Summary: "Change what the host may do to the card; it takes effect at the card's next restart.",
			Args: []step.Arg{{Name: "privileges", Description: `Names and values, such as {"HostPrivFwUpdate": "Enabled"}; values are Default, Enabled, Disabled.`, Required: true,
				Check: func(v any) error { _, err := privilegesOf(v); return err }}},
			Plan: planPrivileges,
			Run:  setPrivileges,
		},
	}
	for i := range list {
		list[i].Impls, list[i].Flows, list[i].NoRamdisk = impls, anyFlow, true
	}
	return list
}

var onOff = step.Arg{Name: "enabled", Description: "true or false.", Required: true, Check: func(v any) error { _, err := node.ParseBool(v); return err }}

// conn opens the node's connection.
func conn(ctx context.Context, t *step.Task) (*Conn, error) {
	base, err := t.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if raw, ok := driver.As[*rawConn](base); ok {
		return raw.Conn, nil
	}
	c, ok := driver.As[*Conn](base)
	if !ok {
		return nil, driver.Unsupported("steps of a BlueField")
	}
	return c, nil
}

func checkURL(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("must be a text")
	}
	return CheckImage(text)
}

func checkMode(v any) error {
	if text, _ := v.(string); Mode(text) != DPU && Mode(text) != NIC {
		return fmt.Errorf("%v is not one of %s, %s", v, DPU, NIC)
	}
	return nil
}

func setMode(ctx context.Context, t *step.Task) (step.Result, error) {
	c, err := conn(ctx, t)
	if err != nil {
		return step.Done, err
	}
	text, _ := t.Args["mode"].(string)
	now, err := c.Mode(ctx)
	if err != nil && !fault.Is(err, fault.Unsupported) {
		return step.Done, err
	}
	if now == Mode(text) {
		t.Evidence("the card is in " + text + " already; set again, in case another mode was waiting")
	}
	if err := c.SetMode(ctx, Mode(text)); err != nil {
		return step.Done, err
	}
	t.Evidence(text + " is set: it takes effect after two restarts of the card and a power off and on of its host")
	return step.Done, nil
}

// switched is a step with the argument enabled.
func switched(do func(ctx context.Context, c *Conn, on bool) (string, error)) func(context.Context, *step.Task) (step.Result, error) {
	return func(ctx context.Context, t *step.Task) (step.Result, error) {
		on, err := node.ParseBool(t.Args["enabled"])
		if err != nil {
			return step.Done, fault.New(fault.Invalid, "argument enabled: %w", err)
		}
		c, err := conn(ctx, t)
		if err != nil {
			return step.Done, err
		}
		told, err := do(ctx, c, on)
		if err != nil {
			return step.Done, err
		}
		t.Evidence(told)
		return step.Done, nil
	}
}

func privilegesOf(v any) (map[string]string, error) {
	o, ok := v.(node.Object)
	if !ok {
		return nil, fmt.Errorf(`must be an object such as {"HostPrivFwUpdate": "Enabled"}`)
	}
	values := map[string]string{}
	for k, e := range o {
		text, ok := e.(string)
		if !ok {
			return nil, fmt.Errorf("privilege %.60s must be a text", k)
		}
		values[k] = text
	}
	return values, checkPrivileges(values)
}

func planPrivileges(args node.Object) []string {
	values, err := privilegesOf(args["privileges"])
	if err != nil {
		return nil
	}
	var plan []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		plan = append(plan, "ExternalHostPrivileges.Set "+name+"="+values[name])
	}
	return plan
}

func setPrivileges(ctx context.Context, t *step.Task) (step.Result, error) {
	values, err := privilegesOf(t.Args["privileges"])
	if err != nil {
		return step.Done, fault.New(fault.Invalid, "argument privileges: %w", err)
	}
	c, err := conn(ctx, t)
	if err != nil {
		return step.Done, err
	}
	before, err := c.Privileges(ctx)
	if err != nil {
		return step.Done, err
	}
	if err := c.SetPrivileges(ctx, values); err != nil {
		return step.Done, err
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		t.Evidence(fmt.Sprintf("%s %s -> %s", name, before[name], values[name]))
	}
	return step.Done, nil
}

// installation is what install_bfb keeps between looks.
type installation struct {
	Task    string
	Percent int
	Version string    // of the system before
	Silent  time.Time // since when the controller does not answer
	Booting time.Time // since when the new system is awaited
}

const stateKey = "installation"

func kept(t *step.Task) (s installation, ok bool) {
	raw, err := json.Marshal(t.Kept(stateKey))
	if err != nil || string(raw) == "null" {
		return s, false
	}
	return s, json.Unmarshal(raw, &s) == nil
}

func install(ctx context.Context, t *step.Task) (step.Result, error) {
	if _, started := kept(t); started {
		return step.Wait, nil
	}
	c, err := conn(ctx, t)
	if err != nil {
		return step.Done, err
	}
	image, _ := t.Args["url"].(string)
	if err := c.PreFlight(ctx, image); err != nil {
		return step.Done, err
	}
	if err := takeRshim(ctx, t, c); err != nil {
		return step.Done, err
	}
	s := installation{Version: systemVersion(ctx, c)}
	u, err := c.Install(ctx, image)
	if err != nil {
		return step.Done, err
	}
	s.Task = u.Task
	if s.Task == "" {
		s.Booting = time.Now()
	}
	t.Evidence("installation accepted: " + image)
	return step.Wait, t.Keep(ctx, stateKey, s)
}

// takeRshim gives the rshim to the controller: its host lets go of it first.
func takeRshim(ctx context.Context, t *step.Task, c *Conn) error {
	owned, err := c.ControllerRshim(ctx)
	if err != nil || owned {
		return err
	}
	host, err := c.HostRshim(ctx)
	if err != nil && !fault.Is(err, fault.Unsupported) {
		return err
	}
	if host {
		if err := c.SetHostRshim(ctx, false); err != nil {
			return err
		}
		t.Evidence("the host's rshim is switched off")
	}
	if err := c.SetControllerRshim(ctx, true); err != nil {
		return err
	}
	t.Evidence("the controller has the rshim")
	return nil
}

func systemVersion(ctx context.Context, c *Conn) string {
	var item struct{ Version string }
	if err := c.Get(ctx, inventory+"DPU_OS", &item); err != nil {
		return ""
	}
	return trimmed(item.Version)
}

func installing(ctx context.Context, t *step.Task) (step.Result, error) {
	s, ok := kept(t)
	if !ok {
		return step.Done, fault.New(fault.Conflict, "what became of the installation is unknown: look at the card's console, then run the step "+
			"again if it is needed")
	}
	c, err := conn(ctx, t)
	switch {
	case err != nil:
		return silence(ctx, t, s, err)
	case !s.Booting.IsZero():
		return booting(ctx, t, s, c)
	}
	f, ok := driver.As[driver.Firmware](c)
	if !ok {
		return step.Done, driver.Unsupported("firmware updates")
	}
	u, err := f.UpdateState(ctx, s.Task)
	switch {
	case fault.Is(err, fault.Timeout) || fault.Is(err, fault.Unavailable):
		return silence(ctx, t, s, err)
	case err != nil:
		return step.Done, err
	case u.Done:
		s.Booting, s.Silent = time.Now(), time.Time{}
		t.Evidence("the image is on the card, waiting for its system")
	case u.Percent >= s.Percent+20:
		s.Percent = u.Percent
		t.Evidence(fmt.Sprintf("installation at %d %%", u.Percent))
	case s.Silent.IsZero():
		return step.Wait, nil
	}
	s.Silent = time.Time{}
	return step.Wait, t.Keep(ctx, stateKey, s)
}

// booting waits for the new system.
func booting(ctx context.Context, t *step.Task, s installation, c *Conn) (step.Result, error) {
	b, err := c.BootState(ctx)
	switch {
	case err != nil:
		return silence(ctx, t, s, err)
	case b.Booted:
		t.Evidence(fmt.Sprintf("the card runs: %s, %s -> %s", b.State, first(s.Version, "unknown"), first(systemVersion(ctx, c), "unknown")))
		return step.Done, nil
	case time.Since(s.Booting) > bootTime:
		return step.Done, fault.New(fault.Timeout, "the image is on the card, but its system does not run after %s (boot progress %q); look at "+
			"the card's console", bootTime, b.State)
	}
	return step.Wait, nil
}

// silence waits for a controller that does not answer, for ten minutes.
func silence(ctx context.Context, t *step.Task, s installation, err error) (step.Result, error) {
	const limit = 10 * time.Minute
	switch {
	case !fault.Is(err, fault.Timeout) && !fault.Is(err, fault.Unavailable):
		return step.Done, err
	case s.Silent.IsZero():
		s.Silent = time.Now()
		return step.Wait, t.Keep(ctx, stateKey, s)
	case time.Since(s.Silent) > limit:
		return step.Done, fault.New(fault.Timeout, "the card's controller has not answered for %s: %w", limit, err)
	}
	return step.Wait, nil
}
