package outside

import (
	"archive/zip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// publish writes the module in root as one version of a file-system module
// proxy: proxy/<module>/@v/{list,<version>.info,<version>.mod,<version>.zip}.
func publish(proxy, root, module, version string) error {
	dir := filepath.Join(proxy, filepath.FromSlash(module), "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("publish %s: %w", module, err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return fmt.Errorf("publish %s: %w", module, err)
	}
	info := fmt.Sprintf("{\"Version\":%q,\"Time\":%q}\n", version, time.Unix(0, 0).UTC().Format(time.RFC3339))
	for name, content := range map[string]string{
		"list":            version + "\n",
		version + ".info": info,
		version + ".mod":  string(mod),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return fmt.Errorf("publish %s: %w", module, err)
		}
	}
	archive, err := os.Create(filepath.Join(dir, version+".zip"))
	if err != nil {
		return fmt.Errorf("publish %s: %w", module, err)
	}
	defer archive.Close() // harmless after the Close below
	if err := writeZip(archive, root, module+"@"+version+"/"); err != nil {
		return fmt.Errorf("publish %s: %w", module, err)
	}
	return archive.Close()
}

// writeZip packs the files that belong to the module: regular ones, outside
// version control, vendor folders and nested modules.
func writeZip(w io.Writer, root, prefix string) error {
	archive := zip.NewWriter(w)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if path != root && leftOut(path, entry.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return addFile(archive, prefix+filepath.ToSlash(name), path)
	})
	if err != nil {
		return err
	}
	return archive.Close()
}

func leftOut(dir, name string) bool {
	if name == ".git" || name == "vendor" {
		return true
	}
	_, err := os.Lstat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func addFile(archive *zip.Writer, name, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	w, err := archive.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, file)
	return err
}

func TestPublish(t *testing.T) {
	root, proxy := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		"go.mod":               "module example.com/m\n",
		"a.go":                 "package m\n",
		"sub/b.go":             "package sub\n",
		"sub/testdata/c.txt":   "c",
		".ci/run":              "exit 0\n",
		".git/config":          "",
		"nested/go.mod":        "module example.com/m/nested\n",
		"nested/d.go":          "package nested\n",
		"vendor/e.org/e/e.go":  "package e\n",
		"sub/vendor/f.org/f.x": "f",
	} {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := publish(proxy, root, "example.com/m", "v1.2.3"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(proxy, "example.com", "m", "@v")
	if got := read(t, filepath.Join(dir, "list")); got != "v1.2.3\n" {
		t.Errorf("list: %q", got)
	}
	if got := read(t, filepath.Join(dir, "v1.2.3.mod")); got != "module example.com/m\n" {
		t.Errorf("mod: %q", got)
	}
	if got := read(t, filepath.Join(dir, "v1.2.3.info")); !strings.Contains(got, `"Version":"v1.2.3"`) {
		t.Errorf("info: %q", got)
	}
	archive, err := zip.OpenReader(filepath.Join(dir, "v1.2.3.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	var names []string
	for _, file := range archive.File {
		names = append(names, strings.TrimPrefix(file.Name, "example.com/m@v1.2.3/"))
	}
	slices.Sort(names)
	if want := []string{".ci/run", "a.go", "go.mod", "sub/b.go", "sub/testdata/c.txt"}; !slices.Equal(names, want) {
		t.Errorf("packed %q, want %q", names, want)
	}
}
