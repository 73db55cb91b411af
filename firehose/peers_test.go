package firehose_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fault is a row of PEERS.md.
type fault struct {
	key, text string
	tests     []string // as package/name
	reason    string   // its first words, where there is no test
}

// TestPeers_TableAndTestsAgree holds PEERS.md and the tests together: a test that
// a fault names is there and says so in its comment, a test whose comment names a
// fault is in the row of it, and a fault without a test says why.
func TestPeers_TableAndTestsAgree(t *testing.T) {
	comments := testComments(t)
	rows := readFaults(t)
	require.Greater(t, len(rows), 100)
	last, claimed := map[string]int{}, map[string]bool{}
	for _, f := range rows {
		project, number, _ := cutLast(f.key, "-")
		n, err := strconv.Atoi(number)
		require.NoError(t, err, f.key)
		require.Equal(t, last[project]+1, n, "%s: a hole in the numbers", f.key)
		last[project] = n
		require.NotEmpty(t, f.text, f.key)
		for _, name := range f.tests {
			comment, found := comments[name]
			require.True(t, found, "%s names %s, which is not there", f.key, name)
			require.Contains(t, keysOf(comment), f.key, "%s: the comment of %s does not name it", f.key, name)
			claimed[f.key+" "+name] = true
		}
		if len(f.tests) == 0 {
			require.Equal(t, "not ours:", f.reason, "%s has neither test nor reason", f.key)
		}
	}
	for name, comment := range comments {
		for _, key := range keysOf(comment) {
			require.True(t, claimed[key+" "+name], "the comment of %s names %s, whose row does not name it", name, key)
		}
	}
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func readFaults(t *testing.T) (all []fault) {
	t.Helper()
	text, err := os.ReadFile("PEERS.md")
	require.NoError(t, err)
	row := regexp.MustCompile(`^\| ([a-z0-9-]+-[0-9]+) \| (.+?) \| (.+?) \|$`)
	name := regexp.MustCompile("^`(Test[A-Za-z0-9_]+)`$")
	reason := regexp.MustCompile(`^[a-z ]+:`)
	for line := range strings.Lines(string(text)) {
		m := row.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			require.False(t, regexp.MustCompile(`^\| [a-z0-9-]+-[0-9]`).MatchString(line), "malformed row: %s", line)
			continue
		}
		f := fault{key: m[1], text: m[2]}
		if !strings.Contains(m[3], "`") {
			f.reason = reason.FindString(m[3])
			all = append(all, f)
			continue
		}
		for part := range strings.SplitSeq(m[3], "; ") {
			pkg, names, found := strings.Cut(part, ": ")
			require.True(t, found, "%s: %s", f.key, part)
			for one := range strings.SplitSeq(names, ", ") {
				found := name.FindStringSubmatch(one)
				require.NotNil(t, found, "%s: %s", f.key, one)
				f.tests = append(f.tests, pkg+"/"+found[1])
			}
		}
		all = append(all, f)
	}
	return all
}

var (
	peers   = regexp.MustCompile(`\bPeers? ((?:[a-z0-9-]+-[0-9]+(?:, | and )?)+)`)
	peerKey = regexp.MustCompile(`[a-z0-9-]+-[0-9]+`)
)

// keysOf returns the faults that a comment names.
func keysOf(comment string) (keys []string) {
	for _, m := range peers.FindAllStringSubmatch(strings.ReplaceAll(comment, "\n", " "), -1) {
		keys = append(keys, peerKey.FindAllString(m[1], -1)...)
	}
	return keys
}

// testComments returns the comments of all tests of the packages that the table
// speaks of, by package and name; ietf counts as resource, feeds as firehose.
func testComments(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for pkg, globs := range map[string][]string{
		"firehose": {"*_test.go", "feeds/*_test.go"}, "resource": {"../resource/*_test.go", "../resource/ietf/*_test.go"},
		"queue": {"../queue/*_test.go"}, "db": {"../db/*_test.go"}, "scheduler": {"../scheduler/*_test.go"},
	} {
		for _, glob := range globs {
			paths, err := filepath.Glob(glob)
			require.NoError(t, err)
			require.NotEmpty(t, paths, glob)
			for _, path := range paths {
				file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
				require.NoError(t, err)
				for _, decl := range file.Decls {
					if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
						all[pkg+"/"+f.Name.Name] = f.Doc.Text()
					}
				}
			}
		}
	}
	return all
}
