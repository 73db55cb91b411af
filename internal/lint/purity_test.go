package lint

import (
	"go/ast"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The folders whose code decides and never does: no clock of its own, no
// goroutine, no I/O. Decisions take "now" as an argument.
var pure = []string{"resource/..."}

// What pure code may not mention, by import path. Reading the environment is
// left out: a token source reads its variable when it is asked.
var impure = map[string][]string{
	"time": {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"},
	"os": {
		"Open", "OpenFile", "OpenRoot", "Create", "CreateTemp", "ReadFile", "WriteFile", "ReadDir",
		"Remove", "RemoveAll", "Rename", "Mkdir", "MkdirAll", "Setenv", "Exit", "Stdin", "Stdout", "Stderr",
	},
	"net/http": {
		"Get", "Head", "Post", "PostForm", "Client", "DefaultClient", "Transport", "DefaultTransport",
		"Server", "ListenAndServe", "ListenAndServeTLS", "Serve", "ServeTLS", "NewRequest", "NewRequestWithContext",
	},
	"fmt": {"Print", "Printf", "Println"},
}

func purity(p *pkg) []finding {
	if !slices.ContainsFunc(pure, func(pattern string) bool { return matches(pattern, folder(p.path)) }) {
		return nil
	}
	var found []finding
	for _, file := range p.production() {
		imported := importNames(file.ast)
		ast.Inspect(file.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				found = append(found, p.find(n, "goroutine in pure package %s", folder(p.path)))
			case *ast.SelectorExpr:
				x, ok := n.X.(*ast.Ident)
				if ok && slices.Contains(impure[imported[x.Name]], n.Sel.Name) {
					found = append(found, p.find(n, "%s.%s in pure package %s", x.Name, n.Sel.Name, folder(p.path)))
				}
			}
			return true
		})
	}
	return found
}

// importNames maps the names by which a file knows its imports to their paths.
// The last element stands in for a package's own name, which holds for the
// standard library but for the versioned paths, and those are of no concern.
func importNames(file *ast.File) map[string]string {
	byName := make(map[string]string)
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		name := path[strings.LastIndexByte(path, '/')+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		byName[name] = path
	}
	return byName
}

func TestPurity(t *testing.T) {
	const text = `import (
	"net/http"
	clock "time"
)

func f(now clock.Time, h http.Header) {
	_ = clock.Now()
	go f(now, h)
	_ = http.DefaultClient
	_ = clock.UnixMilli(0)
	_, _ = http.ParseTime("")
}
`
	wantFindings(t, purity(madeUp(t, "resource", "a.go", text)),
		"a.go:8: clock.Now in pure package resource", "a.go:9: goroutine", "a.go:10: http.DefaultClient")
	wantFindings(t, purity(madeUp(t, "resource", "a_test.go", text)))
	wantFindings(t, purity(madeUp(t, "queue", "a.go", text)))
}
