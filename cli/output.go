package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	pretty "github.com/jedib0t/go-pretty/v6/text"
	"github.com/mattn/go-isatty"
)

// object is a JSON object of the API. Its numbers are of type json.Number.
type object = map[string]any

// format returns the format of the output: table, json or yaml.
func (a *app) format() (string, error) {
	switch f := a.flags.output; {
	case a.flags.json && f == "yaml":
		return "", Usagef("--json and --output yaml exclude each other")
	case a.flags.json:
		return "json", nil
	case f == "table" || f == "json" || f == "yaml":
		return f, nil
	default:
		return "", Usagef("--output %q is none of table, json, yaml", f)
	}
}

// out is the standard output.
func (a *app) out() io.Writer {
	if a.o.Out != nil {
		return a.o.Out
	}
	return os.Stdout
}

// say tells people that something was done. Programs, which asked for another format, know by the exit code.
func (a *app) say(format string, args ...any) {
	a.line(printable(fmt.Sprintf(format, args...), true))
}

// line is say for a text that is printable, and may have colours.
func (a *app) line(text string) {
	if f, err := a.format(); err == nil && f == "table" {
		fmt.Fprintln(a.out(), text)
	}
}

// data writes raw, which is JSON, as JSON or YAML.
func (a *app) data(format string, raw json.RawMessage) error {
	if format == "yaml" {
		return writeYAML(a.out(), raw)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	b.WriteByte('\n')
	_, err := b.WriteTo(a.out())
	return err
}

// column is a column of a table of objects.
type column struct {
	title string
	path  string // of the value: keys joined by dots
	show  func(any) string
	paint func(string) color
}

// list writes objects as a table of these columns, or whole as JSON or YAML.
func (a *app) list(columns []column, items []json.RawMessage) error {
	format, err := a.format()
	if err != nil {
		return err
	}
	if format != "table" {
		raw, err := json.Marshal(items)
		if err != nil {
			return err
		}
		return a.data(format, raw)
	}
	rows := make([][]string, len(items))
	for i, raw := range items {
		o, err := readObject(raw)
		if err != nil {
			return err
		}
		for _, c := range columns {
			rows[i] = append(rows[i], a.cell(c, o))
		}
	}
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = c.title
	}
	a.table(titles, rows)
	return nil
}

// cell returns what o has in column c.
func (a *app) cell(c column, o object) string {
	show := brief
	if c.show != nil {
		show = c.show
	}
	s := printable(show(valueAt(o, c.path)), false)
	if c.paint != nil {
		s = a.paint(c.paint(s), s)
	}
	return s
}

// table writes rows of cells, which are printable, under titles. Without rows it says so.
func (a *app) table(titles []string, rows [][]string) {
	if len(rows) == 0 {
		fmt.Fprintln(a.out(), "none")
		return
	}
	t := a.writer()
	head := make(table.Row, len(titles))
	for i, title := range titles {
		head[i] = a.paint(bold, title)
	}
	t.AppendHeader(head)
	for _, cells := range rows {
		row := make(table.Row, len(cells))
		for i, c := range cells {
			row[i] = c
		}
		t.AppendRow(row)
	}
	fmt.Fprintln(a.out(), t.Render())
}

// writer returns an empty table in our style: columns by spaces, without lines.
func (a *app) writer() table.Writer {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Format.Header = pretty.FormatDefault
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	return t
}

// show writes one object: as a table of its fields that are not empty, those in front first, or whole as JSON or YAML.
func (a *app) show(front []string, raw json.RawMessage) error {
	o, err := a.shown(raw)
	if err != nil || o == nil {
		return err
	}
	names := slices.Clone(front)
	for _, name := range keys(o) {
		if !slices.Contains(front, name) {
			names = append(names, name)
		}
	}
	a.fields(o, slices.DeleteFunc(names, func(name string) bool { return empty(name, o[name]) }))
	return nil
}

// showAll is show for a small object, of which an empty field says something, too.
func (a *app) showAll(raw json.RawMessage) error {
	o, err := a.shown(raw)
	if err == nil && o != nil {
		a.fields(o, keys(o))
	}
	return err
}

// shown writes an object as JSON or YAML, or returns it to be written as a table.
func (a *app) shown(raw json.RawMessage) (object, error) {
	if format, err := a.format(); err != nil || format != "table" {
		return nil, a.data(format, raw)
	}
	return readObject(raw)
}

// fields writes a table of these fields.
func (a *app) fields(o object, names []string) {
	t := a.writer()
	for _, name := range names {
		t.AppendRow(table.Row{a.paint(bold, name), printable(long(o[name]), true)})
	}
	fmt.Fprintln(a.out(), t.Render())
}

func readObject(raw json.RawMessage) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var o object
	if err := dec.Decode(&o); err != nil {
		return nil, fmt.Errorf("the answer is not the JSON object that was expected: %w", err)
	}
	return o, nil
}

func keys(o object) []string {
	list := make([]string, 0, len(o))
	for k := range o {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// valueAt returns the value under a path of keys joined by dots, or nil. A key may itself have a dot or a colon.
func valueAt(o object, path string) any {
	if v, ok := o[path]; ok {
		return v
	}
	first, rest, found := strings.Cut(path, ".")
	inner, ok := o[first].(object)
	if !found || !ok {
		return nil
	}
	return valueAt(inner, rest)
}

// empty reports whether a field says nothing to people: a null, an empty text, list or object, a link.
func empty(name string, v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case object:
		return len(v) == 0
	case []any:
		return len(v) == 0 || isLinks(name, v)
	}
	return false
}

// isLinks reports whether v is a list of links to related resources.
func isLinks(name string, v []any) bool {
	first, ok := v[0].(object)
	_, href := first["href"]
	return ok && href && (name == "links" || first["rel"] != nil)
}

// brief writes a value into one line of a table.
func brief(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case string:
		if v == "" {
			return "-"
		}
		return v
	case []any:
		if len(v) == 0 {
			return "-"
		}
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = brief(e)
		}
		return strings.Join(parts, ", ")
	case object:
		if len(v) == 0 {
			return "-"
		}
		return pairsOf(v)
	default:
		return fmt.Sprint(v)
	}
}

// pairsOf writes an object as pairs when all of its values are simple, and else as JSON.
func pairsOf(o object) string {
	parts := make([]string, 0, len(o))
	for _, k := range keys(o) {
		switch v := o[k].(type) {
		case object, []any:
			raw, err := json.Marshal(o)
			if err != nil {
				return fmt.Sprint(o) // cannot be: it was JSON
			}
			return string(raw)
		default:
			parts = append(parts, k+"="+brief(v))
		}
	}
	return strings.Join(parts, " ")
}

// long writes a value into lines, one for each key or element.
func long(v any) string {
	switch v := v.(type) {
	case object:
		if len(v) == 0 {
			return "-"
		}
		lines := make([]string, 0, len(v))
		for _, k := range keys(v) {
			lines = append(lines, k+": "+brief(v[k]))
		}
		return strings.Join(lines, "\n")
	case []any:
		if len(v) == 0 {
			return "-"
		}
		lines := make([]string, len(v))
		for i, e := range v {
			lines[i] = brief(e)
		}
		return strings.Join(lines, "\n")
	default:
		return brief(v)
	}
}

// printable returns s without characters that a terminal would obey: what the API says may come from anybody. Line breaks stay if lines says so.
func printable(s string, lines bool) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' && lines:
			return r
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ' || 0x7f <= r && r <= 0x9f || r == 0x2028 || r == 0x2029 || 0x202a <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069:
			return '?'
		}
		return r
	}, s)
}

// color is the number of a colour or attribute of a terminal (ECMA-48, section 8.3.117).
type color int

const (
	plain  color = 0
	bold   color = 1
	red    color = 31
	green  color = 32
	yellow color = 33
)

// paint colours s, if the output is a terminal that wants colours.
func (a *app) paint(c color, s string) string {
	if c == plain || s == "" || !a.colored() {
		return s
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", c, s)
}

// colored reports whether the output may have colours: on a terminal (or by CLICOLOR_FORCE) unless NO_COLOR is set.
func (a *app) colored() bool {
	switch {
	case a.o.Getenv("NO_COLOR") != "":
		return false
	case a.o.Getenv("CLICOLOR_FORCE") != "" && a.o.Getenv("CLICOLOR_FORCE") != "0":
		return true
	case a.o.Getenv("TERM") == "dumb":
		return false
	}
	f, ok := a.out().(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
