package ovs

import (
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	"github.com/ovn-kubernetes/libovsdb/database"
	"github.com/ovn-kubernetes/libovsdb/database/inmemory"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

//go:embed schema/*.json
var schemas embed.FS

// Row is a row of a table: "_uuid" and each column, as string, int, bool, []string or map[string]string. An optional
// column that is empty is nil.
type Row map[string]any

// UUID returns the row's UUID.
func (r Row) UUID() string { return r.text("_uuid") }

func (r Row) text(column string) string {
	s, _ := r[column].(string)
	return s
}

// list returns a column that is a set.
func (r Row) list(column string) []string {
	l, _ := r[column].([]string)
	return l
}

// Map returns a column that is a map.
func (r Row) Map(column string) map[string]string {
	m, _ := r[column].(map[string]string)
	return m
}

// change is what a transaction did to one row; Old or New is nil for a row that was not, or is no more.
type change struct {
	table    string
	old, new Row
}

// store is one database in memory: libovsdb's engine with rows whose Go types are made from the schema.
type store struct {
	name   string
	schema json.RawMessage
	parsed ovsdb.DatabaseSchema
	model  model.DatabaseModel
	db     database.Database
}

func newStore(file string) (*store, error) {
	data, err := schemas.ReadFile("schema/" + file)
	if err != nil {
		return nil, err
	}
	s := &store{schema: data}
	if err := json.Unmarshal(data, &s.parsed); err != nil {
		return nil, fmt.Errorf("schema %s: %w", file, err)
	}
	s.name = s.parsed.Name
	rows := map[string]model.Model{}
	for name, table := range s.parsed.Tables {
		if rows[name] = direct[name]; rows[name] == nil {
			rows[name] = reflect.New(rowType(table)).Interface()
		}
	}
	client, err := model.NewClientDBModel(s.name, rows)
	if err != nil {
		return nil, fmt.Errorf("schema %s: %w", file, err)
	}
	m, errs := model.NewDatabaseModel(s.parsed, client)
	if len(errs) > 0 {
		return nil, fmt.Errorf("schema %s: %w", file, errs[0])
	}
	s.model = m
	quiet := logr.Discard()
	s.db = inmemory.NewDatabase(map[string]model.ClientDBModel{s.name: client}, &quiet)
	if err := s.db.CreateDatabase(s.name, s.parsed); err != nil {
		return nil, fmt.Errorf("schema %s: %w", file, err)
	}
	return s, nil
}

// rowType makes the struct type of a table's rows; its fields are named after the columns.
func rowType(table ovsdb.TableSchema) reflect.Type {
	fields := []reflect.StructField{field("_uuid", reflect.TypeFor[string]())}
	for name, column := range table.Columns {
		fields = append(fields, field(name, ovsdb.NativeType(column)))
	}
	slices.SortFunc(fields, func(a, b reflect.StructField) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return reflect.StructOf(fields)
}

func field(column string, t reflect.Type) reflect.StructField {
	return reflect.StructField{Name: "C" + column, Type: t, Tag: reflect.StructTag(fmt.Sprintf("ovsdb:%q", column))}
}

// direct are the rows that hold a thousand ports: libovsdb copies a row several times in each transaction, and one
// whose type is made from the schema only by way of JSON.
var direct = map[string]model.Model{"Bridge": &bridge{}, "Logical_Switch": &logicalSwitch{}}

type bridge struct {
	UUID         string            `ovsdb:"_uuid"`
	Name         string            `ovsdb:"name"`
	Ports        []string          `ovsdb:"ports"`
	DatapathType string            `ovsdb:"datapath_type"`
	FailMode     *string           `ovsdb:"fail_mode"`
	ExternalIDs  map[string]string `ovsdb:"external_ids"`
	OtherConfig  map[string]string `ovsdb:"other_config"`
}

type logicalSwitch struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	Ports       []string          `ovsdb:"ports"`
	ACLs        []string          `ovsdb:"acls"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
	OtherConfig map[string]string `ovsdb:"other_config"`
}

// CloneModel returns a deep copy.
func (b *bridge) CloneModel() model.Model {
	c := *b
	c.Ports, c.ExternalIDs, c.OtherConfig = slices.Clone(b.Ports), maps.Clone(b.ExternalIDs), maps.Clone(b.OtherConfig)
	if b.FailMode != nil {
		c.FailMode = new(*b.FailMode)
	}
	return &c
}

// CloneModelInto makes m a deep copy of b.
func (b *bridge) CloneModelInto(m model.Model) {
	c, _ := b.CloneModel().(*bridge)
	if into, ok := m.(*bridge); ok {
		*into = *c
	}
}

// CloneModel returns a deep copy.
func (l *logicalSwitch) CloneModel() model.Model {
	c := *l
	c.Ports, c.ACLs = slices.Clone(l.Ports), slices.Clone(l.ACLs)
	c.ExternalIDs, c.OtherConfig = maps.Clone(l.ExternalIDs), maps.Clone(l.OtherConfig)
	return &c
}

// CloneModelInto makes m a deep copy of l.
func (l *logicalSwitch) CloneModelInto(m model.Model) {
	c, _ := l.CloneModel().(*logicalSwitch)
	if into, ok := m.(*logicalSwitch); ok {
		*into = *c
	}
}

func toRow(m model.Model) Row {
	if m == nil {
		return nil
	}
	v := reflect.ValueOf(m).Elem()
	row := make(Row, v.NumField())
	for i := range v.NumField() {
		row[v.Type().Field(i).Tag.Get("ovsdb")] = deref(v.Field(i))
	}
	return row
}

// deref returns the value of a column, nil for an optional one that is empty.
func deref(v reflect.Value) any {
	switch {
	case v.Kind() != reflect.Pointer:
		return v.Interface()
	case v.IsNil():
		return nil
	}
	return v.Elem().Interface()
}

// rows returns the rows that match, in no order.
func (s *store) rows(table string, where ...ovsdb.Condition) ([]Row, error) {
	if s.parsed.Table(table) == nil {
		return nil, fmt.Errorf("database %s has no table %s", s.name, table)
	}
	models, err := s.db.List(s.name, table, where...)
	if err != nil {
		return nil, err
	}
	rows := make([]Row, 0, len(models))
	for _, m := range models {
		rows = append(rows, toRow(m))
	}
	return rows, nil
}

// initial returns the rows of a table in wire notation, default values left out, by UUID.
func (s *store) initial(table string) (map[string]ovsdb.Row, error) {
	models, err := s.db.List(s.name, table)
	if err != nil {
		return nil, err
	}
	out := make(map[string]ovsdb.Row, len(models))
	for id, m := range models {
		info, err := s.model.NewModelInfo(m)
		if err != nil {
			return nil, err
		}
		if out[id], err = s.model.Mapper.NewRow(info); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// transact runs a transaction to its end. An error is in the last result that is not nil; nothing has changed then.
func (s *store) transact(ops []ovsdb.Operation) (results []*ovsdb.OperationResult, changes []change, update database.Update, err error) {
	for _, op := range ops {
		if s.parsed.Table(op.Table) == nil {
			return nil, nil, nil, fmt.Errorf("operation %q: no table %q", op.Op, op.Table)
		}
	}
	waits := slices.IndexFunc(ops, func(op ovsdb.Operation) bool { return op.Op != ovsdb.OperationWait })
	if waits < 0 {
		waits = len(ops)
	}
	for i, op := range ops[:waits] {
		r := ovsdb.OperationResult{}
		r.Error, r.Details = s.wait(op)
		results = append(results, &r)
		if r.Error != "" {
			// Operations that were not reached have the result null (RFC 7047 section 4.1.3).
			return append(results, make([]*ovsdb.OperationResult, len(ops)-i-1)...), nil, nil, nil
		}
	}
	if ops = ops[waits:]; len(ops) == 0 {
		return results, nil, nil, nil
	}
	done, update := s.db.NewTransaction(s.name).Transact(ops...)
	results = append(results, done...)
	for i, r := range done {
		switch {
		case r == nil:
		case r.Error != "":
			return results, nil, nil, nil
		case i < len(ops) && ops[i].Op == ovsdb.OperationSelect:
			if err := s.complete(r.Rows, ops[i]); err != nil {
				return nil, nil, nil, err
			}
		}
	}
	for _, table := range update.GetUpdatedTables() {
		err := update.ForEachModelUpdate(table, func(_ string, old, row model.Model) error {
			changes = append(changes, change{table: table, old: toRow(old), new: toRow(row)})
			return nil
		})
		if err != nil {
			return nil, nil, nil, err
		}
	}
	return results, changes, update, s.db.Commit(s.name, uuid.New(), update)
}

// wait runs a "wait" at the head of a transaction (RFC 7047 section 5.2.6), since libovsdb's engine compares neither
// several rows nor default values. It never waits: no other transaction can come in between.
func (s *store) wait(op ovsdb.Operation) (kind, details string) {
	rows, err := s.rows(op.Table, op.Where...)
	if err != nil {
		return "syntax error", err.Error()
	}
	have, want := map[string]bool{}, map[string]bool{}
	for _, row := range rows {
		have[canonical(row, op.Columns)] = true
	}
	for _, wire := range op.Rows {
		row := Row{}
		for column, value := range wire {
			schema := s.parsed.Table(op.Table).Column(column)
			if schema == nil {
				return "syntax error", "no column " + column
			}
			native, err := ovsdb.OvsToNative(schema, value)
			if err != nil {
				return "syntax error", err.Error()
			}
			row[column] = deref(reflect.ValueOf(native))
		}
		want[canonical(row, op.Columns)] = true
	}
	if maps.Equal(have, want) != (op.Until == string(ovsdb.WaitConditionEqual)) {
		return "timed out", fmt.Sprintf("\"wait\" on %s timed out", op.Table)
	}
	return "", ""
}

// canonical writes some columns of a row so that equal values have equal texts.
func canonical(row Row, columns []string) string {
	values := make([]any, 0, len(columns))
	for _, column := range slices.Sorted(slices.Values(columns)) {
		value := row[column]
		if list, ok := value.([]string); ok {
			value = slices.Sorted(slices.Values(list))
		}
		values = append(values, value)
	}
	return fmt.Sprintf("%#v", values)
}

// complete does what the engine leaves out: a select returns the columns that it names, all if none, also those that
// have their default value.
func (s *store) complete(rows []ovsdb.Row, op ovsdb.Operation) error {
	table := s.parsed.Table(op.Table)
	for _, row := range rows {
		for name, column := range table.Columns {
			if _, there := row[name]; there {
				continue
			}
			value, err := ovsdb.NativeToOvs(column, reflect.Zero(ovsdb.NativeType(column)).Interface())
			if err != nil {
				return err
			}
			row[name] = value
		}
		maps.DeleteFunc(row, func(name string, _ any) bool { return len(op.Columns) > 0 && !slices.Contains(op.Columns, name) })
	}
	return nil
}
