package lint

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestChecksScript proves .ci/checks, by a tree made up to break each rule and
// one that comes close to each without breaking it. Lines are put together at
// run time where this file itself would break the rule.
func TestChecksScript(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash: install it to test .ci/checks")
	}
	script := filepath.Join(load(t).root, ".ci", "checks")
	if _, err := os.Stat(script); err != nil {
		t.Skip("no .ci/checks in this copy of the module: run the test in a checkout")
	}
	x := func(n int) string { return strings.Repeat("x", n) }
	tests := []struct {
		rule, file string
		bad, good  string
	}{
		{"GitHub token", "a.go", `t := "` + "ghp" + "_" + x(36) + `"`, `t := "ghp_" + strings.Repeat("x", 36)`},
		{"GitHub token", "README.md", "github" + "_pat_" + x(40), "set GITHUB_TOKEN to github_pat_..."},
		{"GitLab token", "a.go", "gl" + "pat-" + x(20), "glpat-..."},
		{"AWS key", "a.sh", "AK" + "IA" + strings.Repeat("A", 16), "AKIA..."},
		{"Google key", "a.go", "AI" + "za" + x(35), "AIza"},
		{"Slack token", "a.go", "xo" + "xb-" + x(12), "xoxb-..."},
		{"secret key", "a.go", "sk" + "_live_" + x(20), "task_live_1"},
		{"JSON web token", "a.go", "ey" + "J" + x(12) + ".ey" + "J" + x(12), "eyJ"},
		{"private key", "a.pem", "-----BEGIN RSA PRIVATE" + " KEY-----", "BEGIN PUBLIC KEY"},
		{"bearer token", "a.go", `"Bearer ` + x(30) + `"`, `"Bearer " + token`},
		{"password in a URL", "a.go", "https://user:" + x(14) + "@example.org/", "https://user:pw@example.org/ https://[::1]:8080/@x"},
		{"credential literal", "a.go", `token := "` + x(40) + `"`, `token := "` + x(40) + `" // not a secret`},

		{"unfinished", "a.go", "// TO" + "DO: more", "// to do: TODOS"},
		{"unfinished", "doc.md", "FIX" + "ME", "fixme XXXX"},
		{"merge marker", "a.md", "<<<<<<" + "< HEAD", "<<<<<<<HEAD ======="},
		{"registry host", "a.sh", "curl https://proxy." + "golang.org/x", "https://golang.org/x https://pkg.go.dev/x"},
		{"path of one machine", "a.go", `open("/` + `work/shared/x")`, `open("../shared"); get("/workspace"); "https://x.org/home/a"`},
		{"path of one machine", "a.sh", "cd /" + "root", "cd $HOME; ls ./root/x"},
		{"issue number", "a.go", "// see issue " + "12", "// go.dev/issue/12, an issue 12th"},

		{"math/rand", "a.go", "import \"math/" + "rand\"", "import \"math/rand/v2\""},
		{"init function", "a.go", "func " + "init() {}", "func initialise() {}\n// func init() {}"},
		{`"failed to" in an error`, "a.go", `errors.New("failed ` + `to open")`, `errors.New("open: has failed")`},
		{"name it", "a.go", "// Limit: -1 " + "disables it", "// Limit: -1 is refused"},
		{"wall-clock sleep", "a_test.go", "\ttime.Slee" + "p(time.Second)", "\t// never time.Sleep(x)\n\ts := \"time.Sleep(x)\""},
		{"skip without a reason", "a_test.go", "\tt.Skip" + "()", "\td.Skip()"},
		{"skip that doesn't say what to start", "a_test.go", "\tt.Ski" + "p(\"flaky\")", "\tt.Skipf(\"no nginx: install %s\", x)"},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			out, failed := runChecks(t, script, test.file, "package p\n"+test.bad+"\n")
			prefix := test.file + ":2: "
			if !failed || !strings.Contains(out, prefix) || !strings.Contains(out, test.rule) {
				t.Errorf("%q passes, or isn't reported as %q:\n%s", test.bad, prefix+test.rule, out)
			}
			if out, failed := runChecks(t, script, test.file, "package p\n"+test.good+"\n"); failed {
				t.Errorf("%q is refused:\n%s", test.good, out)
			}
		})
	}
	t.Run("sleep in a bubble", func(t *testing.T) {
		out, failed := runChecks(t, script, "a_test.go", "package p\nimport (\n\t\"testing/synctest\"\n)\nfunc f() { time.Slee"+"p(1) }\n")
		if failed {
			t.Errorf("refused:\n%s", out)
		}
	})
	t.Run("long file", func(t *testing.T) {
		out, failed := runChecks(t, script, "a.go", "package p\n"+strings.Repeat("\n", 600))
		if failed || !strings.Contains(out, "a.go:601: note: over 500 lines") {
			t.Errorf("failed %v:\n%s", failed, out)
		}
	})
}

// runChecks runs the script on a tree of one file.
func runChecks(t *testing.T, script, file, text string) (out string, failed bool) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	printed, err := exec.CommandContext(t.Context(), "bash", script, dir).CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return string(printed), err != nil
}
