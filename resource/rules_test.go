package resource

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rule is a row of RULES.md.
type rule struct {
	key, text string
	tests     []string // named in the third column
	reason    string   // its first word, where there is no test in this package
}

// TestRules_TableAndTestsAgree holds RULES.md and the tests of this package
// together: a rule that claims a test has it, a test that carries a key is in the
// row of its rule, and a rule without a test says why.
func TestRules_TableAndTestsAgree(t *testing.T) {
	rules := readRules(t)
	tests := keyedTests(t)
	listed := map[string]bool{}
	for _, r := range rules {
		for _, name := range r.tests {
			require.False(t, listed[name], "%s is listed twice", name)
			listed[name] = true
			require.Contains(t, tests, name, "%s names a test that is not there", r.key)
			require.True(t, strings.HasPrefix(name, "Test"+ident(r.key)+"_"), "%s does not carry the key %s", name, r.key)
		}
		if len(r.tests) == 0 {
			require.Contains(t, []string{"planned", "firehose", "queue", "oracle", "not"}, r.reason, "%s has neither test nor reason", r.key)
		}
		require.NotEmpty(t, r.text, r.key)
	}
	for _, name := range tests {
		require.True(t, listed[name], "%s carries a key and is not listed in RULES.md", name)
	}
}

// Every rule that a decision can name is one of the table.
func TestRules_ReasonsNameRules(t *testing.T) {
	var keys []string
	for _, r := range readRules(t) {
		require.NotContains(t, keys, r.key, "listed twice")
		keys = append(keys, r.key)
	}
	for r := ReasonNone + 1; r < reasons; r++ {
		require.Contains(t, keys, r.Key(), "%s", r)
	}
	for _, group := range []string{"G", "E", "H", "C", "I", "D"} {
		n := 0
		for _, key := range keys {
			if rest, ok := strings.CutPrefix(key, group+"-"); ok && rest[0] >= '0' && rest[0] <= '9' {
				n++
			}
		}
		for i := range n {
			require.Contains(t, keys, group+"-"+strconv.Itoa(i+1), "a hole in the numbers")
		}
	}
}

// ident is a key as test names carry it: G-12 is G12, S-edge is SEdge.
func ident(key string) string {
	group, rest, _ := strings.Cut(key, "-")
	return group + strings.ToUpper(rest[:1]) + rest[1:]
}

func readRules(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile("RULES.md")
	require.NoError(t, err)
	row := regexp.MustCompile(`^\| ([A-Z]-[A-Za-z0-9]+) \| (.+?) \| (.+?) \|$`)
	name := regexp.MustCompile("`(Test[A-Za-z0-9_]+)`")
	word := regexp.MustCompile(`^[a-z]+`)
	var rules []rule
	for line := range strings.Lines(string(text)) {
		m := row.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			require.False(t, regexp.MustCompile(`^\| [A-Z]-`).MatchString(line), "malformed row: %s", line)
			continue
		}
		r := rule{key: m[1], text: m[2], reason: word.FindString(m[3])}
		for _, found := range name.FindAllStringSubmatch(m[3], -1) {
			r.tests = append(r.tests, found[1])
		}
		rules = append(rules, r)
	}
	require.Greater(t, len(rules), 100)
	return rules
}

// keyedTests returns the names of the tests of this package that carry a key.
func keyedTests(t *testing.T) []string {
	t.Helper()
	keyed := regexp.MustCompile(`^Test([GEHCID][0-9]+|S[0-9]+|S[A-Z][a-z]+|L[A-Z][A-Za-z]*)_`)
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	var names []string
	for _, path := range files {
		file, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, 0)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && keyed.MatchString(f.Name.Name) {
				names = append(names, f.Name.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}
