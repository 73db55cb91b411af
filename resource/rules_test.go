package resource

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rule is a row of RULES.md.
type rule struct {
	key, text string
	where     string   // the third column
	tests     []string // named there, such as firehose.TestG16_... for one of another package
}

// rulePackages are where tests of rules live, by the name that RULES.md has for
// each; its own package has none.
var rulePackages = map[string]string{
	"": ".", "ietf.": "ietf", "firehose.": "../firehose", "feeds.": "../firehose/feeds", "queue.": "../queue",
}

// allKeys is every rule that there is, so that none can vanish from RULES.md.
const allKeys = `
	G-1 G-2 G-3 G-4 G-5 G-6 G-7 G-8 G-9 G-10 G-11 G-12 G-13 G-14 G-15 G-16 G-17 G-18 G-19 G-20
	E-1 E-2 E-3 E-4 E-5 E-6 E-7 E-8 E-9 E-10 E-11
	H-1 H-2 H-3 H-4 H-5 H-6 H-7 H-8 H-9 H-10 H-11 H-12 H-13 H-14 H-15
	C-1 C-2 C-3 C-4 C-5 C-6 C-7
	I-1 I-2 I-3 I-4 I-5 I-6 I-7 I-8 I-9 I-10 I-11 I-12
	S-200 S-304 S-202 S-301 S-302 S-400 S-401 S-403 S-404 S-408 S-410 S-429 S-451 S-500 S-503
	S-net S-backoff S-edge S-type
	L-GitHub L-GitLab L-Reddit L-X L-Stripe L-Shopify L-Discord L-Slack L-Basecamp L-Others L-Feeds L-Robots
	D-1 D-2 D-3 D-4 D-5 D-6 D-7 D-8 D-9 D-10 D-11 D-12 D-13 D-14 D-15 D-16 D-17 D-18 D-19 D-20 D-21 D-22 D-23 D-24
`

// mostExempt is how many rules may say why they have no test.
const mostExempt = 2

// TestRules_TableAndTestsAgree holds RULES.md and the tests together: the table has
// every rule; each has a test that exists and carries its key, or says why there is
// none; and a test that carries a key is in the row of its rule.
func TestRules_TableAndTestsAgree(t *testing.T) {
	tests := keyedTests(t)
	listed := map[string]bool{} // by key and name
	var keys []string
	exempt := 0
	for _, r := range readRules(t) {
		keys = append(keys, r.key)
		require.NotEmpty(t, r.text, r.key)
		for _, name := range r.tests {
			require.False(t, listed[ident(r.key)+name], "%s is listed twice", name)
			listed[ident(r.key)+name] = true
			require.Contains(t, tests, name, "%s names a test that is not there", r.key)
			require.Contains(t, tests[name], ident(r.key), "%s does not carry the key %s", name, r.key)
		}
		switch {
		case strings.HasPrefix(r.where, "not: "):
			exempt++
			require.Empty(t, r.tests, r.key)
			require.Greater(t, len(r.where), 40, "%s: a reason", r.key)
		default:
			require.NotEmpty(t, r.tests, "%s has neither test nor reason", r.key)
		}
	}
	require.ElementsMatch(t, strings.Fields(allKeys), keys, "rules that are missing or too many")
	require.LessOrEqual(t, exempt, mostExempt)
	for name, carried := range tests {
		for _, key := range carried {
			require.True(t, listed[key+name], "%s carries the key %s and is not listed in RULES.md", name, key)
		}
	}
}

// Every rule that a decision can name is one of the table.
func TestRules_ReasonsNameRules(t *testing.T) {
	keys := strings.Fields(allKeys)
	for r := ReasonNone + 1; r < reasons; r++ {
		require.Contains(t, keys, r.Key(), "%s", r)
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
	name := regexp.MustCompile("`((?:[a-z]+\\.)?Test[A-Za-z0-9_]+)`")
	var rules []rule
	for line := range strings.Lines(string(text)) {
		m := row.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			require.False(t, regexp.MustCompile(`^\| [A-Z]-`).MatchString(line), "malformed row: %s", line)
			continue
		}
		r := rule{key: m[1], text: m[2], where: m[3]}
		for _, found := range name.FindAllStringSubmatch(m[3], -1) {
			r.tests = append(r.tests, found[1])
		}
		rules = append(rules, r)
	}
	return rules
}

// keyedTests returns the tests that carry keys, by name, with their keys. A name
// that looks as if it did, and carries no key that there is, is a mistake.
func keyedTests(t *testing.T) map[string][]string {
	t.Helper()
	keyed := regexp.MustCompile(`^([GEHCID][0-9]+|S[0-9]+|S[A-Z][a-z]+|L[A-Z][A-Za-z]*)_`)
	var known []string
	for key := range strings.FieldsSeq(allKeys) {
		known = append(known, ident(key))
	}
	names := map[string][]string{}
	for prefix, dir := range rulePackages {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		require.NoError(t, err)
		require.NotEmpty(t, files, dir)
		for _, path := range files {
			file, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			for _, decl := range file.Decls {
				f, ok := decl.(*ast.FuncDecl)
				if !ok || f.Recv != nil {
					continue
				}
				rest := strings.TrimPrefix(f.Name.Name, "Test")
				for m := keyed.FindStringSubmatch(rest); m != nil; m = keyed.FindStringSubmatch(rest) {
					require.Contains(t, known, m[1], "%s: no rule has that key", f.Name.Name)
					names[prefix+f.Name.Name] = append(names[prefix+f.Name.Name], m[1])
					rest = strings.TrimPrefix(rest, m[0])
				}
			}
		}
	}
	return names
}
