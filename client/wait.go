package client

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// A wait asks often at first and seldom later, and bears a server that is away for a while: it may be restarting.
const (
	firstPoll = 50 * time.Millisecond
	lastPoll  = 2 * time.Second
	mayBeAway = 30 * time.Second
)

// poll calls look until it says that the wait is over, or fails.
func poll(ctx context.Context, look func() (over bool, err error)) error {
	answered := time.Now()
	for delay := firstPoll; ; delay = min(delay*3/2, lastPoll) {
		over, err := look()
		switch {
		case err == nil && over:
			return nil
		case err == nil:
			answered = time.Now()
		case !fault.Is(err, fault.Unavailable) || time.Since(answered) > mayBeAway:
			return err
		}
		if err := pause(ctx, delay); err != nil {
			return err
		}
	}
}

// waitFields are what a wait for a node looks at.
var waitFields = url.Values{"fields": {strings.Join([]string{
	"uuid", "name", "power_state", "target_power_state", "provision_state", "target_provision_state", "last_error", "maintenance", "fault", "reservation",
}, ",")}}

func (c *Client) waitNode(ctx context.Context, ref string, seen func(*Node), over func(*Node) bool) (*Node, error) {
	var n *Node
	err := poll(ctx, func() (bool, error) {
		n = &Node{}
		if err := c.Do(ctx, "GET", nodePath(ref, encode(waitFields)), nil, n); err != nil {
			return false, err
		}
		if seen != nil {
			seen(n)
		}
		return over(n), nil
	})
	return n, err
}

// WaitProvision waits until the node has come to rest: in the state want, or with an error in any other; an empty want is content with each.
// A held node does not rest: it waits for unhold. seen, if not nil, is called with the node's states as they are read, at least once.
//
// Only the fields of state of the result are filled. The error names the state the node is in, and its last_error.
func (c *Client) WaitProvision(ctx context.Context, ref string, want node.State, seen func(*Node)) (*Node, error) {
	n, err := c.waitNode(ctx, ref, seen, func(n *Node) bool {
		return n.Provision.Failed() || n.Provision.Stable() && n.TargetProvision == ""
	})
	switch {
	case err != nil || want == "" || n.Provision == want:
		return n, err
	case n.LastError != "":
		return n, fmt.Errorf("it ended in state %s: %s", n.Provision, n.LastError)
	default:
		return n, fmt.Errorf("it ended in state %s instead of %s, and the server does not say why", n.Provision, want)
	}
}

// WaitPower waits for the end of a change of power to target, as SetPower was given it.
//
// Only the fields of state of the result are filled. The error names the state the node is in, and its last_error.
func (c *Client) WaitPower(ctx context.Context, ref string, target node.PowerState) (*Node, error) {
	n, err := c.waitNode(ctx, ref, nil, func(n *Node) bool { return n.TargetPower == "" && n.Reservation == "" })
	if err != nil {
		return n, err
	}
	want, restart := node.PowerOn, false
	switch target {
	case node.PowerOff, node.SoftPowerOff:
		want = node.PowerOff
	case node.Rebooting, node.SoftRebooting:
		restart = true // the power is on before and after: only the error tells
	}
	switch {
	case n.Power == want && (n.LastError == "" || !restart):
		return n, nil
	case n.LastError != "":
		return n, fmt.Errorf("its power state is %s: %s", known(n.Power), n.LastError)
	default:
		return n, fmt.Errorf("its power state is %s instead of %s, and the server does not say why", known(n.Power), want)
	}
}

func known(p node.PowerState) node.PowerState {
	if p == "" {
		return "unknown"
	}
	return p
}
