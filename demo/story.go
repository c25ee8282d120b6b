package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// story tells what happens, for people or line by line for machines.
type story struct {
	out   io.Writer
	color bool
	json  bool
	start time.Time
	acts  int
	name  string
	rows  []deed
}

// deed is a row of the last table: what was asked, what the machines saw, how long it took.
type deed struct {
	Asked string        `json:"asked"`
	Seen  string        `json:"seen"`
	Took  time.Duration `json:"-"`
}

// event is a line of the story for machines. At and Took are in seconds.
type event struct {
	At    float64 `json:"at"`
	Act   string  `json:"act"`
	Event string  `json:"event"`
	Text  string  `json:"text"`
	Took  float64 `json:"took,omitempty"`
	Data  any     `json:"data,omitempty"`
}

func newStory(out io.Writer, color, asJSON bool) *story {
	return &story{out: out, color: color, json: asJSON, start: time.Now()}
}

func (s *story) paint(c text.Color, v string) string {
	if !s.color {
		return v
	}
	return c.EscapeSeq() + v + text.Reset.EscapeSeq()
}

func (s *story) print(format string, args ...any) {
	if !s.json {
		fmt.Fprintf(s.out, format+"\n", args...)
	}
}

func (s *story) emit(kind, line string, took time.Duration, data any) {
	if !s.json {
		return
	}
	b, err := json.Marshal(event{time.Since(s.start).Seconds(), s.name, kind, line, took.Seconds(), data})
	if err == nil {
		fmt.Fprintln(s.out, string(b))
	}
}

func (s *story) title() {
	s.print("%s: one server, two BlueField-3 cards, both jobs. Everything is on this machine, in a temporary folder.", s.paint(text.Bold, "riser demo"))
}

func (s *story) act(title string) {
	s.acts++
	s.name = title
	s.print("\n%s", s.paint(text.FgHiCyan, fmt.Sprintf("%d. %s", s.acts-1, title)))
	s.emit("act", title, 0, nil)
}

// say tells a line.
func (s *story) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	s.print("   %s", line)
	s.emit("say", line, 0, nil)
}

// did tells something that was done, and how long it took.
func (s *story) did(took time.Duration, format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	s.print("   %s %s  %s", s.paint(text.FgGreen, "✓"), line, s.paint(text.Faint, short(took)))
	s.emit("done", line, took, nil)
}

// broke tells something that failed as it should.
func (s *story) broke(took time.Duration, format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	s.print("   %s %s  %s", s.paint(text.FgRed, "✗"), line, s.paint(text.Faint, short(took)))
	s.emit("failed as it should", line, took, nil)
}

// block tells several lines that belong together.
func (s *story) block(kind string, data any, lines ...string) {
	for _, l := range lines {
		s.print("     %s", l)
	}
	s.emit(kind, strings.Join(lines, "\n"), 0, data)
}

// quote tells what a machine said, folded at the width of a terminal.
func (s *story) quote(v string) {
	for _, line := range strings.Split(text.WrapSoft(v, 100), "\n") {
		s.print("     %s", s.paint(text.FgYellow, strings.TrimSpace(line)))
	}
	s.emit("said", v, 0, nil)
}

func (s *story) failed(err error) {
	s.print("   %s %s", s.paint(text.FgRed, "✗"), err)
	s.emit("error", err.Error(), 0, nil)
}

// remember keeps a row for the last table.
func (s *story) remember(took time.Duration, asked, seen string) {
	s.rows = append(s.rows, deed{asked, seen, took})
}

func (s *story) table() {
	s.name = "summary"
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.AppendHeader(table.Row{"asked", "what the machines saw", "took"})
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 1, WidthMax: 44, WidthMaxEnforcer: text.WrapSoft}, {Number: 2, WidthMax: 60, WidthMaxEnforcer: text.WrapSoft}, {Number: 3, Align: text.AlignRight}})
	for _, r := range s.rows {
		t.AppendRow(table.Row{r.Asked, r.Seen, short(r.Took)})
		s.emit("summary", r.Asked, r.Took, r)
	}
	s.print("\n%s\n\n%s", t.Render(), s.paint(text.Faint, fmt.Sprintf("the whole story took %s", short(time.Since(s.start)))))
}

// short writes a time as people read it.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
