package arch

import (
	"fmt"
	"go/ast"
	"maps"
	"path"
	"slices"
	"strings"
)

// Inits reports functions named init: what happens at start-up stands in main, in order.
func Inits(t *Tree) []Problem {
	var problems []Problem
	t.eachFile(func(_ *Package, f *File) {
		for _, decl := range f.Syntax.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				problems = append(problems, Problem{t.at(fn), "func init: make it an explicit table or a call from main"})
			}
		}
	})
	return problems
}

// Names reports packages that are named one of the given names, by directory or by clause: a package is named for what it provides.
func Names(t *Tree, forbidden []string) []Problem {
	var problems []Problem
	for _, pkg := range t.Packages {
		names := []string{path.Base(pkg.Path)}
		for _, f := range pkg.Files {
			names = append(names, strings.TrimSuffix(f.Syntax.Name.Name, "_test"))
		}
		i := slices.IndexFunc(names, func(name string) bool { return slices.Contains(forbidden, name) })
		if i >= 0 {
			problems = append(problems, Problem{pkg.Path, fmt.Sprintf("the name %q says nothing of what is in the package", names[i])})
		}
	}
	return problems
}

// Comments reports packages without a package comment of the usual form ("Package store ..."; any comment will do for a program).
func Comments(t *Tree) []Problem {
	var problems []Problem
	for _, pkg := range t.Packages {
		shipped, commented := false, false
		for _, f := range pkg.Files {
			if f.Test {
				continue
			}
			shipped = true
			name := f.Syntax.Name.Name
			text := f.Syntax.Doc.Text()
			if strings.HasPrefix(text, "Package "+name+" ") || name == "main" && text != "" {
				commented = true
			}
		}
		if shipped && !commented {
			problems = append(problems, Problem{pkg.Path, "no package comment that says in one sentence what the package is for"})
		}
	}
	return problems
}

// Imports reports shipped code that imports the package named importPath, unless its own package, or one above, is among the keys of
// allowed. The values say why.
func Imports(t *Tree, importPath string, allowed map[string]string) []Problem {
	var problems []Problem
	t.eachFile(func(pkg *Package, f *File) {
		for _, imp := range f.Imports {
			if f.Test || imp.Path != importPath {
				continue
			}
			if !under(pkg.Path, slices.Collect(maps.Keys(allowed))) {
				problems = append(problems, Problem{imp.At, fmt.Sprintf(
					"%s imports %s: use a library, or add the package with its reason to the list in internal/arch/arch_test.go", pkg.Path, importPath)})
			}
		}
	})
	return problems
}

func (t *Tree) eachFile(f func(*Package, *File)) {
	for _, pkg := range t.Packages {
		for _, file := range pkg.Files {
			f(pkg, file)
		}
	}
}
