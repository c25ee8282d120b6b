package ovsdb_test

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// raw is a client that knows nothing of the package under test: it sends JSON as written and reads what comes.
type raw struct {
	t  testing.TB
	db string

	mu      sync.Mutex
	nc      net.Conn
	dec     *json.Decoder
	updates []json.RawMessage // params of update2 notifications, in order
}

type rawMessage struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	ID     any             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

func dialRaw(t testing.TB, endpoint, db string) *raw {
	t.Helper()
	network, address, _ := strings.Cut(endpoint, ":")
	nc, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &raw{t: t, db: db, nc: nc, dec: json.NewDecoder(nc)}
}

func (r *raw) call(method string, params ...any) json.RawMessage {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	data, err := json.Marshal(map[string]any{"method": method, "params": params, "id": 1})
	if err != nil {
		r.t.Fatal(err)
	}
	_ = r.nc.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := r.nc.Write(data); err != nil {
		r.t.Fatal(err)
	}
	for {
		m := r.read()
		if m.Method != "" {
			continue
		}
		if len(m.Error) > 0 && string(m.Error) != "null" {
			r.t.Fatalf("%s: %s", method, m.Error)
		}
		return m.Result
	}
}

// read takes the next message and keeps what a monitor says.
func (r *raw) read() rawMessage {
	r.t.Helper()
	var m rawMessage
	if err := r.dec.Decode(&m); err != nil {
		r.t.Fatal(err)
	}
	if m.Method == "update2" {
		r.updates = append(r.updates, m.Params)
	}
	return m
}

type op map[string]any

// transact runs operations and returns their results; an error of any fails the test.
func (r *raw) transact(ops ...op) []map[string]any {
	r.t.Helper()
	params := []any{r.db}
	for _, o := range ops {
		params = append(params, o)
	}
	var results []map[string]any
	if err := json.Unmarshal(r.call("transact", params...), &results); err != nil {
		r.t.Fatal(err)
	}
	for i, res := range results {
		if res["error"] != nil {
			r.t.Fatalf("operation %d of %v: %v: %v", i, ops, res["error"], res["details"])
		}
	}
	return results
}

// row is a row whose maps and sets are Go's.
type row map[string]any

func (r row) ids() map[string]string { return r.dict("external_ids") }

func (r row) dict(column string) map[string]string {
	m, _ := r[column].(map[string]string)
	return m
}

func (r *raw) rows(table string, columns ...string) []row {
	r.t.Helper()
	o := op{"op": "select", "table": table, "where": []any{}}
	if len(columns) > 0 {
		o["columns"] = columns
	}
	list, _ := r.transact(o)[0]["rows"].([]any)
	var out []row
	for _, item := range list {
		res := row{}
		for column, v := range item.(map[string]any) {
			res[column] = native(v)
		}
		out = append(out, res)
	}
	return out
}

func (r *raw) named(table, name string) row {
	r.t.Helper()
	for _, found := range r.rows(table) {
		if found["name"] == name {
			return found
		}
	}
	return nil
}

// native reads the notation of RFC 7047 section 5.1.
func native(v any) any {
	list, ok := v.([]any)
	if !ok || len(list) != 2 {
		return v
	}
	switch list[0] {
	case "uuid":
		return list[1]
	case "map":
		m := map[string]string{}
		for _, pair := range list[1].([]any) {
			m[pair.([]any)[0].(string)] = pair.([]any)[1].(string)
		}
		return m
	case "set":
		set := []any{}
		for _, e := range list[1].([]any) {
			set = append(set, native(e))
		}
		return set
	}
	return v
}

func dict(pairs ...string) any {
	list := []any{}
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, []any{pairs[i], pairs[i+1]})
	}
	return []any{"map", list}
}

func nameIs(name string) []any { return []any{[]any{"name", "==", name}} }

// addPort puts an interface into br-int as ovs-vsctl does, with external_ids of any kind.
func (r *raw) addPort(name string, ids ...string) {
	r.t.Helper()
	r.transact(
		op{"op": "insert", "table": "Interface", "uuid-name": "i", "row": op{"name": name, "external_ids": dict(ids...)}},
		op{"op": "insert", "table": "Port", "uuid-name": "p", "row": op{"name": name, "interfaces": []any{"named-uuid", "i"}}},
		op{
			"op": "mutate", "table": "Bridge", "where": nameIs("br-int"),
			"mutations": []any{[]any{"ports", "insert", []any{"set", []any{[]any{"named-uuid", "p"}}}}},
		},
	)
}

// note adds external_ids to an interface.
func (r *raw) note(name string, ids ...string) {
	r.t.Helper()
	r.transact(op{
		"op": "mutate", "table": "Interface", "where": nameIs(name),
		"mutations": []any{[]any{"external_ids", "insert", dict(ids...)}},
	})
}

// plugged is what riser or others have plugged: "name iface-id generation owner", ordered.
func (r *raw) plugged() []string {
	r.t.Helper()
	var list []string
	for _, i := range r.rows("Interface") {
		if id := i.ids(); i["name"] != "br-int" && i["name"] != "br-ex" {
			list = append(list, fmt.Sprintf("%s %s %s %s", i["name"], id["iface-id"], id["riser-generation"], id["riser-owner"]))
		}
	}
	slices.Sort(list)
	return list
}

func (r *raw) expectPlugged(want ...string) {
	r.t.Helper()
	if got := r.plugged(); !slices.Equal(got, want) {
		r.t.Errorf("interfaces %q, want %q", got, want)
	}
}

// watch starts to record updates of a table's columns.
func (r *raw) watch(table string, columns ...string) {
	r.t.Helper()
	r.call("monitor_cond", r.db, "watch", op{table: []any{op{"columns": columns}}})
	r.updates = nil
}
