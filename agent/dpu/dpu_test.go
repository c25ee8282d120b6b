package dpu_test

import (
	"testing"

	"github.com/riser-project/riser/agent/wire"
)

func TestAPortIsPluggedAndUnplugged(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	o := plugVF("port-1", 1, hostMAC(0, 1), 3)
	l.server.order(o)
	status := l.server.wantStatus("port-1", 1, wire.Plugged)
	if status.Representor != "c1pf1vf3" || status.Reason != "" {
		t.Errorf("the status is %+v", status)
	}
	l.wantPlugged("port-1", "c1pf1vf3", 1)
	l.server.order(unplug(o, 2))
	l.server.wantStatus("port-1", 2, wire.Unplugged)
	l.wantUnplugged("port-1")
}
