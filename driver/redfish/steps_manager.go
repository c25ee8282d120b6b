package redfish

import (
	"context"
	"fmt"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

// A controller is back within 3 minutes of its restart (BlueField BMC software, "Reset Control"); others take longer.
const (
	resetLimit = 10 * time.Minute
	resetRest  = 45 * time.Second // until an answer of a controller that tells nothing of its restart is believed to come after it
)

var resetManager = step.Definition{
	Interface: node.Management, Name: "reset_bmc", Impls: impls, Flows: anyFlow, NoRamdisk: true, Timeout: resetLimit + time.Minute,
	Summary: "Restart the controller itself and wait until it answers again; firmware that was installed for it counts from then on.",
	Plan:    lines("Manager.Reset"), Run: startReset, Poll: awaitReset,
}

// resetting is what the step keeps between looks.
type resetting struct {
	Version string // of the controller before
	Reset   string // its LastResetTime before
	Sent    time.Time
	Silent  bool // it was seen not to answer
}

const resetKey = "reset"

// restarter is a connection that can restart its controller.
type restarter interface {
	driver.Conn
	ResetManager(ctx context.Context) error
	ManagerStatus(ctx context.Context) (version, lastReset string, err error)
}

func startReset(ctx context.Context, t *step.Task) (step.Result, error) {
	if _, started := kept[resetting](t, resetKey); started {
		return step.Wait, nil
	}
	r, err := ability[restarter](ctx, t, "restarting the controller")
	if err != nil {
		return step.Done, err
	}
	s := resetting{Sent: time.Now()}
	if s.Version, s.Reset, err = r.ManagerStatus(ctx); err != nil {
		return step.Done, err
	}
	if err := r.ResetManager(ctx); err != nil {
		return step.Done, err
	}
	return step.Wait, t.Keep(ctx, resetKey, s)
}

func awaitReset(ctx context.Context, t *step.Task) (step.Result, error) {
	s, ok := kept[resetting](t, resetKey)
	if !ok {
		return step.Done, fault.New(fault.Conflict, "it is unknown whether the controller was restarted: compare its uptime, then run the step again "+
			"if it is needed")
	}
	r, err := ability[restarter](ctx, t, "restarting the controller")
	var version, last string
	if err == nil {
		version, last, err = r.ManagerStatus(ctx)
	}
	took := time.Since(s.Sent)
	switch {
	case err != nil && !passing(err):
		return step.Done, err
	case err != nil && took > resetLimit:
		return step.Done, fault.New(fault.Timeout, "the controller does not answer %s after it was told to restart: %w", resetLimit, err)
	case err != nil && s.Silent:
		return step.Wait, nil
	case err != nil:
		s.Silent = true
		return step.Wait, t.Keep(ctx, resetKey, s)
	case s.Silent || last != s.Reset:
		t.Evidence(fmt.Sprintf("the controller has restarted: %s -> %s", first(s.Version, "unknown"), first(version, "unknown")))
		return step.Done, nil
	case took > resetRest && s.Reset == "":
		t.Evidence(fmt.Sprintf("the controller answers %s after it was told to restart, and does not tell whether it did: %s -> %s", resetRest,
			first(s.Version, "unknown"), first(version, "unknown")))
		return step.Done, nil
	case took > resetLimit:
		return step.Done, fault.New(fault.Conflict, "the controller accepted a restart %s ago, but says that its last one was at %s", resetLimit, s.Reset)
	}
	return step.Wait, nil
}
