package ovs

import (
	"fmt"
	"sync"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// SwitchConfig says what an Open vSwitch is to be.
type SwitchConfig struct {
	Endpoint string   // as Server.Listen takes it
	SystemID string   // external_ids:system-id; left out if ""
	Hostname string   // external_ids:hostname; left out if ""
	Bridges  []string // br-int if nil

	// Netdev tells whether a network device of that name exists. An interface without one gets ofport -1 and an error,
	// as ovs-vswitchd does it; nil means that every device exists.
	Netdev func(name string) bool
}

// Switch is a card's Open vSwitch: an ovsdb-server with database Open_vSwitch, and an ovs-vswitchd that gives each
// interface an OpenFlow port number.
type Switch struct {
	*Server
	netdev func(string) bool
	work   *worker
	ofport int // the last one given; the worker's
}

// StartSwitch starts a switch. Close ends it.
func StartSwitch(cfg SwitchConfig) (*Switch, error) {
	server, err := newServer("switch.json")
	if err != nil {
		return nil, err
	}
	s := &Switch{Server: server, netdev: cfg.Netdev}
	if s.netdev == nil {
		s.netdev = func(string) bool { return true }
	}
	if err := server.Transact(seed(cfg)...); err != nil {
		return nil, fmt.Errorf("seed database Open_vSwitch: %w", err)
	}
	s.work = startWorker(s.vswitchd)
	server.onCommit(func(changes []change) { s.work.add(nil, changes) })
	if err := server.Listen(cfg.Endpoint); err != nil {
		s.work.stop()
		return nil, err
	}
	return s, nil
}

func seed(cfg SwitchConfig) []ovsdb.Operation {
	ids := map[any]any{}
	for key, value := range map[string]string{"system-id": cfg.SystemID, "hostname": cfg.Hostname} {
		if value != "" {
			ids[key] = value
		}
	}
	bridges := cfg.Bridges
	if bridges == nil {
		bridges = []string{"br-int"}
	}
	var ops []ovsdb.Operation
	var refs []any
	for i, name := range bridges {
		id := fmt.Sprintf("bridge%d", i)
		ops = append(ops, ovsdb.Operation{Op: "insert", Table: "Bridge", UUIDName: id, Row: ovsdb.Row{"name": name, "datapath_type": "system"}})
		refs = append(refs, ovsdb.UUID{GoUUID: id})
	}
	return append(ops, ovsdb.Operation{Op: "insert", Table: "Open_vSwitch", Row: ovsdb.Row{
		"external_ids": ovsdb.OvsMap{GoMap: ids}, "bridges": ovsdb.OvsSet{GoSet: refs},
		"ovs_version": ovsdb.OvsSet{GoSet: []any{"3.1.0"}}, "db_version": ovsdb.OvsSet{GoSet: []any{"8.3.1"}},
	}})
}

// Close ends the server and the vswitchd.
func (s *Switch) Close() error {
	s.Stop()
	s.work.stop()
	return nil
}

// SyncNetdevs makes the switch look at its network devices again, as after one appeared or went away.
func (s *Switch) SyncNetdevs() error {
	rows, err := s.Rows("Interface", nil)
	if err != nil {
		return err
	}
	for _, row := range rows {
		s.openInterface(row)
	}
	return nil
}

func (s *Switch) vswitchd(_ any, c change) {
	if c.table == "Interface" && c.old == nil {
		s.openInterface(c.new)
	}
}

func (s *Switch) openInterface(row Row) {
	name := row.text("name")
	opened, _ := row["ofport"].(int)
	there := s.netdev(name)
	if there && opened > 0 || !there && opened < 0 {
		return
	}
	set := ovsdb.Row{}
	if there {
		set["ofport"], set["link_state"], set["error"] = s.nextOFPort(), "up", ovsdb.OvsSet{GoSet: []any{}}
	} else {
		set["ofport"], set["link_state"] = -1, ovsdb.OvsSet{GoSet: []any{}}
		set["error"] = fmt.Sprintf("could not open network device %s (No such device)", name)
	}
	// The row may be gone by now; then nothing matches.
	_ = s.Transact(ovsdb.Operation{Op: "update", Table: "Interface", Where: isRow(row.UUID()), Row: set})
}

func (s *Switch) nextOFPort() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ofport++
	return s.ofport
}

func isRow(uuid string) []ovsdb.Condition {
	return []ovsdb.Condition{ovsdb.NewCondition("_uuid", ovsdb.ConditionEqual, ovsdb.UUID{GoUUID: uuid})}
}

// worker handles changes one after another in a goroutine of its own, so that a transaction never waits for it.
type worker struct {
	handle func(source any, c change)

	mu      sync.Mutex
	ready   sync.Cond
	queue   []job
	stopped bool
	done    chan struct{}
}

type job struct {
	source any
	change change
}

func startWorker(handle func(any, change)) *worker {
	w := &worker{handle: handle, done: make(chan struct{})}
	w.ready.L = &w.mu
	go w.run()
	return w
}

func (w *worker) add(source any, changes []change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range changes {
		w.queue = append(w.queue, job{source, c})
	}
	w.ready.Signal()
}

func (w *worker) run() {
	defer close(w.done)
	for {
		w.mu.Lock()
		for len(w.queue) == 0 && !w.stopped {
			w.ready.Wait()
		}
		if w.stopped {
			w.mu.Unlock()
			return
		}
		next := w.queue[0]
		w.queue = w.queue[1:]
		w.mu.Unlock()
		w.handle(next.source, next.change)
	}
}

// stop drops what is queued and waits for what is being handled.
func (w *worker) stop() {
	w.mu.Lock()
	w.stopped = true
	w.ready.Broadcast()
	w.mu.Unlock()
	<-w.done
}
