// Package ovs has Open vSwitch and OVN as far as riser meets them: OVSDB servers over sockets with the schemas of
// Open_vSwitch, OVN_Northbound and OVN_Southbound, an ovs-vswitchd that opens the interfaces, and an ovn-controller with
// its northd that claims ports. What they answer is what the real ones answer; their datapath forwards nothing.
package ovs

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// Server is one OVSDB server with one database in memory. It speaks the part of RFC 7047 and ovsdb-server(7) that
// clients use: list_dbs, get_schema, transact, monitor_cond and echo. It is safe for concurrent use.
type Server struct {
	mu       sync.Mutex
	store    *store
	listener net.Listener
	endpoint string
	conns    map[*conn]bool
	frozen   chan struct{} // not nil: messages wait until it is closed
	hooks    []func([]change)
	running  sync.WaitGroup
}

// newServer returns a server with an empty database, not listening yet.
func newServer(schema string) (*Server, error) {
	st, err := newStore(schema)
	if err != nil {
		return nil, err
	}
	return &Server{store: st, conns: map[*conn]bool{}}, nil
}

// StartNorthbound starts a server with an initialized OVN_Northbound database and no northd at an endpoint as
// [Server.Listen] takes it; [StartOVN] is one with.
func StartNorthbound(endpoint string) (*Server, error) {
	s, err := newNorthbound()
	if err != nil {
		return nil, err
	}
	return s, s.Listen(endpoint)
}

func newNorthbound() (*Server, error) {
	s, err := newServer("northbound.json")
	if err != nil {
		return nil, err
	}
	return s, s.Transact(ovsdb.Operation{Op: "insert", Table: "NB_Global", Row: ovsdb.Row{"name": "riser-sim"}})
}

// StartSouthbound starts a server with an empty OVN_Southbound database at an endpoint as [Server.Listen] takes it.
func StartSouthbound(endpoint string) (*Server, error) {
	s, err := newServer("southbound.json")
	if err != nil {
		return nil, err
	}
	return s, s.Listen(endpoint)
}

// Listen starts to accept connections, again after Stop. The endpoint is "unix:/path" or "tcp:host:port"; port 0 takes
// a free one. "" takes the endpoint of the last time.
func (s *Server) Listen(endpoint string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return fmt.Errorf("listen at %s: the server listens at %s already", endpoint, s.endpoint)
	}
	if endpoint == "" {
		endpoint = s.endpoint
	}
	network, address, _ := strings.Cut(endpoint, ":")
	if network != "unix" && network != "tcp" {
		return fmt.Errorf("listen at %q: want unix:/path or tcp:host:port", endpoint)
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return fmt.Errorf("listen at %s: %w", endpoint, err)
	}
	s.listener, s.endpoint = l, network+":"+l.Addr().String()
	s.running.Go(func() { s.accept(l) })
	return nil
}

// Endpoint returns where the server listens, with the true port.
func (s *Server) Endpoint() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.endpoint
}

func (s *Server) accept(l net.Listener) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		c := newConn(s, nc)
		s.mu.Lock()
		if s.listener != l {
			s.mu.Unlock()
			_ = nc.Close()
			return
		}
		s.conns[c] = true
		s.running.Go(c.read)
		s.running.Go(c.write)
		s.mu.Unlock()
	}
}

// Stop closes the listener and all connections and returns when their goroutines are gone. The data stays, for Listen.
func (s *Server) Stop() {
	s.mu.Lock()
	if s.listener != nil {
		_ = s.listener.Close()
		s.listener = nil
	}
	s.thaw()
	s.mu.Unlock()
	s.DropConnections()
	s.running.Wait()
}

// Close is Stop.
func (s *Server) Close() error {
	s.Stop()
	return nil
}

// DropConnections closes all connections; clients may connect anew.
func (s *Server) DropConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.close()
	}
}

// Connections returns how many clients are connected.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Freeze makes the server hang: connections stay, and nothing is answered until Thaw.
func (s *Server) Freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen == nil {
		s.frozen = make(chan struct{})
	}
}

// Thaw ends Freeze.
func (s *Server) Thaw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.thaw()
}

func (s *Server) thaw() {
	if s.frozen != nil {
		close(s.frozen)
		s.frozen = nil
	}
}

func (s *Server) gate() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frozen
}

// Rows returns the rows of a table whose columns have all of the given values, in no order. Only columns of a single
// value can be compared.
func (s *Server) Rows(table string, match Row) ([]Row, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows, err := s.store.rows(table)
	return slices.DeleteFunc(rows, func(r Row) bool {
		for column, value := range match {
			if r[column] != value {
				return true
			}
		}
		return false
	}), err
}

// named returns the row of that name, and nil if there is none.
func (s *Server) named(table, name string) Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows, err := s.store.rows(table, ovsdb.NewCondition("name", ovsdb.ConditionEqual, name))
	if err != nil || len(rows) == 0 {
		return nil
	}
	return rows[0]
}

// Transact runs a transaction as a client's would be, and tells the clients of it.
func (s *Server) Transact(ops ...ovsdb.Operation) error {
	results, err := s.transact(ops)
	if err != nil {
		return err
	}
	for _, r := range results {
		if r != nil && r.Error != "" {
			return fmt.Errorf("%s: %s", r.Error, r.Details)
		}
	}
	return nil
}

func (s *Server) transact(ops []ovsdb.Operation) ([]*ovsdb.OperationResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	results, changes, update, err := s.store.transact(ops)
	if err != nil || len(changes) == 0 {
		return results, err
	}
	for c := range s.conns {
		c.notify(update)
	}
	for _, hook := range s.hooks {
		hook(changes)
	}
	return results, nil
}

// onCommit registers a function that is called with the changes of each transaction, in their order, and must not wait.
func (s *Server) onCommit(hook func([]change)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = append(s.hooks, hook)
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}
