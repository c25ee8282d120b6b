package dpu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/riser-project/riser/devlink"
)

const (
	calm       = 10 * time.Millisecond // lets a burst of events end before it is looked at
	redial     = 50 * time.Millisecond // first pause after a lost connection; doubles
	lastRedial = 5 * time.Second
)

// kernel keeps the table of this kernel's devlink ports up to date: it dumps them whole at the start, after each event or burst of events, after
// lost events, after a reconnection, and every resync, since kernels before 6.2 do not announce a rename.
type kernel struct {
	dial    func() (*devlink.Conn, error)
	sysfs   string
	resync  time.Duration
	news    *teller
	changed []signal      // raised after each change of the table
	again   signal        // asks for a dump
	tried   chan struct{} // closed after the first attempt

	mu    sync.Mutex
	conn  *devlink.Conn // nil while there is none
	table *devlink.Table
	infos map[devlink.Handle]devlink.Info
	since time.Time // of the last change of the table
	err   error     // why the table cannot be read now
	once  sync.Once
}

func newKernel(c Config, news *teller) *kernel {
	dial := devlink.Dial
	if c.Devlink != nil {
		dial = func() (*devlink.Conn, error) { return devlink.New(c.Devlink) }
	}
	return &kernel{dial: dial, sysfs: c.Sysfs, resync: c.Resync, news: news, again: newSignal(), tried: make(chan struct{})}
}

// subscribe returns a signal that is raised after each change of the table.
func (k *kernel) subscribe() signal {
	s := newSignal()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changed = append(k.changed, s)
	return s
}

func (k *kernel) unsubscribe(s signal) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changed = slices.DeleteFunc(k.changed, func(o signal) bool { return o == s })
}

// run keeps a connection until ctx ends.
func (k *kernel) run(ctx context.Context) {
	pause := redial
	for ctx.Err() == nil {
		start := time.Now()
		err := k.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		k.lost(err)
		if time.Since(start) > lastRedial {
			pause = redial
		}
		sleep(ctx, pause)
		pause = min(2*pause, lastRedial)
	}
}

// serve makes one connection, and returns why it ended.
func (k *kernel) serve(ctx context.Context) error {
	conn, err := k.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watcher, err := conn.Watch(ctx)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- k.follow(watcher) }()
	k.setConn(conn)
	defer k.setConn(nil)
	every := time.NewTicker(k.resync)
	defer every.Stop()
	for {
		select {
		case <-k.again:
		default:
		}
		if err := k.dump(ctx, conn); err != nil {
			cancel()
			return errors.Join(err, <-ended)
		}
		select {
		case <-k.again:
			sleep(ctx, calm)
		case <-every.C:
		case err := <-ended:
			return err
		}
	}
}

// follow asks for a dump at each event, and returns why there are no more.
func (k *kernel) follow(w *devlink.Watcher) error {
	defer w.Close()
	for {
		e, err := w.Next()
		if err != nil {
			return err
		}
		if e.Kind == devlink.Overflow {
			k.news.log.Info("DPU agent: devlink events were lost; everything is looked at anew", "error", e.Err)
		}
		k.again.raise()
	}
}

func (k *kernel) dump(ctx context.Context, conn *devlink.Conn) error {
	ports, err := conn.Ports(ctx)
	if err != nil {
		return err
	}
	infos, err := k.askInfos(ctx, conn, ports)
	if err != nil {
		return err
	}
	var legacy devlink.LegacyMAC
	if k.sysfs != "" {
		legacy = devlink.SysfsLegacyMAC(k.sysfs)
	}
	k.set(devlink.NewTable(ports, legacy), infos)
	return nil
}

// askInfos asks each instance about its device, once.
func (k *kernel) askInfos(ctx context.Context, conn *devlink.Conn, list []devlink.Port) (map[devlink.Handle]devlink.Info, error) {
	known := k.ports().infos
	infos, asked := map[devlink.Handle]devlink.Info{}, map[devlink.Handle]bool{}
	for _, p := range list {
		h := p.ID.Handle
		if asked[h] {
			continue
		}
		asked[h] = true
		info, ok := known[h]
		if !ok {
			var err error
			info, err = conn.Info(ctx, h)
			if ctx.Err() != nil {
				return nil, err
			}
			// A driver that tells nothing of itself is no reason to do without its ports.
			k.news.tellErr("devlink info of "+h.String(), err)
			if err != nil {
				continue
			}
		}
		infos[h] = info
	}
	return infos, nil
}

func (k *kernel) set(table *devlink.Table, infos map[devlink.Handle]devlink.Info) {
	k.mu.Lock()
	defer k.mu.Unlock()
	same := k.table != nil && k.err == nil && reflect.DeepEqual(k.table.Ports(), table.Ports()) &&
		reflect.DeepEqual(k.table.Problems(), table.Problems()) && reflect.DeepEqual(k.infos, infos)
	k.table, k.infos, k.err = table, infos, nil
	if !same {
		k.since = time.Now()
		k.notify()
	}
	k.news.tell("devlink", "")
}

// notify wakes the subscribers, and those who wait for the first attempt; the caller holds the lock.
func (k *kernel) notify() {
	for _, s := range k.changed {
		s.raise()
	}
	k.once.Do(func() { close(k.tried) })
}

func (k *kernel) setConn(conn *devlink.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conn = conn
}

// lost notes that there is no connection. The last table stays, unless the kernel has no devlink at all: then nothing is known.
func (k *kernel) lost(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
	if errors.Is(err, devlink.ErrNoFamily) {
		k.table = nil
	}
	k.news.tellErr("devlink", err)
	k.notify()
}

// ports is what is known of the kernel's ports at a moment.
type ports struct {
	table *devlink.Table // nil while nothing is known
	infos map[devlink.Handle]devlink.Info
	since time.Time // of the last change
	err   error     // why nothing is known, or nothing new
}

func (k *kernel) ports() ports {
	k.mu.Lock()
	defer k.mu.Unlock()
	return ports{table: k.table, infos: k.infos, since: k.since, err: k.err}
}

// setHWAddr sets the address of the function behind a port.
func (k *kernel) setHWAddr(ctx context.Context, id devlink.PortID, mac net.HardwareAddr) error {
	k.mu.Lock()
	conn := k.conn
	k.mu.Unlock()
	if conn == nil {
		return errors.New("there is no connection to devlink")
	}
	return conn.SetHWAddr(ctx, id, mac)
}

// renamed tells whether the network device of that name is another one than at the last dump. Without a sysfs that knows the name it cannot
// tell, and returns nil.
func (k *kernel) renamed(p devlink.Port) error {
	now, ok := k.ifindex(p.Netdev)
	if !ok || p.Ifindex == 0 || now == p.Ifindex {
		return nil
	}
	k.again.raise()
	return fmt.Errorf("network device %s is not the representor any more (ifindex %d, was %d)", p.Netdev, now, p.Ifindex)
}

// ifindex reads the index of the network device that has a name now.
func (k *kernel) ifindex(netdev string) (uint32, bool) {
	if k.sysfs == "" || filepath.Base(netdev) != netdev {
		return 0, false
	}
	text, err := os.ReadFile(filepath.Join(k.sysfs, "class", "net", netdev, "ifindex"))
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	return uint32(n), err == nil
}
