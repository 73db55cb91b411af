package lint

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	maxLines  = 100 // a longer function is refused
	noteLines = 70  // a longer one is named in the log of TestTree/notes
)

// Names that say nothing about what is inside.
var vagueNames = []string{"base", "common", "helper", "helpers", "misc", "shared", "util", "utils"}

func longFunctions(p *pkg) []finding { return functionsOver(p, maxLines) }

func functionsOver(p *pkg, limit int) []finding {
	var found []finding
	for _, file := range p.production() {
		for _, decl := range file.ast.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := p.fset.Position(f.End()).Line - p.fset.Position(f.Pos()).Line + 1
			if lines > limit {
				found = append(found, p.find(f, "function %s has %d lines, over %d", f.Name.Name, lines, limit))
			}
		}
	}
	return found
}

func names(p *pkg) []finding {
	if len(p.files) == 0 || !slices.Contains(vagueNames, p.name) {
		return nil
	}
	return []finding{p.find(p.files[0].ast.Name, "package name %s tells nothing", p.name)}
}

// seeds finds fuzz targets that start from nothing: neither a call of f.Add,
// nor f handed to a function that adds, nor files under testdata/fuzz.
func seeds(p *pkg) []finding {
	var found []finding
	for _, file := range p.files {
		for _, decl := range file.ast.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !file.test || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Fuzz") || f.Body == nil {
				continue
			}
			corpus, _ := os.ReadDir(filepath.Join(p.dir, "testdata", "fuzz", f.Name.Name)) // usually absent
			if len(corpus) == 0 && !addsSeeds(f) {
				found = append(found, p.find(f, "fuzz target %s has no seeds: call f.Add", f.Name.Name))
			}
		}
	}
	return found
}

func addsSeeds(f *ast.FuncDecl) bool {
	if len(f.Type.Params.List) != 1 || len(f.Type.Params.List[0].Names) != 1 {
		return false
	}
	param := f.Type.Params.List[0].Names[0].Name
	is := func(expr ast.Expr) bool {
		id, ok := expr.(*ast.Ident)
		return ok && id.Name == param
	}
	adds := false
	ast.Inspect(f.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return !adds
		}
		selector, ok := call.Fun.(*ast.SelectorExpr)
		adds = adds || ok && selector.Sel.Name == "Add" && is(selector.X) || slices.ContainsFunc(call.Args, is)
		return !adds
	})
	return adds
}

func TestLongFunctions(t *testing.T) {
	function := func(lines int) string {
		return fmt.Sprintf("func f() {\n%s}\n", strings.Repeat("\tf()\n", lines-2))
	}
	wantFindings(t, longFunctions(madeUp(t, "queue", "a.go", function(maxLines))))
	wantFindings(t, longFunctions(madeUp(t, "queue", "a.go", function(maxLines+1))), "a.go:2: function f has 101 lines")
	wantFindings(t, longFunctions(madeUp(t, "queue", "a_test.go", function(maxLines+1))))
	wantFindings(t, functionsOver(madeUp(t, "queue", "a.go", function(noteLines+1)), noteLines), "71 lines")
}

func TestNames(t *testing.T) {
	wantFindings(t, names(madeUp(t, "queue/util", "a.go", "package util\n")), "package name util tells nothing")
	wantFindings(t, names(madeUp(t, "queue", "a.go", "package queue\n")))
}

func TestSeeds(t *testing.T) {
	const text = `import "testing"

func FuzzNone(f *testing.F) { f.Fuzz(func(t *testing.T, b []byte) {}) }
func FuzzAdd(f *testing.F) { f.Add([]byte("x")); f.Fuzz(func(t *testing.T, b []byte) {}) }
func FuzzOther(f *testing.F) { addSeeds(f); f.Fuzz(func(t *testing.T, b []byte) {}) }
func FuzzFiles(f *testing.F) { f.Fuzz(func(t *testing.T, b []byte) {}) }
`
	p := madeUp(t, "queue", "a_test.go", text)
	corpus := filepath.Join(p.dir, "testdata", "fuzz", "FuzzFiles")
	if err := os.MkdirAll(corpus, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(corpus, "1"), []byte("go test fuzz v1\n[]byte(\"x\")\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantFindings(t, seeds(p), "a_test.go:4: fuzz target FuzzNone has no seeds")
}
