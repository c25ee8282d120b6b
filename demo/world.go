package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/riser-project/riser/agent/dpu"
	hostagent "github.com/riser-project/riser/agent/host"
	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/client"
	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/internal/sim/bmc"
	"github.com/riser-project/riser/internal/sim/devlinksim"
	"github.com/riser-project/riser/internal/sim/host"
	"github.com/riser-project/riser/internal/sim/ovs"
	"github.com/riser-project/riser/pci"
	"github.com/riser-project/riser/pci/sysfs"
)

// Names in the story.
const (
	hostNode   = "server-1"
	hypervisor = "hypervisor-1"
	user       = "root"
	password   = "0penBmc-demo" //nolint:gosec // of simulated machines that last as long as the story
	pfs        = 2
	vfs        = 4
)

// card is one DPU card: what its host sees of it, and its own Linux.
type card struct {
	bmc     *bmc.Machine
	chassis string
	kernel  *devlinksim.Kernel
	sw      *ovs.Switch
	macs    []net.HardwareAddr // of the host's PFs
}

// world is everything that would be hardware, and the product that runs on it.
type world struct {
	dir    string
	server *bmc.Server
	host   *host.Host
	cards  []*card
	ovn    *ovs.OVN
	url    string
	api    *client.Client

	stop  context.CancelFunc
	wg    sync.WaitGroup
	mu    sync.Mutex
	fails []error
	ends  []func() error
}

// build makes the hardware, starts the server and the agents, and waits until the server answers.
func build(ctx context.Context, dir string, o Options) (_ *world, err error) {
	w := &world{dir: dir}
	run, stop := context.WithCancel(ctx)
	w.stop = stop
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if err := w.hardware(); err != nil {
		return nil, err
	}
	creds := filepath.Join(dir, "cards.yaml")
	if err := os.WriteFile(creds, fmt.Appendf(nil, "username: %s\npassword: %s\n", user, password), 0o600); err != nil {
		return nil, err
	}
	url, wait, err := o.Serve(run, Server{
		Database: "sqlite:" + filepath.Join(dir, "riser.db"), Northbound: w.ovn.Endpoint(), Credentials: creds, Patience: time.Second,
		Pace: driver.Pace{
			Poll: 20 * time.Millisecond, Rest: 50 * time.Millisecond, Off: 5 * time.Second, SoftOff: 10 * time.Second, On: 5 * time.Second,
			Restart: 5 * time.Second, Boot: 10 * time.Second, Hint: 400 * time.Millisecond,
		},
	})
	if err != nil {
		return nil, err
	}
	w.url, w.api = url, &client.Client{URL: url}
	w.wg.Go(func() { w.failed(wait()) })
	if err := w.ready(ctx); err != nil {
		return nil, err
	}
	return w, w.agents(run)
}

// ready waits until the server says that it is.
func (w *world) ready(ctx context.Context) error {
	return until(ctx, "the server is ready", func() (bool, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/healthz", nil)
		if err != nil {
			return false, err
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return false, nil //nolint:nilerr // not yet
		}
		return resp.StatusCode == http.StatusOK, resp.Body.Close()
	})
}

func (w *world) hardware() (err error) {
	w.server, err = bmc.NewServer(bmc.Options{Cards: 2, Number: 1, Username: user, Password: password})
	if err != nil {
		return err
	}
	w.ends = append(w.ends, w.server.Close)
	if w.host, err = host.New(filepath.Join(w.dir, "sys"), host.Config{SystemUUID: w.server.Host.UUID, SystemSerial: w.server.Host.Serial}); err != nil {
		return err
	}
	w.ends = append(w.ends, w.host.Close)
	if w.ovn, err = ovs.StartOVN("unix:" + filepath.Join(w.dir, "ovnnb.sock")); err != nil {
		return err
	}
	w.ends = append(w.ends, w.ovn.Close)
	for i, m := range w.server.Cards {
		if err := w.plugIn(i, m); err != nil {
			return err
		}
	}
	return nil
}

// plugIn puts a card into the host's PCI tree and starts its own Linux.
func (w *world) plugIn(i int, m *bmc.Machine) error {
	c := &card{bmc: m, chassis: fmt.Sprintf("dpu-%d.example", i+1), kernel: devlinksim.New()}
	seen, err := host.BlueField3(host.BlueField{
		Serial: m.Serial, UUID: strings.ReplaceAll(m.UUID, "-", ""), Bus: uint8(0x82 + i*0x20), NUMA: i, MAC: m.BaseMAC, PFs: pfs, VFs: vfs,
	})
	if err != nil {
		return err
	}
	if err := w.host.Plug(seen); err != nil {
		return err
	}
	for _, pf := range seen.PFs {
		mac, err := net.ParseMAC(pf.MAC)
		if err != nil {
			return err
		}
		c.macs = append(c.macs, mac)
	}
	c.kernel.AddCard(devlinksim.Card{Serial: m.Serial, PartNumber: m.PartNumber, Hosts: [][]net.HardwareAddr{c.macs}, VFs: vfs})
	c.sw, err = ovs.StartSwitch(ovs.SwitchConfig{
		Endpoint: "unix:" + filepath.Join(w.dir, fmt.Sprintf("dpu-%d.sock", i+1)), SystemID: fmt.Sprintf("dpu-%d", i+1), Hostname: c.chassis, Netdev: c.kernel.HasNetdev,
	})
	if err != nil {
		return err
	}
	w.ends = append(w.ends, c.sw.Close)
	w.cards = append(w.cards, c)
	return w.ovn.AddChassis(c.sw)
}

func (w *world) agents(ctx context.Context) error {
	tree, err := sysfs.Open(w.host.Root())
	if err != nil {
		return err
	}
	rules, err := pci.ParseRules([]byte(`{"vendor_id": "15b3", "product_id": "101e", "physical_network": null, "remote_managed": "true"}`))
	if err != nil {
		return err
	}
	quiet := slog.New(slog.DiscardHandler)
	w.wg.Go(func() {
		w.failed(hostagent.Run(ctx, hostagent.Config{
			Host: hypervisor, Server: w.url, Source: tree, Rules: rules, Virt: wire.Virt{Driver: "fake", VCPUs: 64, MemoryMB: 262144}, Poll: 200 * time.Millisecond, Log: quiet,
		}))
	})
	for _, c := range w.cards {
		w.wg.Go(func() {
			w.failed(dpu.Run(ctx, dpu.Config{
				Server: w.url, Devlink: c.kernel.Dial, OVSDB: c.sw.Endpoint(), Bridge: "br-int", BMCAddress: c.bmc.Controller.URL, Log: quiet,
			}))
		})
	}
	return nil
}

// failed keeps the error of something that ended before it should.
func (w *world) failed(err error) {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fails = append(w.fails, err)
}

// close stops everything in the order opposite to that of its start.
func (w *world) close() error {
	w.stop()
	w.wg.Wait()
	for i := len(w.ends) - 1; i >= 0; i-- {
		w.failed(w.ends[i]())
	}
	return errors.Join(w.fails...)
}
