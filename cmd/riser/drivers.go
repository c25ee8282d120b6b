package main

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/driver/bluefield"
	"github.com/riser-project/riser/driver/fake"
	"github.com/riser-project/riser/driver/ipmi"
	"github.com/riser-project/riser/driver/redfish"
	"github.com/riser-project/riser/driver/ssh"
	"github.com/riser-project/riser/step"
	"github.com/riser-project/riser/step/steps"
)

// drivers is the list of hardware types. To add one, write its package and add its line.
func (s *settings) drivers() (map[string]driver.Driver, error) {
	fakes, err := s.fakeOptions()
	if err != nil {
		return nil, err
	}
	// A session is kept from one look at a machine's power to the next, so that looking does not mean logging in.
	linger := 2 * max(s.engine.SyncInterval, 0)
	web := redfish.New(redfish.Options{ReadTimeout: s.bmcTimeout, SendTimeout: min(s.bmcTimeout, 10*time.Second), Linger: linger})
	rules, err := driver.ParseRawRules(s.allowRaw)
	if err != nil {
		return nil, fmt.Errorf("--allow-raw: %w", err)
	}
	lan := ipmi.New(ipmi.Options{Timeout: min(s.bmcTimeout, 5*time.Second), Linger: linger, AllowRaw: rules})
	all := []driver.Driver{
		fake.New(fakes),
		fake.NewManual(),
		lan,
		web,
		bluefield.New(web, lan, bluefield.Options{}),
		ssh.New(ssh.Options{Timeout: s.bmcTimeout}),
	}
	enabled := map[string]driver.Driver{}
	for _, d := range all {
		if len(s.hardware) == 0 || slices.Contains(s.hardware, d.Name()) {
			enabled[d.Name()] = d
		}
	}
	for _, name := range s.hardware {
		if enabled[name] == nil {
			return nil, fmt.Errorf("--enabled-hardware-types: there is no hardware type %q", name)
		}
	}
	return enabled, nil
}

// catalog is the list of steps: those of every machine, and each driver's own.
func catalog() *step.Catalog {
	return step.NewCatalog(steps.All(), fake.Steps(), redfish.Steps(), bluefield.Steps(), ssh.Steps(&http.Client{}))
}
