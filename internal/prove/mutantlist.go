package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A mutant is one change of one operator, as the tool reports it.
type mutant struct {
	Type   string `json:"type"`
	Status string `json:"status"`
	Line   int    `json:"line"`
	Column int    `json:"column"` // in bytes, from 1
}

// kinds are the types of mutants: the operators that they change, each followed
// by what it becomes. Of two that begin alike the longer comes first. Nothing
// writes to it.
var kinds = [...]struct{ name, changes string }{
	{"ARITHMETIC_BASE", "+ - - + * / / * % *"},
	{"CONDITIONALS_BOUNDARY", ">= > > >= <= < < <="},
	{"CONDITIONALS_NEGATION", "== != != == >= < > <= <= > < >="},
	{"INCREMENT_DECREMENT", "++ -- -- ++"},
	{"INVERT_ASSIGNMENTS", "+= -= -= += *= /= /= *= %= %="},
	{"INVERT_BITWISE", "&^ & << >> >> << & | | & ^ &"},
	{"INVERT_BWASSIGN", "&^= &= <<= >>= >>= <<= &= |= |= &= ^= &="},
	{"INVERT_LOGICAL", "&& || || &&"},
	{"INVERT_LOOPCTRL", "break continue continue break"},
	{"REMOVE_SELF_ASSIGNMENTS", "&^= = <<= = >>= = += = -= = *= = /= = %= = &= = |= = ^= ="},
}

// apply returns the line of the mutant, changed and without its indentation.
func (m *mutant) apply(lines []string) (string, error) {
	if m.Line < 1 || m.Line > len(lines) || m.Column < 1 || m.Column > len(lines[m.Line-1]) {
		return "", fmt.Errorf("no column %d", m.Column)
	}
	before, rest := lines[m.Line-1][:m.Column-1], lines[m.Line-1][m.Column-1:]
	for _, kind := range kinds {
		if kind.name != m.Type {
			continue
		}
		pairs := strings.Fields(kind.changes)
		for i := 0; i < len(pairs); i += 2 {
			if after, ok := strings.CutPrefix(rest, pairs[i]); ok {
				return strings.TrimSpace(before + pairs[i+1] + after), nil
			}
		}
	}
	return "", fmt.Errorf("no operator of %s in column %d", m.Type, m.Column)
}

// A row of the list is a survivor: the file, below the package, and the line of
// code as the mutant has it.
type row struct {
	file, code, reason string
}

func (r row) same(other row) bool { return r.file == other.file && r.code == other.code }

// String is the row as the list has it, without its reason.
func (r row) String() string {
	return fmt.Sprintf("| %s | `%s` |", r.file, strings.ReplaceAll(r.code, "|", `\|`))
}

// parseRows reads the rows of all tables of the list.
func parseRows(text string) (rows []row, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| file |") {
			continue
		}
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		if len(cells) != 5 {
			return nil, fmt.Errorf("%s: want three cells: %s", mutantList, line)
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[i], "\x00", "|"))
		}
		code, ok := strings.CutPrefix(strings.TrimSuffix(cells[2], "`"), "`")
		if !ok || cells[1] == "" || cells[3] == "" {
			return nil, fmt.Errorf("%s: want a file, code and a reason: %s", mutantList, line)
		}
		rows = append(rows, row{file: cells[1], code: code, reason: cells[3]})
	}
	return rows, nil
}

func sourceLines(file string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(mutatedPackage, file))
	return strings.Split(string(text), "\n"), err
}

// readProfile returns whether a place is outside of the blocks that no test
// reaches, by a coverage profile.
func readProfile(path string) (reached func(file string, line, column int) bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	type place struct{ line, column int }
	type block struct{ from, to place }
	missed := map[string][]block{}
	for scanner := bufio.NewScanner(f); scanner.Scan(); {
		file, rest, ok := strings.Cut(scanner.Text(), ".go:")
		if !ok {
			continue // the mode
		}
		_, file, _ = strings.Cut(file, strings.TrimPrefix(mutatedPackage, ".")+"/")
		var b block
		var statements, count int
		if _, err := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d", &b.from.line, &b.from.column, &b.to.line, &b.to.column, &statements, &count); err != nil {
			return nil, fmt.Errorf("profile: %s: %w", scanner.Text(), err)
		}
		if count == 0 {
			missed[file+".go"] = append(missed[file+".go"], b)
		}
	}
	before := func(a, b place) bool { return a.line < b.line || a.line == b.line && a.column < b.column }
	return func(file string, line, column int) bool {
		here := place{line, column}
		for _, b := range missed[file] {
			if !before(here, b.from) && before(here, b.to) {
				return false
			}
		}
		return true
	}, nil
}
