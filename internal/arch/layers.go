package arch

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Layers says which package may import which.
type Layers struct {
	// Of has the layer of each package by its path. A package imports packages of lower layers only, so neighbours do not know each other;
	// its test files may import neighbours too, since a test runs over a real implementation and is never shipped.
	Of map[string]int

	// Outside has the packages that stand outside the table, each with all below it, and the packages whose shipped code may import it.
	// Test files may import all of them, and what they import is not checked.
	Outside map[string][]string
}

// Check reports packages without a layer, and imports that do not go strictly down (in test files: that go up).
func (l Layers) Check(t *Tree) []Problem {
	var problems []Problem
	for _, pkg := range t.Packages {
		if _, outside := l.outside(pkg.Path); outside {
			continue
		}
		if _, ok := l.Of[pkg.Path]; !ok {
			problems = append(problems, Problem{pkg.Path,
				"the package has no layer: give it a row in the table of internal/arch/arch_test.go and in the one of ARCHITECTURE.md"})
			continue
		}
		for _, file := range pkg.Files {
			for _, imp := range file.Imports {
				if text := l.refuse(pkg.Path, file.Test, imp); text != "" {
					problems = append(problems, Problem{imp.At, text})
				}
			}
		}
	}
	return problems
}

// refuse says what is wrong with an import by a package that has a layer, or nothing.
func (l Layers) refuse(from string, test bool, imp Import) string {
	if !imp.Local || imp.Path == from {
		return ""
	}
	if users, outside := l.outside(imp.Path); outside {
		if test || slices.Contains(users, from) {
			return ""
		}
		return fmt.Sprintf("%s imports %s, which only test files%s may", from, imp.Path, and(users))
	}
	to, ok := l.Of[imp.Path]
	layer := l.Of[from]
	switch {
	case !ok || to < layer || test && to == layer:
		return ""
	case to == layer:
		return fmt.Sprintf("%s imports %s, its neighbour in layer %d: imports go strictly down", from, imp.Path, layer)
	default:
		return fmt.Sprintf("%s (layer %d) imports %s (layer %d): imports go strictly down", from, layer, imp.Path, to)
	}
}

// outside tells whether p stands outside the table, and which packages may import it in shipped code.
func (l Layers) outside(p string) (users []string, ok bool) {
	for parent, users := range l.Outside {
		if under(p, []string{parent}) {
			return users, true
		}
	}
	return nil, false
}

func and(users []string) string {
	if len(users) == 0 {
		return ""
	}
	return " and " + strings.Join(users, ", ")
}

// Documented reports where the layer table of a Markdown document differs from l: a package of the tree without a row, a row with another
// layer, a row for a package that does not exist. A row of that table starts with the layer's number and has its packages, in
// backticks, in the second cell.
func (l Layers) Documented(t *Tree, name string, doc []byte) []Problem {
	rows := make(map[string]int)
	var problems []Problem
	for n, line := range lines(doc) {
		cells := strings.Split(line, "|")
		var layer int
		if len(cells) < 3 {
			continue
		}
		if _, err := fmt.Sscanf(strings.TrimSpace(cells[1]), "%d", &layer); err != nil {
			continue
		}
		for _, p := range inlineCode(cells[2]) {
			rows[p] = layer
			if of, ok := l.Of[p]; !ok || of != layer || t.Package(p) == nil {
				problems = append(problems, Problem{fmt.Sprintf("%s:%d", name, n),
					fmt.Sprintf("the table has %s in layer %d, internal/arch/arch_test.go or the tree has not", p, layer)})
			}
		}
	}
	for _, p := range slices.Sorted(maps.Keys(l.Of)) {
		if _, ok := rows[p]; !ok && t.Package(p) != nil {
			problems = append(problems, Problem{name, fmt.Sprintf("the layer table lacks %s (layer %d)", p, l.Of[p])})
		}
	}
	return problems
}

// Links reports each of the packages in never, or below one, that the program at from links, with the chain of imports that leads there.
func Links(t *Tree, from string, never []string) []Problem {
	if t.Package(from) == nil {
		return []Problem{{from, "there is no such package, so nothing holds what it may link"}}
	}
	via := map[string]string{from: ""}
	queue := []string{from}
	var problems []Problem
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		if under(p, never) {
			problems = append(problems, Problem{from, fmt.Sprintf("must not link %s: %s", p, chain(via, p))})
			continue
		}
		for _, next := range shippedImports(t.Package(p)) {
			if _, seen := via[next]; !seen {
				via[next] = p
				queue = append(queue, next)
			}
		}
	}
	return problems
}

func chain(via map[string]string, p string) string {
	names := []string{p}
	for p = via[p]; p != ""; p = via[p] {
		names = append(names, p)
	}
	slices.Reverse(names)
	return strings.Join(names, " -> ")
}

// shippedImports returns the packages of the module that the non-test files of pkg import.
func shippedImports(pkg *Package) []string {
	if pkg == nil {
		return nil
	}
	var paths []string
	for _, file := range pkg.Files {
		for _, imp := range file.Imports {
			if imp.Local && !file.Test {
				paths = append(paths, imp.Path)
			}
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// Wired reports shipped code that imports one of the packages in choices (or one below) although it is neither in wiring, nor in a
// choice's own directory, nor outside the layers. The lists of choices stand where the program is put together, and only there.
func (l Layers) Wired(t *Tree, choices, wiring []string) []Problem {
	var problems []Problem
	for _, pkg := range t.Packages {
		if _, outside := l.outside(pkg.Path); outside || under(pkg.Path, wiring) {
			continue
		}
		for _, file := range pkg.Files {
			for _, imp := range file.Imports {
				if file.Test || !imp.Local || !under(imp.Path, choices) || under(pkg.Path, []string{imp.Path}) {
					continue
				}
				problems = append(problems, Problem{imp.At, fmt.Sprintf("%s imports %s: only %s choose among drivers, steps and backends",
					pkg.Path, imp.Path, strings.Join(wiring, ", "))})
			}
		}
	}
	return problems
}
