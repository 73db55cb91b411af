package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/cannedos/cannedos"

// A tree is every package of the workspace, parsed.
type tree struct {
	root     string // folder of the root module
	nested   []string
	packages []*pkg
}

// A pkg is one folder of Go files, whatever the platform or tags that build
// them.
type pkg struct {
	path   string // import path
	name   string
	module string
	dir    string
	fset   *token.FileSet
	files  []*source
}

type source struct {
	name string // as findings print it
	test bool
	ast  *ast.File
}

// A finding is one violation.
type finding struct {
	pos  token.Position
	text string
}

func (f finding) String() string {
	return fmt.Sprintf("%s:%d: %s", f.pos.Filename, f.pos.Line, f.text)
}

func (p *pkg) find(at ast.Node, format string, args ...any) finding {
	return finding{p.fset.Position(at.Pos()), fmt.Sprintf(format, args...)}
}

// production yields the files that are not tests.
func (p *pkg) production() []*source {
	return slices.DeleteFunc(slices.Clone(p.files), func(s *source) bool { return s.test })
}

// TestTree applies every check to the project.
func TestTree(t *testing.T) {
	tree := load(t)
	checks := []struct {
		name string
		run  func(*pkg) []finding
	}{
		{"imports", func(p *pkg) []finding { return imports(p, tree.nested) }},
		{"purity", purity},
		{"globals", globals},
		{"docs", docs},
		{"functions", longFunctions},
		{"names", names},
		{"seeds", seeds},
	}
	for _, check := range checks {
		t.Run(check.name, func(t *testing.T) {
			for _, p := range tree.packages {
				for _, finding := range check.run(p) {
					t.Error(finding)
				}
			}
		})
	}
	t.Run("notes", func(t *testing.T) {
		for _, p := range tree.packages {
			for _, note := range functionsOver(p, noteLines) {
				t.Log("note: ", note)
			}
		}
	})
}

// load lists the workspace as the go command sees it, with the integration
// tests, and parses files of other platforms too.
func load(t *testing.T) *tree {
	t.Helper()
	type listed struct {
		ImportPath, Name, Dir string
		Module                struct{ Path, Dir string }

		GoFiles, CgoFiles, IgnoredGoFiles, TestGoFiles, XTestGoFiles []string
	}
	out := goCommand(t, "list", "-e", "-json", "-tags=integration", "work")
	loaded := &tree{root: strings.TrimSpace(string(goCommand(t, "list", "-m", "-f", "{{.Dir}}", module)))}
	watch(t, loaded.root)
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		if err := decoder.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		if l.Module.Path != module && !slices.Contains(loaded.nested, l.Module.Path) {
			loaded.nested = append(loaded.nested, l.Module.Path)
		}
		p := &pkg{path: l.ImportPath, name: l.Name, module: l.Module.Path, dir: l.Dir, fset: token.NewFileSet()}
		for _, file := range slices.Concat(l.GoFiles, l.CgoFiles, l.IgnoredGoFiles, l.TestGoFiles, l.XTestGoFiles) {
			path := filepath.Join(l.Dir, file)
			name, err := filepath.Rel(loaded.root, path)
			if err != nil {
				name = path
			}
			p.parse(t, name, path, nil)
		}
		loaded.packages = append(loaded.packages, p)
	}
	if len(loaded.packages) == 0 {
		t.Fatal("go list names no packages")
	}
	return loaded
}

// watch opens every folder below root. The go command repeats a cached result
// as long as what the test itself opened is unchanged; what "go list" opened
// doesn't count, and a new file would go unseen.
func watch(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && entry.Name() == ".git" { // a file in a work tree of its own
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// parse adds a file; findings call it name.
func (p *pkg) parse(t *testing.T, name, path string, text any) {
	t.Helper()
	if text == nil {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text = content
	}
	file, err := parser.ParseFile(p.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	p.files = append(p.files, &source{name: name, test: strings.HasSuffix(name, "_test.go"), ast: file})
}

// madeUp is a package of one file, in the root module, to try checks on.
func madeUp(t *testing.T, path, file, text string) *pkg {
	t.Helper()
	if !strings.HasPrefix(text, "package ") && !strings.HasPrefix(text, "//") {
		text = "package p\n" + text
	}
	p := &pkg{path: module + "/" + path, module: module, dir: t.TempDir(), fset: token.NewFileSet()}
	p.parse(t, file, file, text)
	p.name = p.files[0].ast.Name.Name
	return p
}

// wantFindings compares by substring, in order; no wants means none.
func wantFindings(t *testing.T, got []finding, want ...string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("missing: %s", want[i])
		case i >= len(want):
			t.Errorf("unexpected: %v", got[i])
		case !strings.Contains(got[i].String(), want[i]):
			t.Errorf("got %v, want %s", got[i], want[i])
		}
	}
}

func goCommand(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", args...).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, exit.Stderr)
	}
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return out
}
