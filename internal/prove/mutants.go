package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	mutatedPackage = "./resource"
	mutantList     = "resource/MUTANTS.md"
	mutationTool   = "github.com/go-gremlins/gremlins"
	minKilled      = 0.85 // of all mutants that compile
)

// mutators turns on what is off by default. Mutants of negatives stay off: of a minus they
// are what arithmetic makes of it once more.
func mutators() []string {
	return []string{
		"--invert-assignments", "--invert-bitwise", "--invert-bwassign", "--invert-logical", "--invert-loopctrl",
		"--remove-self-assignments", "--invert-negatives=false",
	}
}

//go:embed gowrapper.sh
var goWrapper string

// mutantFigures are the outcome of a run. Share is killed of all mutants that
// compile: one that no test reaches, or that makes the tests hang, is not killed.
type mutantFigures struct {
	Tool       string   `json:"tool"`
	Mutants    int      `json:"mutants"`
	Killed     int      `json:"killed"`
	Survived   int      `json:"survived"`
	NotCovered int      `json:"notCovered"`
	TimedOut   int      `json:"timedOut"`
	NotViable  int      `json:"notViable"` // they don't compile, and count for nothing
	Share      float64  `json:"share"`
	Unlisted   []string `json:"unlisted,omitempty"` // rows that the list lacks
	Stale      []string `json:"stale,omitempty"`    // rows of mutants that are killed
}

// mutants changes package resource and those below it, one operator at a time,
// and counts the changes that their tests notice. Files limits it to those whose
// path below the package matches. Survivors have to be in the list.
func mutants(files string, stderr io.Writer) (json.RawMessage, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	figures := mutantFigures{}
	tool, err := findTool(&figures)
	if err != nil {
		return nil, err
	}
	args, included, err := only(files)
	if err != nil {
		return nil, err
	}
	env, err := mutantEnv(dir)
	if err != nil {
		return nil, err
	}
	command := func(name string, args ...string) error {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Env, cmd.Stdout, cmd.Stderr = env, stderr, stderr
		cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(os.Interrupt) }, time.Minute
		return cmd.Run()
	}
	// The tool multiplies the time of its first run, which this keeps from being
	// one of compiling everything, and the wrapper from being too short.
	if err := command(filepath.Join(dir, "bin", "go"), "test", "-cover", mutatedPackage+"/..."); err != nil {
		return nil, fmt.Errorf("tests without mutants: %w", err)
	}
	output := filepath.Join(dir, "output.json")
	args = append(append([]string{"unleash", "--workers=1", "--timeout-coefficient=15", "--output=" + output}, mutators()...), args...)
	err = command(tool, append(args, mutatedPackage)...)
	if err = errors.Join(err, ctx.Err()); err != nil { // an interrupt is no error to the tool
		return nil, fmt.Errorf("mutation tool: %w", err)
	}
	if err := figures.read(output, filepath.Join(dir, "profile"), included); err != nil {
		return nil, err
	}
	line, err := json.Marshal(figures)
	if figures.Share < minKilled {
		err = errors.Join(err, fmt.Errorf("%.1f %% of the mutants were killed, %.0f %% are wanted", 100*figures.Share, 100*minKilled))
	}
	if n := len(figures.Unlisted); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d survivors are not in %s", n, mutantList))
	}
	return line, err
}

// findTool returns the path of the tool, which is pinned in tools/go.mod.
func findTool(figures *mutantFigures) (string, error) {
	inTools := func(args ...string) (string, error) {
		cmd := exec.Command("go", args...)
		cmd.Env, cmd.Stderr = append(os.Environ(), "GOWORK=off"), os.Stderr
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	version, err := inTools("list", "-modfile=tools/go.mod", "-m", "-f", "{{.Path}}@{{.Version}}", mutationTool)
	if err != nil {
		return "", fmt.Errorf("version of the mutation tool: %w", err)
	}
	figures.Tool = version
	path, err := inTools("tool", "-modfile=tools/go.mod", "-n", "gremlins")
	if err != nil {
		return "", fmt.Errorf("build the mutation tool: %w", err)
	}
	return path, nil
}

// only returns the flags that exclude all other files, and which are included.
func only(files string) (flags []string, included func(string) bool, err error) {
	pattern, err := regexp.Compile(files)
	if err != nil {
		return nil, nil, err
	}
	err = filepath.WalkDir(mutatedPackage, func(path string, d os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		if rel, _ := filepath.Rel(mutatedPackage, path); !pattern.MatchString(rel) {
			flags = append(flags, "--exclude-files=^"+regexp.QuoteMeta(rel)+"$")
		}
		return nil
	})
	return flags, pattern.MatchString, err
}

// mutantEnv puts the wrapper in the place of the go command, with a cache of its
// own: what is compiled of a mutant is never used again. Compiling is most of the
// work, and a fifth of that is collecting garbage.
func mutantEnv(dir string) ([]string, error) {
	command, err := exec.LookPath("go")
	if err != nil {
		return nil, err
	}
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(goWrapper), 0o700); err != nil {
		return nil, err
	}
	flags := os.Getenv("GOFLAGS") + " -count=1 -vet=off -ldflags=-w -gcflags=-dwarf=false"
	return append(os.Environ(),
		"REAL_GO="+command, "KEEP_PROFILE="+filepath.Join(dir, "profile"), "TMPDIR="+dir,
		"PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "GOCACHE="+filepath.Join(dir, "cache"), "GOFLAGS="+strings.TrimSpace(flags),
		"GOGC=off", "GOMEMLIMIT=2GiB",
	), nil
}

// read counts what the tool has found, and compares it with the list.
func (f *mutantFigures) read(output, profile string, included func(string) bool) error {
	var report struct {
		Files []struct {
			Name    string   `json:"file_name"`
			Mutants []mutant `json:"mutations"`
		} `json:"files"`
	}
	text, err := os.ReadFile(output)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return fmt.Errorf("report of the mutation tool: %w", err)
	}
	reached, err := readProfile(profile)
	if err != nil {
		return err
	}
	var survivors []row
	for _, file := range report.Files {
		lines, err := sourceLines(file.Name)
		if err != nil {
			return err
		}
		for _, m := range file.Mutants {
			switch {
			case m.Status == "KILLED":
				f.Killed++
				continue
			case m.Status == "NOT VIABLE":
				f.NotViable++
				continue
			case m.Status == "TIMED OUT":
				f.TimedOut++
			case m.Status == "LIVED" && reached(file.Name, m.Line, m.Column):
				f.Survived++
			default:
				f.NotCovered++
			}
			code, err := m.apply(lines)
			if err != nil {
				return fmt.Errorf("%s:%d: %w", file.Name, m.Line, err)
			}
			survivors = append(survivors, row{file: file.Name, code: code})
		}
	}
	f.Mutants = f.Killed + f.Survived + f.NotCovered + f.TimedOut
	if f.Mutants == 0 {
		return errors.New("there were no mutants")
	}
	f.Share = math.Floor(1e4*float64(f.Killed)/float64(f.Mutants)) / 1e4
	return f.compare(survivors, included)
}

// compare fills in where the list is wrong.
func (f *mutantFigures) compare(survivors []row, included func(string) bool) error {
	text, err := os.ReadFile(mutantList)
	if err != nil {
		return err
	}
	listed, err := parseRows(string(text))
	if err != nil {
		return err
	}
	for _, s := range survivors {
		if !slices.ContainsFunc(listed, s.same) {
			f.Unlisted = append(f.Unlisted, s.String())
		}
	}
	for _, l := range listed {
		if included(l.file) && !slices.ContainsFunc(survivors, l.same) {
			f.Stale = append(f.Stale, l.String())
		}
	}
	slices.Sort(f.Unlisted)
	slices.Sort(f.Stale)
	return nil
}
