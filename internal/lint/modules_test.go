package lint

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"
)

// The version that go.mod names: the first patch release, so that nobody who
// imports us has to move to a later one.
const goVersion = "1.26.0"

// What the root module may require. Whoever imports it gets these and no more.
var (
	directModules = []string{rate, tint, testify, porcupine, cron, httpsfv}
	// What testify brings.
	indirectModules = []string{
		"github.com/davecgh/go-spew", "github.com/pmezard/go-difflib", "github.com/stretchr/objx",
		"go.yaml.in/yaml/v3", "gopkg.in/yaml.v3",
	}
)

// A modFile is what "go mod edit -json" and "go work edit -json" print.
type modFile struct {
	Go, Toolchain string
	Require       []struct {
		Path     string
		Indirect bool
	}
	Exclude, Replace, Tool, Ignore []any
}

func requirements(m modFile) []string {
	var wrong []string
	if m.Go != goVersion {
		wrong = append(wrong, "go "+m.Go+", not "+goVersion)
	}
	if m.Toolchain != "" {
		wrong = append(wrong, "toolchain "+m.Toolchain)
	}
	for _, r := range m.Require {
		known := slices.Contains(directModules, r.Path) || r.Indirect && slices.Contains(indirectModules, r.Path)
		if !known {
			wrong = append(wrong, "requires "+r.Path)
		}
	}
	// These mean nothing to those who import us, or tie them to tools of ours.
	for name, list := range map[string][]any{"exclude": m.Exclude, "replace": m.Replace, "tool": m.Tool} {
		if len(list) > 0 {
			wrong = append(wrong, name+" directive")
		}
	}
	slices.Sort(wrong)
	return wrong
}

func TestRootModule(t *testing.T) {
	root := load(t).root
	for _, what := range []string{"mod", "work"} {
		var m modFile
		file := filepath.Join(root, "go."+what)
		if err := json.Unmarshal(goCommand(t, what, "edit", "-json", file), &m); err != nil {
			t.Fatal(err)
		}
		if wrong := requirements(m); len(wrong) > 0 {
			t.Errorf("%s: %q", file, wrong)
		}
	}
}

func TestRequirements(t *testing.T) {
	tests := []struct {
		name, json string
		want       []string
	}{
		{"empty", `{"Go": "1.26.0"}`, nil},
		{"allowed", `{"Go": "1.26.0", "Require": [
			{"Path": "golang.org/x/time"}, {"Path": "github.com/stretchr/testify"},
			{"Path": "go.yaml.in/yaml/v3", "Indirect": true}]}`, nil},
		{"foreign", `{"Go": "1.26.0", "Require": [{"Path": "github.com/robfig/cron/v3"}]}`,
			[]string{"requires github.com/robfig/cron/v3"}},
		{"indirect made direct", `{"Go": "1.26.0", "Require": [{"Path": "go.yaml.in/yaml/v3"}]}`,
			[]string{"requires go.yaml.in/yaml/v3"}},
		{"patch release", `{"Go": "1.26.8", "Toolchain": "go1.26.8"}`,
			[]string{"go 1.26.8, not 1.26.0", "toolchain go1.26.8"}},
		{"directives", `{"Go": "1.26.0", "Replace": [{}], "Tool": [{}], "Exclude": [{}]}`,
			[]string{"exclude directive", "replace directive", "tool directive"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var m modFile
			if err := json.Unmarshal([]byte(test.json), &m); err != nil {
				t.Fatal(err)
			}
			if got := requirements(m); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
