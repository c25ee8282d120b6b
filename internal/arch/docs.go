package arch

import (
	"fmt"
	"io/fs"
	"iter"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Documents returns the Markdown files of the repository.
func Documents(fsys fs.FS) ([]string, error) {
	var docs []string
	err := walk(fsys, func(name string) error {
		if path.Ext(name) == ".md" {
			docs = append(docs, name)
		}
		return nil
	})
	return docs, err
}

// Docs reports what the documents name and the repository lacks: paths and packages in backticks, targets of links, and targets of make.
//
// A text in backticks is a path if it has a slash and starts with one of the top directories, which are those that exist and those in roots,
// or if it ends like a file of ours (.go, .md, .sh, .sql). It is looked up from the root, then beside the document; a file name alone may stand
// anywhere. In a placeholder such as driver/<name>/, what is before it must exist; a line number or an exported name at the end is left out.
func Docs(fsys fs.FS, docs, roots []string) ([]Problem, error) {
	d := docCheck{fsys: fsys, roots: slices.Clone(roots), bases: make(map[string]bool), targets: make(map[string]bool)}
	err := walk(fsys, func(name string) error {
		top, _, _ := strings.Cut(name, "/")
		d.roots = append(d.roots, top)
		d.bases[path.Base(name)] = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	makefile, err := fs.ReadFile(fsys, "Makefile")
	if err != nil {
		return nil, err
	}
	for _, m := range makeRule.FindAllSubmatch(makefile, -1) {
		d.targets[string(m[1])] = true
	}
	for _, doc := range docs {
		if err := d.check(doc); err != nil {
			return nil, err
		}
	}
	return d.problems, nil
}

var (
	makeRule    = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
	makeCommand = regexp.MustCompile(`^(?:[$#] )?(?:sudo )?make((?: [a-z][a-z-]*)+)`)
	code        = regexp.MustCompile("`([^`]+)`")
	link        = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fence       = regexp.MustCompile("^\\s*(```|~~~)")
	pathText    = regexp.MustCompile(`^[\w./-]+$`)
	detail      = regexp.MustCompile(`(:\d+|\.[A-Z].*)$`)
	placeholder = regexp.MustCompile(`[^/]*[<>{}*].*$`)
)

type docCheck struct {
	fsys     fs.FS
	roots    []string        // top directories that paths start with
	bases    map[string]bool // names of all files, without directory
	targets  map[string]bool // of the Makefile
	problems []Problem
}

func (d *docCheck) check(doc string) error {
	data, err := fs.ReadFile(d.fsys, doc)
	if err != nil {
		return err
	}
	fenced := false
	for n, line := range lines(data) {
		at := fmt.Sprintf("%s:%d", doc, n)
		if fence.MatchString(line) {
			fenced = !fenced
			continue
		}
		if fenced {
			d.command(at, line)
			continue
		}
		for _, text := range inlineCode(line) {
			d.command(at, text)
			if p, ok := d.path(text); ok && !d.exists(p, path.Dir(doc)) {
				d.report(at, "`"+text+"` does not exist")
			}
		}
		for _, m := range link.FindAllStringSubmatch(line, -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, ":") {
				continue
			}
			if _, err := fs.Stat(d.fsys, path.Join(path.Dir(doc), target)); err != nil {
				d.report(at, "the link to "+target+" leads nowhere")
			}
		}
	}
	return nil
}

func (d *docCheck) report(at, text string) { d.problems = append(d.problems, Problem{at, text}) }

func (d *docCheck) command(at, text string) {
	m := makeCommand.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return
	}
	for _, target := range strings.Fields(m[1]) {
		if !d.targets[target] {
			d.report(at, "the Makefile has no target "+target)
		}
	}
}

// path returns the path that text stands for, if it looks like one of the repository's.
func (d *docCheck) path(text string) (string, bool) {
	slash := strings.Contains(text, "/")
	p := strings.TrimPrefix(text, "./")
	p = strings.TrimSuffix(p, "/...")
	p = detail.ReplaceAllString(p, "")
	p = placeholder.ReplaceAllString(p, "")
	p = strings.TrimSuffix(p, "/")
	if !pathText.MatchString(p) || strings.HasPrefix(p, "/") || strings.HasPrefix(p, "..") {
		return "", false
	}
	top, _, _ := strings.Cut(p, "/")
	ours := slices.Contains([]string{".go", ".md", ".sh", ".sql"}, path.Ext(p))
	return p, ours || slash && slices.Contains(d.roots, top)
}

func (d *docCheck) exists(p, dir string) bool {
	if !strings.Contains(p, "/") && d.bases[p] {
		return true
	}
	for _, name := range []string{p, path.Join(dir, p)} {
		if _, err := fs.Stat(d.fsys, name); err == nil {
			return true
		}
	}
	return false
}

// lines yields the lines of a document with their numbers, from 1.
func lines(data []byte) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		n := 0
		for line := range strings.Lines(string(data)) {
			n++
			if !yield(n, strings.TrimRight(line, "\r\n")) {
				return
			}
		}
	}
}

// inlineCode returns the texts in backticks of a line.
func inlineCode(line string) []string {
	var texts []string
	for _, m := range code.FindAllStringSubmatch(line, -1) {
		texts = append(texts, m[1])
	}
	return texts
}
