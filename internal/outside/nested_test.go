//go:build integration

package outside

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Each nested module that users may import can be had by an empty module, with
// the root that it requires, from a proxy made of the tree.
func TestNestedModules(t *testing.T) {
	root, _ := checkout(t)
	nested := nestedModules(t, root)
	proxy := filepath.Join(t.TempDir(), "proxy")
	if err := publish(proxy, root, module, version); err != nil {
		t.Fatal(err)
	}
	for path, dir := range nested {
		if err := publish(proxy, dir, path, version); err != nil {
			t.Fatal(err)
		}
	}
	cache := filepath.Join(t.TempDir(), "cache")
	for path, dir := range nested {
		t.Run(strings.TrimPrefix(path, module+"/"), func(t *testing.T) {
			// What it trusts needs no second opinion, as for the root.
			o := newOutsider(t, root, nil)
			o.write("go.mod", "module example.com/outside\n\ngo 1.26.0\n")
			o.write("go.sum", read(t, filepath.Join(dir, "go.sum")))
			programs, err := filepath.Glob(filepath.Join(o.dir, "*.go"))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range programs {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			}
			o.write("main.go", fmt.Sprintf("package main\n\nimport _ %q\n\nfunc main() {}\n", path))
			o.proxies = slices.Insert(o.proxies, 0, fileURL(proxy))
			o.env = append(o.env, "GOMODCACHE="+cache, "GONOSUMDB="+module+","+module+"/*")
			o.run("get", path+"@"+version)
			o.run("mod", "tidy")
			o.run("vet", "./...")
			if got := strings.TrimSpace(o.run("list", "-m", "-f", "{{.Version}}", module)); got != version {
				t.Errorf("%s brings the root at %s, not %s", path, got, version)
			}
		})
	}
}

// nestedModules returns the folders of the modules in the workspace that others
// can import, by path.
func nestedModules(t *testing.T, root string) map[string]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Path}} {{.Dir}}")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		parts := strings.Split(path, "/")
		if path != module && !slices.Contains(parts, "internal") && !slices.Contains(parts, "examples") {
			found[path] = dir
		}
	}
	if len(found) == 0 {
		t.Fatal("the workspace has no nested module")
	}
	return found
}
