// Package demo plays riser's two jobs on one simulated server with two DPU cards, and tells what happens as it happens.
//
// Only hardware is simulated, at the far end of its own wire: the management controllers speak Redfish, the cards' switches are OVSDB servers,
// the hypervisor's PCI bus is a tree of files with true Vital Product Data, the cards' kernels answer devlink. Everything between is the
// product: the server, its agents, and its client.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/riser-project/riser/driver"
)

// Options says how the demonstration runs. Out and Serve must be set.
type Options struct {
	Out   io.Writer
	Color bool // for a terminal
	JSON  bool // a line of JSON for each event instead of the story
	Keep  bool // stay until ctx ends, and say what can be explored

	// Serve starts a server and returns its URL. wait returns when it has ended, which it does when ctx ends.
	Serve func(ctx context.Context, s Server) (url string, wait func() error, err error)
}

// Server is what the demonstration needs its server to be.
type Server struct {
	Database    string // a DSN
	Northbound  string // endpoint of OVN's northbound database
	Credentials string // file with the user name and password of the cards' BMCs
	Patience    time.Duration
	Pace        driver.Pace
}

// Run plays the demonstration to its end. The error says which act failed, and why.
func Run(ctx context.Context, o Options) (err error) {
	dir, err := os.MkdirTemp("", "riser-demo-")
	if err != nil {
		return fmt.Errorf("demonstration: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := newStory(o.Out, o.Color, o.JSON)
	s.title()
	w, err := build(ctx, dir, o)
	if err != nil {
		return fmt.Errorf("demonstration: %w", err)
	}
	defer func() { err = errors.Join(err, w.close()) }()
	p := &play{world: w, story: s}
	for _, act := range []struct {
		title string
		run   func(context.Context) error
	}{
		{"The stage", p.stage},
		{"Enrol: serials meet, and cards become child nodes", p.enrol},
		{"Job A: one clean on the host, steps on parent and children", p.jobA},
		{"A failure told well: one card's BMC hangs", p.failure},
		{"Job B: a port of an instance, plugged on the right card", p.jobB},
	} {
		s.act(act.title)
		if err := act.run(ctx); err != nil {
			s.failed(err)
			return fmt.Errorf("demonstration: %s: %w", act.title, err)
		}
	}
	p.summary()
	if o.Keep {
		p.explore()
		<-ctx.Done()
	}
	return nil
}
