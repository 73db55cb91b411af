package lint

import (
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"strings"
	"testing"
)

// Calls whose results never change once made, by import path and name; "*" is
// every function of the package. A package-level variable may hold one.
var immutable = map[string][]string{
	"errors":          {"New", "Join"},
	"fmt":             {"Errorf", "Sprintf"},
	"hash/crc32":      {"MakeTable"},
	"hash/crc64":      {"MakeTable"},
	"math":            {"*"},
	"net/http":        {"CanonicalHeaderKey"},
	"net/netip":       {"*"},
	"net/textproto":   {"CanonicalMIMEHeaderKey"},
	"reflect":         {"TypeFor", "TypeOf"},
	"regexp":          {"MustCompile", "MustCompilePOSIX"},
	"strings":         {"NewReplacer"},
	"sync":            {"OnceValue", "OnceValues"},
	"text/template":   {"Must"},
	"html/template":   {"Must"},
	"time":            {"Date", "Unix", "UnixMilli", "Duration"},
	"encoding/base32": {"*"},
	"encoding/base64": {"*"},
}

// globals finds package-level variables that can change: a second user of the
// package in the same process would share them. Allowed are the blank name,
// embedded files, results of the calls above, errors taken over from another
// package, and arrays and structs that nothing in the package writes to.
func globals(p *pkg) []finding {
	files := p.production()
	scope := resolve(p, files)
	var found []finding
	for _, file := range files {
		for _, decl := range file.ast.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR {
				continue
			}
			for _, spec := range gen.Specs {
				spec := spec.(*ast.ValueSpec)
				if embedded(gen.Doc) || embedded(spec.Doc) {
					continue
				}
				for i, name := range spec.Names {
					if why := scope.mutable(file, spec, i); why != "" && name.Name != "_" {
						found = append(found, p.find(name, "package-level variable %s %s", name.Name, why))
					}
				}
			}
		}
	}
	return append(found, scope.writes(p, files)...)
}

// A scope knows what the identifiers of one package stand for. Imports stay
// unresolved, which is enough here and spares a build.
type scope struct {
	info    types.Info
	imports map[*source]map[string]string
	globals map[types.Object]bool
}

func resolve(p *pkg, files []*source) *scope {
	s := &scope{
		info:    types.Info{Defs: make(map[*ast.Ident]types.Object), Uses: make(map[*ast.Ident]types.Object)},
		imports: make(map[*source]map[string]string),
		globals: make(map[types.Object]bool),
	}
	var parsed []*ast.File
	for _, file := range files {
		parsed = append(parsed, file.ast)
		s.imports[file] = importNames(file.ast)
	}
	config := types.Config{Importer: noImports{}, Error: func(error) {}}
	checked, _ := config.Check(p.path, p.fset, parsed, &s.info) // incomplete on purpose
	for _, name := range checked.Scope().Names() {
		if v, ok := checked.Scope().Lookup(name).(*types.Var); ok {
			s.globals[v] = true
		}
	}
	return s
}

type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.ErrUnsupported }

func embedded(doc *ast.CommentGroup) bool {
	if doc == nil {
		return false
	}
	for _, c := range doc.List {
		if strings.HasPrefix(c.Text, "//go:embed ") {
			return true
		}
	}
	return false
}

// mutable says what is wrong with the i-th variable of spec, or nothing.
func (s *scope) mutable(file *source, spec *ast.ValueSpec, i int) string {
	if len(spec.Values) == 0 {
		return "has no value, so something must assign it"
	}
	value := ast.Unparen(spec.Values[min(i, len(spec.Values)-1)])
	switch value := value.(type) {
	case *ast.CompositeLit:
		return s.mutableLiteral(file, value.Type)
	case *ast.UnaryExpr:
		if value.Op == token.AND {
			return "is a pointer"
		}
	case *ast.CallExpr:
		if s.allowed(file, value.Fun) {
			return ""
		}
		return "holds the result of a call that isn't known to be immutable"
	case *ast.FuncLit:
		return "is a hook: make it a function"
	case *ast.Ident, *ast.SelectorExpr:
		name := strings.ToLower(spec.Names[i].Name)
		if strings.HasPrefix(name, "err") {
			return ""
		}
		return "aliases another variable"
	case *ast.IndexExpr:
		return "aliases another variable"
	}
	return "could be a constant"
}

// mutableLiteral judges T{...} by what T is.
func (s *scope) mutableLiteral(file *source, expr ast.Expr) string {
	switch expr := expr.(type) {
	case *ast.MapType:
		return "is a map"
	case *ast.ArrayType:
		if expr.Len == nil {
			return "is a slice"
		}
		return s.mutableLiteral(file, expr.Elt)
	case *ast.StarExpr:
		return "holds pointers"
	case *ast.ChanType:
		return "holds channels"
	case *ast.IndexExpr:
		return s.mutableLiteral(file, expr.X)
	case *ast.SelectorExpr:
		if x, ok := expr.X.(*ast.Ident); ok {
			switch path := s.imports[file][x.Name]; path {
			case "sync", "sync/atomic":
				return "is a " + path + " value"
			}
		}
	case *ast.Ident:
		if named := s.info.Uses[expr]; named != nil {
			return mutableType(named.Type(), 0)
		}
	}
	return ""
}

// mutableType looks into types of the package itself; what comes from imports
// is unknown here, and passes.
func mutableType(t types.Type, depth int) string {
	if depth > 8 {
		return ""
	}
	switch t := t.Underlying().(type) {
	case *types.Map:
		return "is or holds a map"
	case *types.Slice:
		return "is or holds a slice"
	case *types.Pointer:
		return "is or holds a pointer"
	case *types.Chan:
		return "is or holds a channel"
	case *types.Array:
		return mutableType(t.Elem(), depth+1)
	case *types.Struct:
		for field := range t.Fields() {
			if why := mutableType(field.Type(), depth+1); why != "" {
				return fmt.Sprintf("%s in field %s", why, field.Name())
			}
		}
	}
	return ""
}

func (s *scope) allowed(file *source, fun ast.Expr) bool {
	switch fun := ast.Unparen(fun).(type) {
	case *ast.IndexExpr: // F[T]()
		return s.allowed(file, fun.X)
	case *ast.SelectorExpr:
		if call, ok := fun.X.(*ast.CallExpr); ok { // F().G()
			return s.allowed(file, call.Fun)
		}
		if inner, ok := fun.X.(*ast.SelectorExpr); ok { // base64.RawURLEncoding.Strict()
			return s.allowed(file, inner)
		}
		x, ok := fun.X.(*ast.Ident)
		if !ok {
			return false
		}
		path := s.imports[file][x.Name]
		for _, name := range immutable[path] {
			if name == "*" || name == fun.Sel.Name {
				return true
			}
		}
	}
	return false
}

// writes finds assignments to package-level variables, and addresses taken of
// them, in the functions of the package.
func (s *scope) writes(p *pkg, files []*source) []finding {
	var found []finding
	written := func(expr ast.Expr) {
		if id := root(expr); id != nil && s.globals[s.info.Uses[id]] {
			found = append(found, p.find(expr, "writes to package-level variable %s", id.Name))
		}
	}
	for _, file := range files {
		ast.Inspect(file.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for _, left := range n.Lhs {
					written(left)
				}
			case *ast.IncDecStmt:
				written(n.X)
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					written(n.X)
				}
			case *ast.RangeStmt:
				if n.Tok == token.ASSIGN {
					written(n.Key)
					if n.Value != nil {
						written(n.Value)
					}
				}
			}
			return true
		})
	}
	return found
}

// root is the variable that x, x.f, x[i] and (x) store into.
func root(expr ast.Expr) *ast.Ident {
	for {
		switch e := expr.(type) {
		case *ast.Ident:
			return e
		case *ast.SelectorExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.ParenExpr:
			expr = e.X
		default:
			return nil
		}
	}
}

func TestGlobals(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"map", `var m = map[string]int{"a": 1}`, []string{"a.go:2: package-level variable m is a map"}},
		{"slice", `var s = []string{"a"}`, []string{"s is a slice"}},
		{"pointer", `type T struct{}; var p = &T{}`, []string{"p is a pointer"}},
		{"make", `var c = make(chan int)`, []string{"c holds the result of a call"}},
		{"no value", `var n int`, []string{"n has no value"}},
		{"constant", `var n = 5`, []string{"n could be a constant"}},
		{"hook", `var now = func() int { return 1 }`, []string{"now is a hook"}},
		{"function value", "import \"time\"\nvar now = time.Now", []string{"now aliases"}},
		{"lock", "import \"sync\"\nvar mu sync.Mutex", []string{"mu has no value"}},
		{"lock literal", "import \"sync\"\nvar mu = sync.Mutex{}", []string{"mu is a sync value"}},
		{"group", "var (\n\ta = []int{}\n\t_ = a\n\tb, c = 1, map[int]int{}\n)", []string{
			"a.go:3: package-level variable a", "a.go:5: package-level variable b", "a.go:5: package-level variable c"}},
		{"named map", `type M map[string]int; var m = M{}`, []string{"m is or holds a map"}},
		{"struct with slice", `type T struct{ s []int }; var x = T{}`, []string{"holds a slice in field s"}},
		{"array of maps", `var a = [2]map[int]int{}`, []string{"a is a map"}},
		{"logger", "import \"log/slog\"\nvar log = slog.Default()", []string{"log holds the result"}},

		{"written array", "var a = [2]int{1, 2}\nfunc f() { a[0] = 3 }", []string{"a.go:3: writes to package-level variable a"}},
		{"written error", "import \"errors\"\nvar ErrA = errors.New(\"a\")\nfunc f() { ErrA = nil }", []string{"writes to package-level variable ErrA"}},
		{"address", "var a = [2]int{}\nfunc f() *int { return &a[1] }", []string{"writes to"}},

		{"sentinel", "import \"errors\"\nvar ErrA = errors.New(\"a\")\nvar ErrB = ErrA", nil},
		{"wrapped sentinel", "import (\"errors\"; \"fmt\")\nvar (ErrA = errors.New(\"a\")\nErrB = fmt.Errorf(\"b: %w\", ErrA))", nil},
		{"assertion", "import \"io\"\ntype T struct{}\nvar _ io.Reader = (*T)(nil)\nvar _ = T{}", nil},
		{"embed", "import _ \"embed\"\n//go:embed a.txt\nvar text string", nil},
		{"lookup array", "var names = [...]string{\"a\"}\nfunc f(i int) string { return names[i] }", nil},
		{"table", "import \"hash/crc32\"\nvar castagnoli = crc32.MakeTable(crc32.Castagnoli)", nil},
		{"generic call", "import \"reflect\"\nvar typ = reflect.TypeFor[int]()", nil},
		{"chained call", "import \"time\"\nvar start = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).Add(1)", nil},
		{"shadowed", "var a = [1]int{}\nfunc f() { a := []int{1}; a[0] = 2; _ = a }", nil},
		{"local", "func f() { m := map[int]int{}; m[1] = 2; var n int; n++ }", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			wantFindings(t, globals(madeUp(t, "queue", "a.go", test.text)), test.want...)
			wantFindings(t, globals(madeUp(t, "queue", "a_test.go", test.text)))
		})
	}
}
