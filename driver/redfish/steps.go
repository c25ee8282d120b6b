package redfish

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

var (
	anyFlow = []node.Flow{node.FlowClean, node.FlowDeploy, node.FlowService}
	impls   = []string{"redfish", "bluefield"}
)

// Steps lists the steps of nodes with redfish interfaces (Ironic's names and arguments).
func Steps() []step.Definition {
	return append([]step.Definition{
		{
			Interface: node.BIOS, Name: "apply_configuration", Impls: impls, Flows: anyFlow, NoRamdisk: true, Timeout: 45 * time.Minute,
			Summary: "Change BIOS settings, restart the node, and see that they are in force.",
			Args: []step.Arg{{Name: "settings", Description: `List of {"name": ..., "value": ...}.`, Required: true, Check: func(v any) error {
				_,
					err := biosSettings(v)
				return err
			}}},
			Plan: planSettings, Run: applySettings, Poll: settingsInForce,
		},
		{
			Interface: node.BIOS, Name: "factory_reset", Impls: impls, Flows: anyFlow, NoRamdisk: true,
			Summary: "Bring back the defaults of all BIOS settings and restart the node.",
			Plan:    lines("Bios.ResetBios", "reboot"), Run: resetSettings,
		},
		{
			Interface: node.Management, Name: "reset_secure_boot_keys_to_default", Impls: impls, Flows: anyFlow[:2], NoRamdisk: true,
			Summary: "Bring back the maker's secure boot keys.",
			Plan:    lines("SecureBoot.ResetKeys ResetAllKeysToDefault"), Run: resetKeys("ResetAllKeysToDefault"),
		},
		{
			Interface: node.Management, Name: "clear_secure_boot_keys", Impls: impls, Flows: anyFlow[:2], NoRamdisk: true,
			Summary: "Delete all secure boot keys.",
			Plan:    lines("SecureBoot.ResetKeys DeleteAllKeys"), Run: resetKeys("DeleteAllKeys"),
		},
		{
			Interface: node.Management, Name: "set_bmc_clock", Impls: impls, Flows: anyFlow[:1], NoRamdisk: true,
			Summary: "Set the controller's clock.",
			Args: []step.Arg{{Name: "target_datetime", Description: "Time in RFC 3339 form; now without it.", Check: func(v any) error {
				_,
					err := clockTarget(v)
				return err
			}}},
			Plan: lines("controller clock"), Run: setClock,
		},
		{
			Interface: node.Management, Name: "verify_bmc_clock", Impls: impls, Flows: []node.Flow{node.FlowVerify}, Priority: 1, NoRamdisk: true,
			Summary: "Note how far the controller's clock is off.",
			Plan:    lines("nothing: the clock is only read"), Run: verifyClock,
		},
		resetManager,
	}, firmwareSteps()...)
}

func lines(text ...string) func(node.Object) []string {
	return func(node.Object) []string { return text }
}

// ability opens the node's connection as T.
func ability[T any](ctx context.Context, t *step.Task, what string) (T, error) {
	var none T
	c, err := t.Conn(ctx)
	if err != nil {
		return none, err
	}
	v, ok := driver.As[T](c)
	if !ok {
		return none, driver.Unsupported(what)
	}
	return v, nil
}

// passing reports whether err may be gone at the next look: a controller that restarts is silent for minutes.
func passing(err error) bool { return fault.Is(err, fault.Timeout) || fault.Is(err, fault.Unavailable) }

// kept reads what the step kept under key.
func kept[T any](t *step.Task, key string) (v T, ok bool) {
	raw, err := json.Marshal(t.Kept(key))
	if err != nil || string(raw) == "null" {
		return v, false
	}
	return v, json.Unmarshal(raw, &v) == nil
}

// biosSettings reads [{"name": ..., "value": ...}].
func biosSettings(v any) ([]driver.Setting, error) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, fmt.Errorf(`must be a list of {"name": ..., "value": ...}`)
	}
	settings := make([]driver.Setting, 0, len(list))
	for i, e := range list {
		m, _ := e.(node.Object)
		name, _ := m["name"].(string)
		value, has := m["value"]
		if name == "" || !has || len(m) != 2 {
			return nil, fmt.Errorf("entry %d must have name and value, and nothing else", i)
		}
		settings = append(settings, driver.Setting{Name: name, Value: value})
	}
	return settings, nil
}

func planSettings(args node.Object) []string {
	settings, err := biosSettings(args["settings"])
	if err != nil {
		return nil
	}
	var plan []string
	for _, s := range settings {
		plan = append(plan, fmt.Sprintf("BIOS %s = %v", s.Name, s.Value))
	}
	return append(plan, "reboot")
}

func applySettings(ctx context.Context, t *step.Task) (step.Result, error) {
	settings, err := biosSettings(t.Args["settings"])
	if err != nil {
		return step.Done, fault.New(fault.Invalid, "argument settings: %w", err)
	}
	b, err := ability[driver.BIOS](ctx, t, "BIOS settings")
	if err != nil {
		return step.Done, err
	}
	if done, err := inForce(ctx, b, settings); err == nil && done {
		t.Evidence("all settings are in force already, nothing sent")
		return step.Done, nil
	}
	if err := b.ApplySettings(ctx, settings); err != nil {
		return step.Done, err
	}
	if err := restartOnce(ctx, t); err != nil {
		return step.Done, err
	}
	return step.Wait, nil
}

// restartOnce reboots the node unless an earlier attempt of the step did.
func restartOnce(ctx context.Context, t *step.Task) error {
	if done, _ := kept[bool](t, "restarted"); done {
		return nil
	}
	if err := t.Power(ctx, node.Rebooting); err != nil {
		return err
	}
	return t.Keep(ctx, "restarted", true)
}

func settingsInForce(ctx context.Context, t *step.Task) (step.Result, error) {
	settings, err := biosSettings(t.Args["settings"])
	if err != nil {
		return step.Done, err
	}
	b, err := ability[driver.BIOS](ctx, t, "BIOS settings")
	if err != nil {
		return step.Wait, ifLasting(err)
	}
	done, err := inForce(ctx, b, settings)
	switch {
	case err != nil:
		return step.Wait, ifLasting(err)
	case !done:
		return step.Wait, nil
	}
	for _, s := range settings {
		t.Evidence(fmt.Sprintf("BIOS %s is %v", s.Name, s.Value))
	}
	return step.Done, nil
}

func ifLasting(err error) error {
	if passing(err) {
		return nil
	}
	return err
}

func inForce(ctx context.Context, b driver.BIOS, want []driver.Setting) (bool, error) {
	have, err := b.Settings(ctx)
	if err != nil {
		return false, err
	}
	values := map[string]any{}
	for _, s := range have {
		values[s.Name] = s.Value
	}
	for _, s := range want {
		if v, ok := values[s.Name]; !ok || fmt.Sprint(v) != fmt.Sprint(s.Value) {
			return false, nil
		}
	}
	return true, nil
}

func resetSettings(ctx context.Context, t *step.Task) (step.Result, error) {
	b, err := ability[driver.BIOS](ctx, t, "BIOS settings")
	if err != nil {
		return step.Done, err
	}
	if err := b.ResetSettings(ctx); err != nil {
		return step.Done, err
	}
	return step.Done, restartOnce(ctx, t)
}

func resetKeys(kind string) func(context.Context, *step.Task) (step.Result, error) {
	return func(ctx context.Context, t *step.Task) (step.Result, error) {
		k, err := ability[interface {
			ResetKeys(ctx context.Context, kind string) error
		}](ctx, t, "secure boot keys")
		if err != nil {
			return step.Done, err
		}
		return step.Done, k.ResetKeys(ctx, kind)
	}
}

func clockTarget(v any) (time.Time, error) {
	text, _ := v.(string)
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("%v is not a time such as 2026-01-02T15:04:05Z", v)
	}
	return at, nil
}

func setClock(ctx context.Context, t *step.Task) (step.Result, error) {
	c, err := ability[driver.Clock](ctx, t, "the controller's clock")
	if err != nil {
		return step.Done, err
	}
	now := time.Now()
	if v, ok := t.Args["target_datetime"]; ok {
		if now, err = clockTarget(v); err != nil {
			return step.Done, fault.New(fault.Invalid, "argument target_datetime: %w", err)
		}
	}
	return step.Done, c.SetControllerTime(ctx, now)
}

func verifyClock(ctx context.Context, t *step.Task) (step.Result, error) {
	c, err := ability[driver.Clock](ctx, t, "the controller's clock")
	if err != nil {
		return step.Done, err
	}
	at, err := c.ControllerTime(ctx)
	switch {
	case fault.Is(err, fault.Unsupported):
		t.Evidence(err.Error())
		return step.Done, nil
	case err != nil:
		return step.Done, err
	}
	t.Evidence(fmt.Sprintf("the controller's clock is off by %s", time.Since(at).Abs().Round(time.Second)))
	return step.Done, nil
}
