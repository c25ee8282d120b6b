package redfish

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

func firmwareSteps() []step.Definition {
	return []step.Definition{
		{
			Interface: node.Firmware, Name: "update", Impls: impls, Flows: anyFlow, NoRamdisk: true, Timeout: 2 * time.Hour,
			Summary: "Update firmware, one component after the other.",
			Args: []step.Arg{{
				Name: "settings", Description: `List of {"component": ..., "url": ..., "wait": seconds}.`, Required: true,
				Check: func(v any) error { _, err := images(v, true); return err },
			}},
			Plan: func(args node.Object) []string { return planImages(args["settings"], true) },
			Run:  startUpdates("settings", true), Poll: pollUpdates("settings", true),
		},
		{
			Interface: node.Management, Name: "update_firmware", Impls: impls, Flows: []node.Flow{node.FlowClean,
				node.FlowService}, NoRamdisk: true, Timeout: 2 * time.Hour,
			Summary: "Update firmware, one image after the other; the controller knows what each is for.",
			Args: []step.Arg{{
				Name: "firmware_images", Description: `List of {"url": ..., "wait": seconds}.`, Required: true,
				Check: func(v any) error { _, err := images(v, false); return err },
			}},
			Plan: func(args node.Object) []string { return planImages(args["firmware_images"], false) },
			Run:  startUpdates("firmware_images", false), Poll: pollUpdates("firmware_images", false),
		},
	}
}

// image is one update of a step.
type image struct {
	component string
	url       string
	wait      time.Duration // after the update, before the next
}

// images reads the list of updates; named says whether each names its component.
func images(v any, named bool) ([]image, error) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, fmt.Errorf("must be a list with at least one update")
	}
	updates := make([]image, 0, len(list))
	for i, e := range list {
		m, ok := e.(node.Object)
		if !ok {
			return nil, fmt.Errorf("entry %d must be an object", i)
		}
		u, err := imageOf(m, named)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		updates = append(updates, u)
	}
	return updates, nil
}

func imageOf(m node.Object, named bool) (u image, err error) {
	for k, v := range m {
		text, isText := v.(string)
		switch {
		case k == "component" && named && isText && text != "":
			u.component = text
		case k == "url" && isText:
			u.url = text
		case k == "wait":
			seconds, ok := v.(float64)
			if !ok || seconds < 0 || seconds > 86400 {
				return u, fmt.Errorf("wait must be seconds, 0 to 86400")
			}
			u.wait = time.Duration(seconds * float64(time.Second))
		default:
			return u, fmt.Errorf("%s is not known, or of the wrong type", clip(k, 40))
		}
	}
	if named && u.component == "" {
		return u, fmt.Errorf("component is missing")
	}
	at, err := url.Parse(u.url)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" || at.User != nil {
		return u, fmt.Errorf("url must be an http or https URL without credentials")
	}
	return u, nil
}

func planImages(v any, named bool) []string {
	updates, err := images(v, named)
	if err != nil {
		return nil
	}
	var plan []string
	for _, u := range updates {
		plan = append(plan, fmt.Sprintf("UpdateService.SimpleUpdate %s %s", u.component, u.url))
	}
	return plan
}

// updating is what the step keeps between looks.
type updating struct {
	Index   int       // of the update that runs
	Task    string    // of that update
	Version string    // of its component before
	Percent int       // last noted
	Silent  time.Time // since when the controller does not answer
	Rest    time.Time // until when to wait before the next update
}

const stateKey = "update"

func startUpdates(arg string, named bool) func(context.Context, *step.Task) (step.Result, error) {
	return func(ctx context.Context, t *step.Task) (step.Result, error) {
		updates, err := images(t.Args[arg], named)
		if err != nil {
			return step.Done, fault.New(fault.Invalid, "argument %s: %w", arg, err)
		}
		if _, started := kept[updating](t, stateKey); started {
			return step.Wait, nil
		}
		f, err := ability[driver.Firmware](ctx, t, "firmware updates")
		if err != nil {
			return step.Done, err
		}
		return startUpdate(ctx, t, f, updates, 0)
	}
}

func startUpdate(ctx context.Context, t *step.Task, f driver.Firmware, updates []image, index int) (step.Result, error) {
	u := updates[index]
	s := updating{Index: index, Version: version(ctx, f, u.component)}
	started, err := f.UpdateFirmware(ctx, u.component, u.url)
	if err != nil {
		return step.Done, err
	}
	s.Task = started.Task
	if s.Task == "" {
		// The controller keeps no task: the time it is given is all there is.
		s.Rest = time.Now().Add(max(u.wait, time.Minute))
	}
	t.Evidence(fmt.Sprintf("update %d of %d accepted: %s %s", index+1, len(updates), u.component, u.url))
	return step.Wait, t.Keep(ctx, stateKey, s)
}

// version returns the version of a component of the inventory, or "".
func version(ctx context.Context, f driver.Firmware, id string) string {
	if id == "" {
		return ""
	}
	list, err := f.Components(ctx)
	if err != nil {
		return ""
	}
	for _, c := range list {
		if c.ID == id {
			return c.Version
		}
	}
	return ""
}

func pollUpdates(arg string, named bool) func(context.Context, *step.Task) (step.Result, error) {
	return func(ctx context.Context, t *step.Task) (step.Result, error) {
		updates, err := images(t.Args[arg], named)
		if err != nil {
			return step.Done, err
		}
		s, ok := kept[updating](t, stateKey)
		if !ok || s.Index >= len(updates) {
			return step.Done, fault.New(fault.Conflict, "what became of the update is unknown: compare the firmware versions, then run the step "+
				"again if it is needed")
		}
		f, err := ability[driver.Firmware](ctx, t, "firmware updates")
		if err == nil {
			return pollUpdate(ctx, t, f, updates, s)
		}
		return silent(ctx, t, s, err)
	}
}

func pollUpdate(ctx context.Context, t *step.Task, f driver.Firmware, updates []image, s updating) (step.Result, error) {
	u := updates[s.Index]
	if !s.Rest.IsZero() {
		if time.Now().Before(s.Rest) {
			return step.Wait, nil
		}
		return nextUpdate(ctx, t, f, updates, s)
	}
	state, err := f.UpdateState(ctx, s.Task)
	switch {
	case fault.Is(err, fault.NotFound):
		now := version(ctx, f, u.component)
		if now == "" || now == s.Version {
			return step.Done, fault.New(fault.Conflict, "the controller forgot the update of %s, and its version is still %q: it is unknown "+
				"whether the update is done; "+
				"compare the versions after the next restart", u.component, s.Version)
		}
	case passing(err):
		return silent(ctx, t, s, err)
	case err != nil:
		return step.Done, err
	case !state.Done:
		return step.Wait, progressed(ctx, t, s, state)
	}
	if u.wait > 0 {
		s.Rest, s.Silent = time.Now().Add(u.wait), time.Time{}
		return step.Wait, t.Keep(ctx, stateKey, s)
	}
	return nextUpdate(ctx, t, f, updates, s)
}

// progressed notes each quarter.
func progressed(ctx context.Context, t *step.Task, s updating, state driver.Update) error {
	if state.Percent < s.Percent+25 && s.Silent.IsZero() {
		return nil
	}
	if state.Percent >= s.Percent+25 {
		s.Percent = state.Percent
		t.Evidence(fmt.Sprintf("update at %d %%: %s %s", state.Percent, state.State, state.Message))
	}
	s.Silent = time.Time{}
	return t.Keep(ctx, stateKey, s)
}

// silent waits for a controller that does not answer: after its own update it restarts.
func silent(ctx context.Context, t *step.Task, s updating, err error) (step.Result, error) {
	if !passing(err) {
		return step.Done, err
	}
	seconds, bad := unresponsiveWait(t.Node.DriverInfo)
	if bad != nil {
		return step.Done, fault.New(fault.Invalid, "driver_info: %w", bad)
	}
	switch {
	case s.Silent.IsZero():
		s.Silent = time.Now()
		return step.Wait, t.Keep(ctx, stateKey, s)
	case time.Since(s.Silent) > time.Duration(seconds)*time.Second:
		return step.Done, fault.New(fault.Timeout, "the controller has not answered for %d s while it was updated: %w", seconds, err)
	}
	return step.Wait, nil
}

// nextUpdate tells what the one that ended changed, and starts the next.
func nextUpdate(ctx context.Context, t *step.Task, f driver.Firmware, updates []image, s updating) (step.Result, error) {
	u := updates[s.Index]
	switch now := version(ctx, f, u.component); {
	case now == "":
		t.Evidence(fmt.Sprintf("update %d of %d is done", s.Index+1, len(updates)))
	case now == s.Version:
		t.Evidence(fmt.Sprintf("%s is done and still says %s: the new version counts from the next restart", u.component, now))
	default:
		t.Evidence(fmt.Sprintf("%s %s -> %s", u.component, s.Version, now))
	}
	if s.Index+1 == len(updates) {
		return step.Done, nil
	}
	return startUpdate(ctx, t, f, updates, s.Index+1)
}
