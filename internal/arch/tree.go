// Package arch reads the repository's own sources and documents and reports where they break its structure: layers, wiring, names, and
// paths in documents that are not there.
//
// The checks parse the files themselves. A test that asked `go list` would be served from go test's cache after the sources had changed:
// the cache knows the files that a test opens and the directories that it reads, and nothing of what a child process reads.
//
// The rules that hold for this repository stand in the tests of this package; the functions here take them as arguments, so that each
// check is itself tested over small trees that break it.
package arch

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Problem is one place that breaks a rule.
type Problem struct {
	At   string // "store/node.go:12", or a package's path
	Text string // what is wrong and what would be right
}

// String returns the problem as one line, in the form that editors jump to.
func (p Problem) String() string { return p.At + ": " + p.Text }

// Tree is a module's source files, parsed.
type Tree struct {
	Packages []*Package // sorted by path
	fset     *token.FileSet
}

// Package is a directory with Go files, whatever their build constraints.
type Package struct {
	Path  string // from the module's root: "driver/ipmi", "." for the root itself
	Files []*File
}

// File is one Go file.
type File struct {
	Name    string // from the module's root
	Test    bool   // its name ends in _test.go
	Syntax  *ast.File
	Imports []Import
}

// Import is one import of a file.
type Import struct {
	Path  string // as written, or from the module's root if Local
	Local bool   // the package belongs to the module
	At    string // file and line
}

// Load parses the module in fsys, whose go.mod is at the root. It leaves out hidden directories, testdata, and nested modules.
func Load(fsys fs.FS) (*Tree, error) {
	module, err := modulePath(fsys)
	if err != nil {
		return nil, err
	}
	t := &Tree{fset: token.NewFileSet()}
	byPath := make(map[string]*Package)
	err = walk(fsys, func(name string) error {
		if path.Ext(name) != ".go" {
			return nil
		}
		file, err := t.parse(fsys, name, module)
		if err != nil {
			return err
		}
		dir := path.Dir(name)
		if byPath[dir] == nil {
			byPath[dir] = &Package{Path: dir}
			t.Packages = append(t.Packages, byPath[dir])
		}
		byPath[dir].Files = append(byPath[dir].Files, file)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(t.Packages, func(a, b *Package) int { return strings.Compare(a.Path, b.Path) })
	return t, nil
}

// Package returns the package at p, or nil.
func (t *Tree) Package(p string) *Package {
	i := slices.IndexFunc(t.Packages, func(pkg *Package) bool { return pkg.Path == p })
	if i < 0 {
		return nil
	}
	return t.Packages[i]
}

func (t *Tree) parse(fsys fs.FS, name, module string) (*File, error) {
	src, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	syntax, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f := &File{Name: name, Test: strings.HasSuffix(name, "_test.go"), Syntax: syntax}
	for _, spec := range syntax.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: import %s: %w", t.at(spec), spec.Path.Value, err)
		}
		imp := Import{Path: p, At: t.at(spec)}
		if p == module {
			imp.Path, imp.Local = ".", true
		} else if rest, ok := strings.CutPrefix(p, module+"/"); ok {
			imp.Path, imp.Local = rest, true
		}
		f.Imports = append(f.Imports, imp)
	}
	return f, nil
}

func (t *Tree) at(n ast.Node) string {
	pos := t.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", pos.Filename, pos.Line)
}

func modulePath(fsys fs.FS) (string, error) {
	data, err := fs.ReadFile(fsys, "go.mod")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "module "); ok {
			return strings.TrimSpace(rest), nil
		}
	}
	return "", errors.New("go.mod has no module line")
}

// walk calls f with each file of the repository: it leaves out what git or the Makefile made (hidden directories but .ci, bin, dist),
// testdata, and nested modules.
func walk(fsys fs.FS, f func(name string) error) error {
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() {
			return f(name)
		}
		if name == "." || name == ".ci" {
			return nil
		}
		base := path.Base(name)
		if name == "bin" || name == "dist" || base == "testdata" || base[0] == '.' || base[0] == '_' {
			return fs.SkipDir
		}
		if _, err := fs.Stat(fsys, path.Join(name, "go.mod")); err == nil {
			return fs.SkipDir
		}
		return nil
	})
}

// under tells whether p is one of the packages in list, or below one.
func under(p string, list []string) bool {
	return slices.ContainsFunc(list, func(parent string) bool { return p == parent || strings.HasPrefix(p, parent+"/") })
}
