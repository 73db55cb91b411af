package outside

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	module  = "github.com/cannedos/cannedos"
	version = "v0.1.0"

	// A program's name ends in .txt, so that nothing takes it for our own code.
	program = "testdata/program"
)

func TestReplace(t *testing.T) {
	root, public := checkout(t)
	o := newOutsider(t, root, public)
	o.write("go.mod", fmt.Sprintf("%s\nreplace %s => %s\n", goMod, module, root))
	o.buildAndRun()
}

func TestProxy(t *testing.T) {
	root, public := checkout(t)
	o := newOutsider(t, root, public)
	o.write("go.mod", goMod)

	proxy := filepath.Join(t.TempDir(), "proxy")
	if err := publish(proxy, root, module, version); err != nil {
		t.Fatal(err)
	}
	o.proxies = slices.Insert(o.proxies, 0, fileURL(proxy))
	// A cache of its own: the machine's would keep this version for ever.
	o.env = append(o.env, "GOMODCACHE="+filepath.Join(t.TempDir(), "cache"), "GONOSUMDB="+module)
	o.buildAndRun()

	where := o.run("list", "-m", "-f", "{{.Dir}}", module)
	if strings.HasPrefix(strings.TrimSpace(where), root) {
		t.Errorf("the module was taken from the checkout: %s", where)
	}
}

const goMod = `module example.com/outside

go 1.26.0

require ` + module + " " + version + "\n"

// An outsider is a module in a folder of its own.
type outsider struct {
	t       *testing.T
	dir     string
	proxies []string // asked in this order
	env     []string
}

func newOutsider(t *testing.T, root string, public []string) *outsider {
	t.Helper()
	o := &outsider{t: t, dir: t.TempDir()}
	files, err := filepath.Glob(filepath.Join(program, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no program in %s: %v", program, err)
	}
	for _, file := range files {
		o.write(strings.TrimSuffix(filepath.Base(file), ".txt"), read(t, file))
	}
	var imports strings.Builder
	for _, path := range public {
		fmt.Fprintf(&imports, "\t_ %q\n", path)
	}
	o.write("imports.go", "package main\n\nimport (\n"+imports.String()+")\n")
	// The checksums that the checkout trusts need no second opinion.
	o.write("go.sum", read(t, filepath.Join(root, "go.sum")))

	// What the tests of the checkout have downloaded serves as a proxy, too, so
	// that a machine without a network can run this.
	downloaded := filepath.Join(goEnv(t, "GOMODCACHE"), "cache", "download")
	o.proxies = []string{fileURL(downloaded), goEnv(t, "GOPROXY")}
	return o
}

func (o *outsider) write(name, text string) {
	o.t.Helper()
	if err := os.WriteFile(filepath.Join(o.dir, name), []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
}

// buildAndRun does what a user would, from the first "go mod tidy" on.
func (o *outsider) buildAndRun() {
	o.t.Helper()
	o.run("mod", "tidy")
	o.run("vet", "./...")
	o.run("run", ".")
	o.run("test", "./...")
}

// run runs the go command in the outsider's module, and returns what it
// printed on standard output.
func (o *outsider) run(args ...string) string {
	o.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(o.t.Context(), "go", args...)
	cmd.Dir = o.dir
	cmd.Env = slices.Concat(os.Environ(), []string{
		"GOWORK=off",
		// A writable cache, which the test can remove.
		"GOFLAGS=-mod=mod -modcacherw -buildvcs=false",
		"GOPROXY=" + strings.Join(o.proxies, ","),
		"PWD=" + o.dir,
	}, o.env)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	o.t.Logf("go %s\n%s%s", strings.Join(args, " "), stdout.Bytes(), stderr.Bytes())
	if err != nil {
		o.t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return stdout.String()
}

// checkout finds the root of the module and the packages that others can
// import, as far as they exist.
func checkout(t *testing.T) (root string, public []string) {
	t.Helper()
	root = strings.TrimSpace(goHere(t, "list", "-m", "-f", "{{.Dir}}", module))
	for line := range strings.Lines(goHere(t, "list", "-find", "-f", "{{.Name}} {{len .GoFiles}} {{.ImportPath}}", module+"/...")) {
		var name, path string
		var files int
		if _, err := fmt.Sscan(line, &name, &files, &path); err != nil {
			t.Fatalf("go list: %q: %v", line, err)
		}
		internal := slices.Contains(strings.Split(path, "/"), "internal")
		if name != "main" && files > 0 && !internal {
			public = append(public, path)
		}
	}
	return root, public
}

// goHere runs the go command in the checkout, without its workspace: nested
// modules are other modules.
func goHere(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(goHere(t, "env", name))
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func fileURL(dir string) string {
	slashed := filepath.ToSlash(dir)
	if !strings.HasPrefix(slashed, "/") { // a Windows drive
		slashed = "/" + slashed
	}
	return "file://" + slashed
}
