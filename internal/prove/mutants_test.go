package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMutantList holds the list of survivors to the code: each row is a line of
// its file with one operator changed, in one of the ways that the tool knows.
// Whether it survives only a run of the tool can tell.
func TestMutantList(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	text, err := os.ReadFile(mutantList)
	require.NoError(t, err)
	rows, err := parseRows(string(text))
	require.NoError(t, err)
	for i, r := range rows {
		lines, err := sourceLines(r.file)
		require.NoError(t, err)
		isMutant := func(line string) bool { return mutantOf(strings.TrimSpace(line), r.code) }
		require.True(t, slices.ContainsFunc(lines, isMutant), "no line of the code is a change away: %s", r)
		require.False(t, slices.ContainsFunc(rows[:i], r.same), "listed twice: %s", r)
	}
}

// mutantOf reports whether code is the line with one operator changed. The two
// begin to differ inside the operator.
func mutantOf(line, code string) bool {
	same := 0
	for same < min(len(line), len(code)) && line[same] == code[same] {
		same++
	}
	for column := max(0, same-2); column <= same; column++ {
		for _, kind := range kinds {
			m := mutant{Type: kind.name, Line: 1, Column: column + 1}
			if changed, err := m.apply([]string{line}); err == nil && changed == code {
				return true
			}
		}
	}
	return false
}

func TestMutantApply(t *testing.T) {
	for _, c := range []struct {
		kind, line, operator, want string
	}{
		{"CONDITIONALS_BOUNDARY", "\tif a >= b {", ">=", "if a > b {"},
		{"CONDITIONALS_NEGATION", "\tif a > b {", ">", "if a <= b {"},
		{"INVERT_BITWISE", "x := a &^ b", "&^", "x := a & b"},
		{"REMOVE_SELF_ASSIGNMENTS", "x <<= 1", "<<=", "x = 1"},
		{"INVERT_LOOPCTRL", "\t\tbreak", "break", "continue"},
	} {
		m := mutant{Type: c.kind, Line: 2, Column: strings.Index(c.line, c.operator) + 1}
		got, err := m.apply([]string{"", c.line})
		require.NoError(t, err)
		require.Equal(t, c.want, got)
		require.True(t, mutantOf(strings.TrimSpace(c.line), got))
		m.Column++
		_, err = m.apply([]string{"", c.line[:m.Column-1]})
		require.Error(t, err, "a place beyond the line")
	}
	_, err := (&mutant{Type: "INVERT_LOGICAL", Line: 1, Column: 1}).apply([]string{"a && b"})
	require.Error(t, err, "no such operator there")
	require.False(t, mutantOf("if a < b || c {", "if a > b || c {"))
}

func TestMutantRows(t *testing.T) {
	want := row{file: "ietf/fields.go", code: "if a && b | c {", reason: "because"}
	rows, err := parseRows("# Title\n\n| file | as mutated | why |\n|---|---|---|\n" + want.String() + " because |\n")
	require.NoError(t, err)
	require.Equal(t, []row{want}, rows)
	for _, odd := range []string{"| a.go | `x` |", "| a.go | `x` | |", "| a.go | x | why |", "| a.go | `x | y` | why |"} {
		_, err := parseRows(odd)
		require.Error(t, err, odd)
	}
}

func TestMutantFigures(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(path, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	write("resource/a.go", "package resource\n\nfunc a() int { return 1 + 2 }\nfunc b() int { return 1 - 2 }\n")
	write(mutantList, "| a.go | `func a() int { return 1 - 2 }` | why |\n| a.go | `func c() int { return 1 - 2 }` | why |\n")
	write("profile", "mode: set\nexample.com/m/resource/a.go:3.14,3.30 1 1\nexample.com/m/resource/a.go:4.14,4.30 1 0\n")
	write("output", `{"files": [{"file_name": "a.go", "mutations": [
		{"line": 3, "column": 25, "type": "ARITHMETIC_BASE", "status": "LIVED"},
		{"line": 4, "column": 25, "type": "ARITHMETIC_BASE", "status": "LIVED"},
		{"line": 4, "column": 25, "type": "ARITHMETIC_BASE", "status": "TIMED OUT"},
		{"line": 4, "column": 25, "type": "ARITHMETIC_BASE", "status": "KILLED"},
		{"line": 4, "column": 25, "type": "ARITHMETIC_BASE", "status": "NOT VIABLE"}]}]}`)
	var f mutantFigures
	require.NoError(t, f.read("output", "profile", func(string) bool { return true }))
	require.Equal(t, mutantFigures{
		Mutants: 4, Killed: 1, Survived: 1, NotCovered: 1, TimedOut: 1, NotViable: 1, Share: 0.25,
		Unlisted: []string{"| a.go | `func b() int { return 1 + 2 }` |", "| a.go | `func b() int { return 1 + 2 }` |"},
		Stale:    []string{"| a.go | `func c() int { return 1 - 2 }` |"},
	}, f)
	f = mutantFigures{}
	require.NoError(t, f.read("output", "profile", func(string) bool { return false }))
	require.Empty(t, f.Stale, "of files that were left out nothing is known")
}
