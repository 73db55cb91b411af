package lint

import (
	"fmt"
	"go/ast"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// namedTest is a test as the documents name it.
var namedTest = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z0-9][A-Za-z0-9_]*)`")

// namedTests finds the tests that a document names and that there are not: a
// table of promises and their tests is worth nothing once a test has another
// name.
func namedTests(name, text string, there map[string]bool) (wrong []string) {
	for i, line := range strings.Split(text, "\n") {
		for _, match := range namedTest.FindAllStringSubmatch(line, -1) {
			if !there[match[1]] {
				wrong = append(wrong, fmt.Sprintf("%s:%d: there is no %s", name, i+1, match[1]))
			}
		}
	}
	return wrong
}

// tests are the names of all functions in test files.
func (t *tree) tests() map[string]bool {
	all := make(map[string]bool)
	for _, p := range t.packages {
		for _, file := range p.files {
			for _, decl := range file.ast.Decls {
				if f, ok := decl.(*ast.FuncDecl); ok && file.test && f.Recv == nil {
					all[f.Name.Name] = true
				}
			}
		}
	}
	return all
}

// TestNamedTests: each test that a document of the project names exists.
func TestNamedTests(t *testing.T) {
	tree := load(t)
	there, documents := tree.tests(), 0
	err := filepath.WalkDir(tree.root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == ".git":
			return fs.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		documents++
		for _, wrong := range namedTests(path, string(text), there) {
			t.Error(wrong)
		}
		return nil
	})
	if err != nil || documents < 3 {
		t.Fatal(documents, err)
	}
}

// TestNamedTestsAreFound tries the check on a document made up to break it.
func TestNamedTestsAreFound(t *testing.T) {
	there := map[string]bool{"TestA": true, "FuzzB": true}
	got := namedTests("x.md", "`TestA`, `FuzzB`, `go test`\n`TestGone`, `TestA`, `BenchmarkGone`, `Tests`", there)
	want := []string{"x.md:2: there is no TestGone", "x.md:2: there is no BenchmarkGone"}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, not %q", got, want)
	}
}
