package ovs

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/ovn-kubernetes/libovsdb/database"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// conn is one client's JSON-RPC 1.0 connection. Answers and notifications leave in the order in which they were made; a
// slow client holds up nobody else.
type conn struct {
	server *Server
	nc     net.Conn

	mu       sync.Mutex
	ready    sync.Cond
	out      []any
	closed   bool
	gone     chan struct{}
	monitors map[string]monitor // by the monitor's name as JSON
}

// monitor is what a client wants to be told of, by table.
type monitor map[string]ovsdb.MonitorRequest

type request struct {
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params"`
	ID     json.RawMessage   `json:"id"`
}

type answer struct {
	Result any             `json:"result"`
	Error  any             `json:"error"`
	ID     json.RawMessage `json:"id"`
}

type notification struct {
	Method string `json:"method"`
	Params []any  `json:"params"`
	ID     any    `json:"id"`
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{server: s, nc: nc, gone: make(chan struct{}), monitors: map[string]monitor{}}
	c.ready.L = &c.mu
	return c
}

func (c *conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	close(c.gone)
	_ = c.nc.Close()
	c.ready.Broadcast()
}

func (c *conn) send(v any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, v)
	c.ready.Signal()
}

func (c *conn) write() {
	defer c.close()
	encoder := json.NewEncoder(c.nc)
	for {
		c.mu.Lock()
		for len(c.out) == 0 && !c.closed {
			c.ready.Wait()
		}
		batch := c.out
		c.out = nil
		closed := c.closed
		c.mu.Unlock()
		if closed {
			return
		}
		for _, v := range batch {
			if encoder.Encode(v) != nil {
				return
			}
		}
	}
}

func (c *conn) read() {
	defer c.server.forget(c)
	defer c.close()
	decoder := json.NewDecoder(c.nc)
	for {
		var r request
		if decoder.Decode(&r) != nil {
			return
		}
		if frozen := c.server.gate(); frozen != nil {
			select {
			case <-frozen:
			case <-c.gone:
				return
			}
		}
		c.handle(r)
	}
}

func (c *conn) handle(r request) {
	if r.Method == "" || string(r.ID) == "null" {
		return // the answer to an echo, or a notification, of which RFC 7047 has only "cancel"
	}
	var result any
	var err error
	switch r.Method {
	case "echo":
		result = r.Params
	case "list_dbs":
		result = []string{c.server.store.name}
	case "get_schema":
		result, err = c.server.store.schema, c.checkDatabase(r.Params)
	case "transact":
		result, err = c.transact(r.Params)
	case "monitor_cond":
		err = c.monitor(r)
		if err == nil {
			return // answered in the same step as the monitor was started
		}
	default:
		err = fmt.Errorf("unknown method")
	}
	if err != nil {
		c.send(answer{Error: err.Error(), ID: r.ID})
		return
	}
	c.send(answer{Result: result, ID: r.ID})
}

func (c *conn) checkDatabase(params []json.RawMessage) error {
	var name string
	if len(params) == 0 || json.Unmarshal(params[0], &name) != nil || name != c.server.store.name {
		return fmt.Errorf("unknown database")
	}
	return nil
}

func (c *conn) transact(params []json.RawMessage) (any, error) {
	if err := c.checkDatabase(params); err != nil {
		return nil, err
	}
	var asked, ops []ovsdb.Operation
	for _, p := range params[1:] {
		var op ovsdb.Operation
		if err := json.Unmarshal(p, &op); err != nil {
			return nil, err
		}
		asked = append(asked, op)
		if op.Op != ovsdb.OperationComment { // which clients of the real server add and the engine does not know
			ops = append(ops, op)
		}
	}
	results, err := c.server.transact(ops)
	if err != nil {
		return nil, err
	}
	out := make([]any, 0, len(asked)+1)
	for _, op := range asked {
		if op.Op == ovsdb.OperationComment {
			out = append(out, struct{}{})
			continue
		}
		out = append(out, result(op, results[0]))
		results = results[1:]
	}
	if len(results) > 0 { // the transaction as a whole was refused
		out = append(out, result(ovsdb.Operation{}, results[0]))
	}
	return out, nil
}

// result is what RFC 7047 section 5.2 says that an operation answers.
func result(op ovsdb.Operation, r *ovsdb.OperationResult) any {
	switch {
	case r == nil:
		return nil
	case r.Error != "":
		return map[string]string{"error": r.Error, "details": r.Details}
	case op.Op == ovsdb.OperationInsert:
		return map[string]ovsdb.UUID{"uuid": r.UUID}
	case op.Op == ovsdb.OperationSelect:
		if r.Rows == nil {
			return map[string]any{"rows": []any{}}
		}
		return map[string]any{"rows": r.Rows}
	case op.Op == ovsdb.OperationWait:
		return struct{}{}
	}
	return map[string]int{"count": r.Count}
}

// monitor starts to tell of changes: the answer, with the rows as they are, is queued before any change that follows.
func (c *conn) monitor(r request) error {
	if err := c.checkDatabase(r.Params); err != nil {
		return err
	}
	if len(r.Params) < 3 {
		return fmt.Errorf("monitor_cond: want a database, a name and tables")
	}
	m, err := parseMonitor(r.Params[2])
	if err != nil {
		return err
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	tables := map[string]map[string]any{}
	for table, want := range m {
		if c.server.store.parsed.Table(table) == nil {
			return fmt.Errorf("no table %s", table)
		}
		rows, err := c.server.store.initial(table)
		if err != nil {
			return err
		}
		tables[table] = map[string]any{}
		for id, row := range rows {
			tables[table][id] = map[string]any{"initial": filter(row, want.Columns)}
		}
	}
	c.mu.Lock()
	c.monitors[string(r.Params[1])] = m
	c.mu.Unlock()
	c.send(answer{Result: tables, ID: r.ID})
	return nil
}

// parseMonitor reads monitor-cond-requests: per table one request, or a list of them.
func parseMonitor(data json.RawMessage) (monitor, error) {
	var tables map[string]json.RawMessage
	if err := json.Unmarshal(data, &tables); err != nil {
		return nil, err
	}
	m := monitor{}
	for table, raw := range tables {
		var list []ovsdb.MonitorRequest
		if json.Unmarshal(raw, &list) != nil {
			list = make([]ovsdb.MonitorRequest, 1)
			if err := json.Unmarshal(raw, &list[0]); err != nil {
				return nil, err
			}
		}
		var all ovsdb.MonitorRequest
		for _, one := range list {
			all.Columns = append(all.Columns, one.Columns...)
		}
		m[table] = all
	}
	return m, nil
}

// notify queues the changes that the client's monitors cover; the caller holds the server's lock.
func (c *conn) notify(update database.Update) {
	c.mu.Lock()
	monitors := make(map[string]monitor, len(c.monitors))
	for name, m := range c.monitors {
		monitors[name] = m
	}
	c.mu.Unlock()
	for name, m := range monitors {
		tables := map[string]map[string]any{}
		for _, table := range update.GetUpdatedTables() {
			want, ok := m[table]
			if !ok {
				continue
			}
			rows := map[string]any{}
			_ = update.ForEachRowUpdate(table, func(id string, row ovsdb.RowUpdate2) error {
				if told := rowUpdate(row, want.Columns); told != nil {
					rows[id] = told
				}
				return nil
			})
			if len(rows) > 0 {
				tables[table] = rows
			}
		}
		if len(tables) > 0 {
			c.send(notification{Method: "update2", Params: []any{json.RawMessage(name), tables}})
		}
	}
}

func rowUpdate(u ovsdb.RowUpdate2, columns []string) map[string]any {
	switch {
	case u.Insert != nil:
		return map[string]any{"insert": filter(*u.Insert, columns)}
	case u.Modify != nil:
		if row := filter(*u.Modify, columns); len(row) > 0 {
			return map[string]any{"modify": row}
		}
		return nil
	}
	return map[string]any{"delete": nil}
}

// filter returns the wanted columns of a row, all of them if none is named.
func filter(row ovsdb.Row, columns []string) ovsdb.Row {
	out := make(ovsdb.Row, len(row))
	for name, value := range row {
		if name != "_uuid" && (len(columns) == 0 || slices.Contains(columns, name)) {
			out[name] = value
		}
	}
	return out
}
