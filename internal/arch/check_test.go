package arch_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/internal/arch"
)

// tree loads a module "example.org/m" made of files, by their names.
func tree(t *testing.T, files map[string]string) *arch.Tree {
	t.Helper()
	loaded, err := arch.Load(fsOf(files))
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func fsOf(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{"go.mod": {Data: []byte("module example.org/m\n\ngo 1.26\n")}}
	for name, content := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return fsys
}

func texts(problems []arch.Problem) []string {
	var list []string
	for _, p := range problems {
		list = append(list, p.String())
	}
	slices.Sort(list)
	return list
}

func want(t *testing.T, problems []arch.Problem, expected ...string) {
	t.Helper()
	if diff := cmp.Diff(expected, texts(problems)); diff != "" {
		t.Errorf("problems differ (-want +got):\n%s", diff)
	}
}

var small = arch.Layers{
	Of: map[string]int{"low": 0, "mid": 1, "near": 1, "mid/part": 2, "top": 3, "cmd/prog": 4},
	Outside: map[string][]string{
		"sim":     {"top"},
		"midtest": nil,
	},
}

func TestLayers(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"imports that go down are right": {
			files: map[string]string{
				"low/a.go":      "package low\n\nimport _ \"fmt\"",
				"mid/a.go":      "package mid\n\nimport _ \"example.org/m/low\"",
				"mid/part/a.go": "package part\n\nimport _ \"example.org/m/mid\"",
			},
		},
		"an import that goes up is reported where it stands": {
			files: map[string]string{
				"low/a.go": "package low\n\nimport (\n\t\"fmt\"\n\t\"example.org/m/mid\"\n)",
				"mid/a.go": "package mid",
			},
			want: []string{"low/a.go:5: low (layer 0) imports mid (layer 1): imports go strictly down"},
		},
		"a neighbour is reported": {
			files: map[string]string{"mid/a.go": "package mid\n\nimport \"example.org/m/near\"", "near/a.go": "package near"},
			want:  []string{"mid/a.go:3: mid imports near, its neighbour in layer 1: imports go strictly down"},
		},
		"a test file may import a neighbour": {
			files: map[string]string{"mid/a_test.go": "package mid_test\n\nimport \"example.org/m/near\"", "near/a.go": "package near"},
		},
		"a test file does not import what lies above": {
			files: map[string]string{"low/a_test.go": "package low_test\n\nimport \"example.org/m/top\"", "top/a.go": "package top"},
			want:  []string{"low/a_test.go:3: low (layer 0) imports top (layer 3): imports go strictly down"},
		},
		"a file that some build leaves out is held to the layers as well": {
			files: map[string]string{
				"low/a_windows.go": "//go:build integration\n\npackage low\n\nimport \"example.org/m/top\"",
				"top/a.go":         "package top",
			},
			want: []string{"low/a_windows.go:5: low (layer 0) imports top (layer 3): imports go strictly down"},
		},
		"a test file may import its own package and what stands outside": {
			files: map[string]string{
				"low/a_test.go": "package low_test\n\nimport (\n\"example.org/m/low\"\n\"example.org/m/sim/bmc\"\n\"example.org/m/midtest\"\n)",
				"low/a.go":      "package low", "sim/bmc/a.go": "package bmc\n\nimport \"example.org/m/top\"", "midtest/a.go": "package midtest", "top/a.go": "package top",
			},
		},
		"shipped code may import what stands outside only where it is allowed": {
			files: map[string]string{
				"mid/a.go":     "package mid\n\nimport \"example.org/m/sim/bmc\"\nimport \"example.org/m/midtest\"",
				"top/a.go":     "package top\n\nimport \"example.org/m/sim/bmc\"",
				"sim/bmc/a.go": "package bmc", "midtest/a.go": "package midtest",
			},
			want: []string{
				"mid/a.go:3: mid imports sim/bmc, which only test files and top may",
				"mid/a.go:4: mid imports midtest, which only test files may",
			},
		},
		"a package without a layer is reported with what to do": {
			files: map[string]string{"simple/a.go": "package simple"},
			want: []string{
				"simple: the package has no layer: give it a row in the table of internal/arch/arch_test.go and in the one of ARCHITECTURE.md",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want(t, small.Check(tree(t, c.files)), c.want...)
		})
	}
}

func TestDirectoriesThatAreNotOursAreLeftOut(t *testing.T) {
	loaded := tree(t, map[string]string{
		"low/a.go":          "package low",
		"low/testdata/a.go": "this is not Go",
		".git/a.go":         "nor this",
		"bin/a.go":          "nor this",
		"tools/go.mod":      "module example.org/tools",
		"tools/a.go":        "nor this",
	})
	if len(loaded.Packages) != 1 || loaded.Packages[0].Path != "low" {
		t.Errorf("loaded %d packages, want low alone", len(loaded.Packages))
	}
}

func TestASourceThatDoesNotParseIsAnError(t *testing.T) {
	if _, err := arch.Load(fsOf(map[string]string{"low/a.go": "package"})); err == nil {
		t.Error("no error")
	}
}

func TestLinks(t *testing.T) {
	files := map[string]string{
		"cmd/prog/a.go":      "package main\n\nimport \"example.org/m/top\"",
		"cmd/prog/a_test.go": "package main\n\nimport \"example.org/m/low/part\"",
		"top/a.go":           "package top\n\nimport \"example.org/m/mid\"",
		"mid/a.go":           "package mid",
		"low/part/a.go":      "package part",
	}
	t.Run("a program is told the chain that leads to what it must not link", func(t *testing.T) {
		want(t, arch.Links(tree(t, files), "cmd/prog", []string{"mid"}), "cmd/prog: must not link mid: cmd/prog -> top -> mid")
	})
	t.Run("what only its tests import is not linked", func(t *testing.T) {
		want(t, arch.Links(tree(t, files), "cmd/prog", []string{"low"}))
	})
	t.Run("a package below a forbidden one is forbidden", func(t *testing.T) {
		files["mid/a.go"] = "package mid\n\nimport \"example.org/m/low/part\""
		want(t, arch.Links(tree(t, files), "cmd/prog", []string{"low"}), "cmd/prog: must not link low/part: cmd/prog -> top -> mid -> low/part")
	})
	t.Run("a program that is gone is reported", func(t *testing.T) {
		want(t, arch.Links(tree(t, files), "cmd/gone", nil), "cmd/gone: there is no such package, so nothing holds what it may link")
	})
}

func TestWired(t *testing.T) {
	loaded := tree(t, map[string]string{
		"mid/part/a.go": "package part",
		"mid/part/b.go": "package part\n\nimport \"example.org/m/mid/part/table\"",
		"top/a.go":      "package top\n\nimport \"example.org/m/mid/part\"",
		"top/a_test.go": "package top\n\nimport \"example.org/m/mid/part\"",
		"cmd/prog/a.go": "package main\n\nimport \"example.org/m/mid/part\"",
		"sim/bmc/a.go":  "package bmc\n\nimport \"example.org/m/mid/part\"",
	})
	want(t, small.Wired(loaded, []string{"mid/part"}, []string{"cmd"}),
		"mid/part/b.go:3: mid/part imports mid/part/table: only cmd choose among drivers, steps and backends",
		"top/a.go:3: top imports mid/part: only cmd choose among drivers, steps and backends")
}

func TestInits(t *testing.T) {
	want(t, arch.Inits(tree(t, map[string]string{
		"low/a.go":      "package low\n\nfunc init() {}",
		"low/a_test.go": "package low\n\nfunc init() {}",
		"mid/a.go":      "package mid\n\ntype T int\n\nfunc (T) init() {}\n\nfunc initial() {}",
	})),
		"low/a.go:3: func init: make it an explicit table or a call from main",
		"low/a_test.go:3: func init: make it an explicit table or a call from main")
}

func TestNames(t *testing.T) {
	want(t, arch.Names(tree(t, map[string]string{
		"low/util/a.go": "package lowutil",
		"mid/a.go":      "package types",
		"top/a_test.go": "package helpers_test",
		"near/a.go":     "package near",
	}), []string{"util", "types", "helpers"}),
		`low/util: the name "util" says nothing of what is in the package`,
		`mid: the name "types" says nothing of what is in the package`,
		`top: the name "helpers" says nothing of what is in the package`)
}

func TestComments(t *testing.T) {
	const text = "no package comment that says in one sentence what the package is for"
	want(t, arch.Comments(tree(t, map[string]string{
		"low/a.go":      "package low",
		"low/b.go":      "// Package low is low.\npackage low",
		"mid/a.go":      "package mid",
		"mid/a_test.go": "// Package mid is commented in its test only.\npackage mid",
		"near/a.go":     "// near is not the usual form.\npackage near",
		"top/a_test.go": "package top",
		"cmd/prog/a.go": "// Prog does something.\npackage main",
		"cmd/bare/a.go": "package main",
	})), "cmd/bare: "+text, "mid: "+text, "near: "+text)
}

func TestImports(t *testing.T) {
	want(t, arch.Imports(tree(t, map[string]string{
		"low/a.go":      "package low\n\nimport \"os/exec\"",
		"low/a_test.go": "package low\n\nimport \"os/exec\"",
		"mid/sub/a.go":  "package sub\n\nimport \"os/exec\"",
		"midst/a.go":    "package midst\n\nimport run \"os/exec\"",
	}), "os/exec", map[string]string{"mid": "has a reason"}),
		"low/a.go:3: low imports os/exec: use a library, or add the package with its reason to the list in internal/arch/arch_test.go",
		"midst/a.go:3: midst imports os/exec: use a library, or add the package with its reason to the list in internal/arch/arch_test.go")
}

func TestDocs(t *testing.T) {
	fsys := fsOf(map[string]string{
		"Makefile":        "test:\n\tgo test\n.PHONY: test\n",
		"low/a.go":        "package low",
		"low/part/a.go":   "package part",
		"low/DESIGN.md":   "`a.go` and `low/a.go`",
		"docs/testing.md": "",
		".ci/run":         "",
	})
	for text, problem := range map[string]string{
		// What is there.
		"`low/a.go`, `low/`, `./low`, `low/...`, `.ci/run`":                            "",
		"`a.go` by its name, `low/a.go:12`, `low/part.Name`":                           "",
		"`docs/<name>.md`, `low/*.go`":                                                 "",
		"run `make test RACE=1`":                                                       "",
		"[how](docs/testing.md#here) [web](https://x.example/low/b.go) [here](#there)": "",
		"```\nmake test\n`low/none.go`\n```":                                           "",

		// What is not a path of ours.
		"`/v1/low/none`, `application/json`, `binding:profile`, `../shared/none`": "",
		"`low/none or so`, low/none.go":                                           "",

		// What is gone.
		"`low/none.go`":             "x.md:1: `low/none.go` does not exist",
		"first\n`low/none`":         "x.md:2: `low/none` does not exist",
		"`planned/thing`":           "x.md:1: `planned/thing` does not exist",
		"`none.go`":                 "x.md:1: `none.go` does not exist",
		"`low/none/<name>.go`":      "x.md:1: `low/none/<name>.go` does not exist",
		"`./low/none/...`":          "x.md:1: `./low/none/...` does not exist",
		"[how](docs/none.md#there)": "x.md:1: the link to docs/none.md leads nowhere",
		"`make test tset`":          "x.md:1: the Makefile has no target tset",
		"```sh\n$ make tset\n```":   "x.md:2: the Makefile has no target tset",
		"```\n```\n`low/none.go`":   "x.md:3: `low/none.go` does not exist",
	} {
		t.Run(text, func(t *testing.T) {
			fsys["x.md"] = &fstest.MapFile{Data: []byte(text)}
			problems, err := arch.Docs(fsys, []string{"x.md", "low/DESIGN.md"}, []string{"planned"})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(texts(problems), "\n"); got != problem {
				t.Errorf("got  %s\nwant %s", got, problem)
			}
		})
	}
}

func TestDocumentsAreFoundInEveryDirectory(t *testing.T) {
	docs, err := arch.Documents(fsOf(map[string]string{"README.md": "", "low/DESIGN.md": "", ".git/x.md": "", "low/testdata/x.md": ""}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"README.md", "low/DESIGN.md"}, docs); diff != "" {
		t.Errorf("documents differ (-want +got):\n%s", diff)
	}
}

func TestDocumentedLayers(t *testing.T) {
	loaded := tree(t, map[string]string{"low/a.go": "package low", "mid/a.go": "package mid", "near/a.go": "package near"})
	doc := "| L | package | duty |\n|--:|---|---|\n| 0 | `low` | `lowest` |\n| 2 | `mid` | middle |\n| 3 | `top`, `gone` | not there |\n| - | `sim` | outside |\n"
	want(t, small.Documented(loaded, "A.md", []byte(doc)),
		"A.md: the layer table lacks near (layer 1)",
		"A.md:4: the table has mid in layer 2, internal/arch/arch_test.go or the tree has not",
		"A.md:5: the table has gone in layer 3, internal/arch/arch_test.go or the tree has not",
		"A.md:5: the table has top in layer 3, internal/arch/arch_test.go or the tree has not")
}
