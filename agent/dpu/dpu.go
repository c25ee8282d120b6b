// Package dpu is the agent on a card's own Linux. It tells riser's server which card this is and which functions the card shows to its hosts,
// takes the server's orders, and plugs the representors of the functions that are ordered into the integration bridge, or takes them out.
//
// An order names a function by the address of the host's PF and the number of the VF or SF; the representor is found by that alone, never by the
// name of its network device. Orders are carried out by comparing what is ordered with what is there, each time that either changes: an order
// that cannot be carried out waits or fails alone, and is tried again when something has changed. What the agent did not plug it leaves alone.
package dpu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/riser-project/riser/devlink"
	"github.com/riser-project/riser/ovsdb"
	"github.com/riser-project/riser/pci"
)

// Config is what an agent needs to know. Server and OVSDB must be set.
type Config struct {
	Server string // URL of the server: http or https, host and port

	// Client carries the agent's credentials. If nil, a client without any is used that follows no redirects. It must not have a timeout
	// below a minute, for a request for orders waits.
	Client *http.Client

	// Devlink opens connections to devlink; nil for those of the running kernel.
	Devlink devlink.Dialer

	OVSDB  string // endpoint of the card's Open_vSwitch database: "unix:/path" or "tcp:host:port"
	Bridge string // integration bridge; "br-int" if ""

	// Serial is the card's serial number, for a card that does not tell it, or tells another one than its VPD on the host. It goes before
	// what the card says of itself; that it contradicts the card is told to the server.
	Serial     string
	Chassis    string // host name of this Linux in OVN; external_ids:hostname of Open vSwitch if "", else the kernel's host name
	BMCAddress string // URL or address of the card's own management controller; "" if unknown

	// PhysicalNetworks has, by network device of an uplink ("p0"), the physical network that it is on.
	PhysicalNetworks map[string]string

	// AnnounceSerial adds card-serial-number to ovn-cms-options even if no order is for OVN to plug: Neutron finds the chassis of a card by it.
	AnnounceSerial bool

	// Sysfs is where the kernel's sysfs is mounted, for the card's VPD where devlink tells no serial number; "" for none.
	Sysfs string

	Resync time.Duration // between two looks at everything, for what no event tells; DefaultResync if 0
	Settle time.Duration // how long the ports of a kernel must be unchanged before an unknown PF is a failure; DefaultSettle if 0

	Log *slog.Logger // slog.Default if nil
}

// Defaults of Config.
const (
	DefaultBridge = "br-int"
	DefaultResync = 30 * time.Second
	DefaultSettle = 3 * time.Second
)

func (c Config) withDefaults() Config {
	if c.Bridge == "" {
		c.Bridge = DefaultBridge
	}
	if c.Resync <= 0 {
		c.Resync = DefaultResync
	}
	if c.Settle <= 0 {
		c.Settle = DefaultSettle
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// Run is the agent: it works until ctx ends, and then returns nil. It survives that the server, Open vSwitch or the kernel's devlink are away,
// at the start too, and takes up where it was. What is plugged stays plugged when it ends; an agent that starts again compares it with the
// server's orders and changes only what differs.
//
// While another agent has the card's switch, this one writes nothing; it takes the switch over again after a pause, with new orders.
//
// The error says which setting cannot be used.
func Run(ctx context.Context, c Config) error {
	c = c.withDefaults()
	server, err := newCaller(c.Server, c.Client)
	if err != nil {
		return fmt.Errorf("DPU agent: %w", err)
	}
	if c.Serial != "" {
		if err := pci.ValidSerial(c.Serial); err != nil {
			return fmt.Errorf("DPU agent: configured %w", err)
		}
		c.Serial = pci.TrimSerial(c.Serial)
	}
	if c.OVSDB == "" {
		return errors.New("DPU agent: the endpoint of Open vSwitch's database is missing")
	}
	bridge, err := ovsdb.OpenSwitch(ovsdb.Config{Endpoint: c.OVSDB, Log: c.Log})
	if err != nil {
		return fmt.Errorf("DPU agent: %w", err)
	}
	defer bridge.Close()
	news := newTeller(c.Log)
	a := &agent{
		Config: c, server: server, vswitch: bridge, news: news, ledger: newLedger(), known: make(chan struct{}), reported: newSignal(),
		kernel: newKernel(c, news),
	}
	var all sync.WaitGroup
	all.Go(func() { a.kernel.run(ctx) })
	if a.identify(ctx) {
		all.Go(func() { a.report(ctx) })
		all.Go(func() { a.sendStatuses(ctx) })
		a.obey(ctx)
	}
	all.Wait()
	return nil
}

// agent is the state of a Run.
type agent struct {
	Config
	server  *caller
	vswitch *ovsdb.Switch
	kernel  *kernel
	ledger  *ledger
	news    *teller

	card     card          // set by identify
	known    chan struct{} // closed once the server took a report
	reported signal        // the server took a report
}

// signal wakes one goroutine. Signals that were not taken yet count as one.
type signal chan struct{}

func newSignal() signal { return make(signal, 1) }

func (s signal) raise() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// sleep waits until the time is over or ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// teller logs what is wrong when that changes, not each time that it is found.
type teller struct {
	log *slog.Logger

	mu   sync.Mutex
	said map[string]string
}

func newTeller(log *slog.Logger) *teller { return &teller{log: log, said: map[string]string{}} }

// tell says what is wrong with a subject; "" says that all is well.
func (t *teller) tell(subject, wrong string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.said[subject] == wrong {
		return
	}
	if wrong == "" {
		delete(t.said, subject)
		t.log.Info("DPU agent: in order again", "subject", subject)
		return
	}
	t.said[subject] = wrong
	t.log.Warn("DPU agent: trouble", "subject", subject, "problem", wrong)
}

// tellErr is tell with the text of an error, or with nothing.
func (t *teller) tellErr(subject string, err error) {
	if err == nil {
		t.tell(subject, "")
		return
	}
	t.tell(subject, err.Error())
}
