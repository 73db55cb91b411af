package lint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A rule says what a package may import. Patterns are folders of the root
// module; "a/..." is a and everything below it, "." the root package.
type rule struct {
	packages string
	ours     []string // what its code may import of ours, besides its own internal packages
	tests    []string // what its tests may import of ours beyond that
	others   []string // modules of other people
	never    []string // packages of the standard library that are out of place
}

const (
	rate      = "golang.org/x/time"
	tint      = "github.com/lmittmann/tint"
	testify   = "github.com/stretchr/testify"
	porcupine = "github.com/anishathalye/porcupine"
	cron      = "github.com/netresearch/go-cron"
	httpsfv   = "github.com/dunglas/httpsfv"
)

// Tests may import these besides what their package may.
var testModules = []string{testify, porcupine}

// Patterns don't cover these: they have to be named, so that code that ships
// can't come to depend on them.
var testKits = []string{"queue/queuetest", "db/dbtest", "firehose/firehosetest"}

// The longest pattern that matches a package is its rule; a package without
// one is refused.
var importTable = []rule{
	{packages: ".", tests: []string{"resource/...", "db", "queue", "scheduler", "firehose/...", "firehose/firehosetest"}},

	{packages: "internal/packed", never: []string{"net", "os", "database/sql"}},

	{packages: "resource", ours: []string{"internal/packed"}, never: []string{"net", "os/exec", "database/sql"}},
	{packages: "resource/ietf", ours: []string{"resource"}, others: []string{httpsfv}, never: []string{"net", "os/exec", "database/sql"}},
	{packages: "resource/...", ours: []string{"resource"}, never: []string{"net", "os/exec", "database/sql"}},

	{packages: "db", tests: []string{"db/dbtest"}, never: []string{"net/http"}},
	{packages: "db/...", ours: []string{"db"}, tests: []string{"db/dbtest"}},
	{packages: "db/dbtest", ours: []string{"db"}, others: []string{testify, porcupine}},

	{packages: "queue", ours: []string{"resource", "db", "internal/packed"}, tests: []string{"queue/queuetest", "db/dbtest"}},
	{packages: "queue/...", ours: []string{"queue", "resource", "db"}, tests: []string{"queue/queuetest", "db/dbtest"}},
	{packages: "queue/queuetest", ours: []string{"queue", "resource", "db"}, tests: []string{"db/dbtest"}, others: []string{testify}},

	{packages: "scheduler/...", others: []string{cron}, never: []string{"net/http"}},

	{
		packages: "firehose",
		ours:     []string{"resource/...", "db", "queue", "scheduler"},
		tests:    []string{"firehose/firehosetest", "firehose/feeds", "queue/queuetest", "db/dbtest"},
		others:   []string{rate},
	},
	{
		packages: "firehose/...",
		ours:     []string{"firehose", "resource/...", "db", "queue", "scheduler"},
		tests:    []string{"firehose/firehosetest", "queue/queuetest", "db/dbtest"},
		others:   []string{rate},
	},
	// Readers of feeds are pure functions of a response.
	{
		packages: "firehose/feeds",
		ours:     []string{"firehose", "resource/..."},
		never:    []string{"net", "net/http", "os", "database/sql", "math/rand/v2"},
	},
	// The oracle must not share a mistake with what it judges.
	{packages: "firehose/firehosetest"},
	{
		packages: "firehose/cmd/...",
		ours:     []string{"firehose/...", "firehose/firehosetest", "resource/...", "db", "queue", "scheduler"},
		others:   []string{tint},
	},

	{
		packages: "examples/...",
		ours:     []string{"examples/...", "firehose/...", "firehose/firehosetest", "resource/...", "db", "queue", "scheduler"},
		tests:    []string{"queue/queuetest", "db/dbtest"},
		others:   []string{tint},
	},
	{
		packages: "internal/...",
		ours: []string{
			"internal/...", "firehose/...", "firehose/firehosetest", "resource/...",
			"db/...", "db/dbtest", "queue/...", "queue/queuetest", "scheduler",
		},
		others: []string{tint},
	},
}

// Adapters with dependencies of their own are nested modules: anything of
// others', and of ours what a user could import.
var nestedRule = rule{
	ours:  []string{"firehose", "resource/...", "db", "queue", "scheduler"},
	tests: []string{"firehose/firehosetest", "queue/queuetest", "db/dbtest", "internal/..."},
}

// Examples of adapters are nested modules that may import adapters, too.
var nestedExampleRule = rule{
	ours:  []string{"firehose/...", "firehose/firehosetest", "resource/...", "db/...", "queue/...", "scheduler"},
	tests: []string{"internal/..."},
}

// The histories of all stores are a nested module, too: tests alone, which may
// import every adapter of db.
var historiesRule = rule{tests: []string{"db/...", "db/dbtest", "internal/..."}}

func imports(p *pkg, nested []string) []finding {
	var found []finding
	for _, file := range p.files {
		for _, spec := range file.ast.Imports {
			target, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue // the compiler's business
			}
			if why := refuse(p, file.test, target, nested); why != "" {
				found = append(found, p.find(spec, "%s", why))
			}
		}
	}
	if p.module == module {
		if _, ok := ruleFor(folder(p.path)); !ok {
			found = append(found, p.find(p.files[0].ast, "package %s has no line in the import table", folder(p.path)))
		}
	}
	return found
}

// refuse says why a file of p must not import target, or nothing.
func refuse(p *pkg, test bool, target string, nested []string) string {
	from := folder(p.path)
	r, ok := ruleFor(from)
	if p.module != module {
		r, ok = nestedRule, true
		switch {
		case from == "internal/histories":
			r, nested = historiesRule, nil
		case strings.HasPrefix(from, "examples/"):
			r = nestedExampleRule
			nested = slices.DeleteFunc(slices.Clone(nested), func(m string) bool {
				return !strings.HasPrefix(folder(m), "examples/")
			})
		}
		if !isOurs(target) || target == p.module || strings.HasPrefix(target, p.module+"/") {
			return ""
		}
	}
	switch {
	case !ok:
		return "" // reported once, by imports
	case isOurs(target):
		return refuseOurs(r, from, test, target, nested)
	case isStandard(target):
		if slices.Contains(r.never, target) && !test {
			return fmt.Sprintf("%s must not import %q", from, target)
		}
		return ""
	}
	allowed := r.others
	if test {
		allowed = slices.Concat(allowed, testModules)
	}
	for _, m := range allowed {
		if target == m || strings.HasPrefix(target, m+"/") {
			return ""
		}
	}
	return fmt.Sprintf("%s must not import %q; of others' modules it may import %v", from, target, allowed)
}

func refuseOurs(r rule, from string, test bool, target string, nested []string) string {
	for _, m := range nested {
		if target == m || strings.HasPrefix(target, m+"/") {
			return fmt.Sprintf("%s must not import %q, a module that imports ours", from, target)
		}
	}
	to := folder(target)
	allowed := r.ours
	if test {
		allowed = slices.Concat(allowed, r.tests)
	}
	top, _, _ := strings.Cut(from, "/")
	switch {
	case test && to == from: // an external test of its own package
		return ""
	case strings.HasPrefix(to, top+"/internal/"):
		return ""
	case slices.Contains(testKits, to) && !slices.Contains(allowed, to):
		return fmt.Sprintf("%s must not import %q, a test kit", from, target)
	case slices.ContainsFunc(allowed, func(p string) bool { return matches(p, to) }):
		return ""
	}
	return fmt.Sprintf("%s must not import %q; of ours it may import %v", from, target, allowed)
}

func ruleFor(folder string) (rule, bool) {
	var best rule
	for _, r := range importTable {
		if r.packages == folder {
			return r, true
		}
		if matches(r.packages, folder) && len(r.packages) > len(best.packages) {
			best = r
		}
	}
	return best, best.packages != ""
}

func matches(pattern, folder string) bool {
	prefix, all := strings.CutSuffix(pattern, "/...")
	return folder == prefix || all && strings.HasPrefix(folder, prefix+"/")
}

func isOurs(path string) bool {
	return path == module || strings.HasPrefix(path, module+"/")
}

// isStandard tells by the rule that the go command keeps: a first element with
// a dot is somebody's host.
func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// folder is the import path below the module; "." for the module itself.
func folder(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

func TestImports(t *testing.T) {
	const kafka = module + "/queue/kafka"
	tests := []struct {
		from, file, target string
		want               string // empty: allowed
	}{
		{"resource", "a.go", "net/http", ""},
		{"resource", "a.go", "net", `resource must not import "net"`},
		{"resource", "a_test.go", "net", ""},
		{"resource", "a.go", module + "/queue", "resource must not import"},
		{"resource", "a_test.go", module + "/queue/queuetest", "a test kit"},
		{"resource", "a_test.go", module + "/resource", ""},
		{"resource", "a.go", module + "/resource/internal/sf", ""},
		{"resource", "a.go", module + "/resource/ietf", "resource must not import"},
		{"resource", "a.go", rate + "/rate", "resource must not import"},
		{"resource", "a_test.go", testify + "/require", ""},
		{"resource", "a.go", testify + "/require", "others' modules"},
		{"resource/ietf", "a.go", module + "/resource", ""},
		{"resource/ietf", "a.go", httpsfv, ""},
		{"resource", "a.go", httpsfv, "others' modules"},

		{"db", "a.go", module + "/resource", "db must not import"},
		{"db", "a.go", module + "/db/dbtest", "a test kit"},
		{"db", "a_test.go", module + "/db/dbtest", ""},
		{"db/dbtest", "a.go", porcupine, ""},
		{"db", "a.go", porcupine, "others' modules"},
		{"db", "a_test.go", porcupine, ""},

		{"queue", "a.go", module + "/resource", ""},
		{"queue", "a.go", module + "/db", ""},
		{"queue", "a.go", module + "/scheduler", "queue must not import"},
		{"queue", "a.go", module + "/firehose", "queue must not import"},
		{"queue", "a.go", kafka, "a module that imports ours"},
		{"queue", "a_test.go", module + "/queue/queuetest", ""},
		{"queue/queuetest", "a.go", testify + "/require", ""},
		{"queue/queuetest", "a.go", porcupine, "others' modules"},

		{"scheduler", "a.go", module + "/resource", "scheduler must not import"},
		{"scheduler", "a.go", "net/http", `scheduler must not import "net/http"`},

		{"firehose", "a.go", module + "/scheduler", ""},
		{"firehose", "a.go", rate + "/rate", ""},
		{"firehose", "a.go", tint, "others' modules"},
		{"firehose", "a.go", module + "/firehose/firehosetest", "a test kit"},
		{"firehose", "a_test.go", module + "/firehose/firehosetest", ""},
		{"firehose", "a.go", module + "/examples/firehose", "firehose must not import"},
		{"firehose/firehosetest", "a.go", module + "/resource", "firehosetest must not import"},
		{"firehose/firehosetest", "a_test.go", module + "/firehose", "firehosetest must not import"},
		{"firehose/cmd/origin", "a.go", module + "/firehose/firehosetest", ""},
		{"firehose/cmd/origin", "a.go", tint, ""},
		{"firehose/feeds", "a.go", module + "/firehose", ""},
		{"firehose/feeds", "a.go", module + "/db", "firehose/feeds must not import"},
		{"firehose/feeds", "a.go", "net/http", `firehose/feeds must not import "net/http"`},
		{"firehose/feeds", "a.go", rate + "/rate", "others' modules"},

		{"examples/firehose", "a.go", module + "/firehose/firehosetest", ""},
		{"examples/customqueue/run", "a.go", module + "/examples/customqueue", ""},
		{"examples/customqueue", "a_test.go", module + "/queue/queuetest", ""},
		{"examples/customqueue", "a.go", module + "/queue/queuetest", "a test kit"},
		{"internal/prove", "a.go", module + "/firehose/firehosetest", ""},
		{"internal/prove", "a.go", module + "/examples/firehose", "internal/prove must not import"},

		{"surprise", "a.go", "fmt", "no line in the import table"},
	}
	for _, test := range tests {
		t.Run(test.from+" "+test.file+" "+test.target, func(t *testing.T) {
			p := madeUp(t, test.from, test.file, fmt.Sprintf("import _ %q\n", test.target))
			got := imports(p, []string{kafka})
			if test.want == "" {
				wantFindings(t, got)
			} else {
				wantFindings(t, got, test.want)
			}
		})
	}
	t.Run("nested module", func(t *testing.T) {
		p := madeUp(t, "queue/kafka", "a.go", fmt.Sprintf("import (\n_ %q\n_ %q\n_ %q\n_ %q\n)\n",
			"github.com/twmb/franz-go/pkg/kgo", module+"/queue", module+"/examples/firehose", kafka+"/internal/x"))
		p.module = kafka
		wantFindings(t, imports(p, []string{kafka}), "a.go:5: queue/kafka must not import")
	})
	t.Run("nested example", func(t *testing.T) {
		const example, other = module + "/examples/durable", module + "/examples/cluster"
		p := madeUp(t, "examples/durable", "a.go", fmt.Sprintf("import (\n_ %q\n_ %q\n_ %q\n_ %q\n)\n",
			kafka, module+"/firehose/firehosetest", other, module+"/queue/queuetest"))
		p.module = example
		wantFindings(t, imports(p, []string{kafka, example, other}), "a.go:5: examples/durable must not import", "a.go:6: examples/durable must not import")
	})
	t.Run("histories", func(t *testing.T) {
		const cassandra = module + "/db/cassandra"
		text := fmt.Sprintf("import (\n_ %q\n_ %q\n_ %q\n)\n", cassandra, module+"/internal/servers", module+"/firehose")
		for file, want := range map[string][]string{
			"a.go":      {"a.go:3: internal/histories must not import", "a.go:4: internal/histories must not import", "a.go:5: internal/histories must not import"},
			"a_test.go": {"a_test.go:5: internal/histories must not import"},
		} {
			p := madeUp(t, "internal/histories", file, text)
			p.module = p.path
			wantFindings(t, imports(p, []string{cassandra, p.path}), want...)
		}
	})
}
