package lint

import (
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// Methods whose contract the standard library states; the last line is testing.TB.
var wellKnown = []string{
	"String", "GoString", "Format", "Error", "Unwrap", "Is", "As", "LogValue",
	"MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText", "AppendText",
	"MarshalBinary", "UnmarshalBinary", "AppendBinary",
	"Len", "Less", "Swap", "ServeHTTP", "RoundTrip",
	"Helper", "Logf", "Errorf", "Fatalf", "FailNow", "Skipf",
}

// docs finds exported names without a comment, in packages that others can
// import, and packages without a package comment.
func docs(p *pkg) []finding {
	files := p.production()
	if len(files) == 0 {
		return nil
	}
	var found []finding
	if !slices.ContainsFunc(files, func(f *source) bool { return f.ast.Doc != nil }) {
		found = append(found, p.find(files[0].ast, "package %s has no package comment", p.name))
	}
	if p.name == "main" {
		return found
	}
	for _, file := range files {
		for _, decl := range file.ast.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				found = append(found, undocumentedFunc(p, decl)...)
			case *ast.GenDecl:
				found = append(found, undocumentedDecl(p, decl)...)
			}
		}
	}
	return found
}

func undocumentedFunc(p *pkg, decl *ast.FuncDecl) []finding {
	if !decl.Name.IsExported() || decl.Doc != nil {
		return nil
	}
	if decl.Recv == nil {
		return []finding{p.find(decl, "function %s has no comment", decl.Name.Name)}
	}
	receiver := receiverName(decl.Recv.List[0].Type)
	if !ast.IsExported(receiver) || slices.Contains(wellKnown, decl.Name.Name) {
		return nil
	}
	return []finding{p.find(decl, "method %s.%s has no comment", receiver, decl.Name.Name)}
}

func receiverName(expr ast.Expr) string {
	for {
		switch e := expr.(type) {
		case *ast.Ident:
			return e.Name
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		default:
			return ""
		}
	}
}

func undocumentedDecl(p *pkg, decl *ast.GenDecl) []finding {
	var found []finding
	for _, spec := range decl.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if !spec.Name.IsExported() {
				continue
			}
			alone := !decl.Lparen.IsValid() && decl.Doc != nil
			if spec.Doc == nil && !alone {
				found = append(found, p.find(spec, "type %s has no comment", spec.Name.Name))
			}
			found = append(found, undocumentedMembers(p, decl, spec)...)
		case *ast.ValueSpec:
			// One comment may speak for a group of constants or errors.
			if decl.Doc != nil || spec.Doc != nil || spec.Comment != nil {
				continue
			}
			for _, name := range spec.Names {
				if name.IsExported() {
					found = append(found, p.find(name, "%s %s has no comment", kind(decl.Tok), name.Name))
				}
			}
		}
	}
	return found
}

func kind(tok token.Token) string {
	if tok == token.CONST {
		return "constant"
	}
	return "variable"
}

// undocumentedMembers looks at the fields of a struct and the methods of an
// interface. A comment may speak for several members, if it names them; a field
// named as its type needs no other words than the type's; embedded members have
// their comment where they are declared.
func undocumentedMembers(p *pkg, decl *ast.GenDecl, spec *ast.TypeSpec) []finding {
	var fields *ast.FieldList
	switch t := spec.Type.(type) {
	case *ast.StructType:
		fields = t.Fields
	case *ast.InterfaceType:
		fields = t.Methods
	default:
		return nil
	}
	mentioned := words(decl.Doc, spec.Doc)
	for _, field := range fields.List {
		maps.Copy(mentioned, words(field.Doc, field.Comment))
	}
	var found []finding
	for _, field := range fields.List {
		if field.Doc != nil || field.Comment != nil {
			continue
		}
		for _, name := range field.Names {
			known := mentioned[strings.ToLower(name.Name)] || slices.Contains(wellKnown, name.Name) || isNamed(field.Type, name.Name)
			if name.IsExported() && !known {
				found = append(found, p.find(name, "%s.%s has no comment", spec.Name.Name, name.Name))
			}
		}
	}
	return found
}

// words is what comments mention, in lower case: each word, and each two in a
// row as one, so that "in flight" speaks of InFlight.
func words(comments ...*ast.CommentGroup) map[string]bool {
	set := make(map[string]bool)
	for _, c := range comments {
		notWord := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' }
		last := ""
		for word := range strings.FieldsFuncSeq(strings.ToLower(c.Text()), notWord) {
			set[word], set[last+word] = true, true
			last = word
		}
	}
	return set
}

func isNamed(expr ast.Expr, name string) bool {
	switch e := expr.(type) {
	case *ast.SelectorExpr:
		return e.Sel.Name == name
	case *ast.Ident, *ast.StarExpr:
		return receiverName(e) == name
	}
	return false
}

func TestDocs(t *testing.T) {
	const bad = `package p

func F() {}

type T struct {
	A, B int
	c    int
	// D is documented.
	D int
	E int // as is this
}

func (t *T) M()             {}
func (t T) String() string  { return "" }

type (
	// I is documented.
	I interface{ N() }
	G[K any] struct{}
)

func (g *G[K]) O() {}

const C = 1

var (
	V = 1
)

type hidden struct{ X int }

func (hidden) Y() {}
func g()          {}
`
	wantFindings(t, docs(madeUp(t, "queue", "a.go", bad)),
		"a.go:1: package p has no package comment",
		"a.go:3: function F", "a.go:5: type T", "a.go:6: T.A", "a.go:6: T.B", "a.go:13: method T.M",
		"a.go:18: I.N", "a.go:19: type G", "a.go:22: method G.O", "a.go:24: constant C", "a.go:27: variable V")
	wantFindings(t, docs(madeUp(t, "queue", "a_test.go", bad)))

	const good = `// Package p is documented.
package p

// Colours.
const (
	Red = iota
	Green
)

// T is documented.
type T struct{ hidden }

type hidden struct{ X int }

// Window is open from From, and counts what is in flight.
type Window struct {
	From, InFlight int

	// Until is its end, Span its length.
	Until int
	Span  int
	T     *T
}
`
	wantFindings(t, docs(madeUp(t, "queue", "a.go", good)))
	wantFindings(t, docs(madeUp(t, "queue", "a.go", "// Command p runs.\npackage main\nfunc F() {}\n")))
}
