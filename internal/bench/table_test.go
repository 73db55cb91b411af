package main

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
)

// markdown is one table as it was printed.
type markdown struct {
	title string // the heading above it
	head  []string
	rows  [][]string
}

// readTables takes Markdown apart, and fails the test if a row has not as many
// cells as its head.
func readTables(t *testing.T, text string) []markdown {
	t.Helper()
	var tables []markdown
	title, inside := "", false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		heading, isTitle := strings.CutPrefix(line, "## ")
		if isTitle {
			title = heading
		}
		if !strings.HasPrefix(line, "|") {
			inside = false
			continue
		}
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !inside:
			tables, inside = append(tables, markdown{title: title, head: cells}), true
			continue
		case len(cells) != len(tables[len(tables)-1].head):
			t.Fatalf("%s: %q has %d cells, its head %q", title, line, len(cells), tables[len(tables)-1].head)
		}
		last := &tables[len(tables)-1]
		if strings.Trim(line, "|-:") != "" {
			last.rows = append(last.rows, cells)
		}
	}
	return tables
}

// made are results with the given readings of one figure.
func made(m measure, way string, size int, figure string, by map[string][]float64) results {
	r := results{readings: make(map[string][]reading), block: block{measure: m, sample: sample{Way: way, Size: size}}}
	for _, s := range systems() {
		values, ok := by[s.name]
		if !ok {
			continue
		}
		r.systems = append(r.systems, s)
		for _, v := range values {
			r.readings[s.name] = append(r.readings[s.name], reading{
				Figures: map[string]float64{figure: v, startMS: v, stopMS: 2 * v}, died: math.IsNaN(v),
			})
		}
	}
	return r
}

func TestTables(t *testing.T) {
	all := measures()
	var b bytes.Buffer
	err := (&plan{runs: 3}).write(&b, []results{
		made(all[2], byPanic, 10_000, stormMS, map[string][]float64{
			ours: {300, 100, 250}, sutures: {500, 600}, respawn: {50}, "dskit": {math.NaN()},
		}),
		made(all[0], "", 10, memory, map[string][]float64{ours: {4}, floor: {2}}),
		made(all[0], "", 15, memory, map[string][]float64{ours: {8}, floor: {3}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n## 10,000 services fail at once with a panic\n\n| system | all back after ms | |\n|---|---:|---|\n" +
			"| respawn | 50.0 | goroutines, and one that starts them again |\n" +
			"| dskit | process dies | has no restarts: each service is made anew by hand |\n" +
			"| suture | 550 | one supervisor, which never pauses |\n" +
			"| cannedos | 250 | one scheduler |\n\n" +
			"| cannedos | median | least | most | to respawn | to suture |\n|---|---:|---:|---:|---:|---:|\n" +
			"| all back after ms | 250 | 100 | 300 | 5.00x | 0.455x |\n\n",
		"| B each | 4.00 | 4.00 | 4.00 | 2.00x | - |\n",
		"\n## Growth\n\n| system | start, 10 to 15 (1.50x) | stop, 10 to 15 (1.50x) |\n|---|---:|---:|\n" +
			"| goroutines+ctx | 1.50x | 1.50x |\n| cannedos | 2.00x | 2.00x |\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no\n%s\nin\n%s", want, &b)
		}
	}
	readTables(t, b.String())
}

func TestMethod(t *testing.T) {
	t.Setenv("GOGC", "200")
	text := (&plan{runs: 7}).method()
	for _, want := range []string{"go1.", " cores", "commit ", "GOGC=200", "figure: 7"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %q", want, text)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0.0004: "0.000", 0.4567: "0.457", 1: "1.00", 45.67: "45.7", 456.7: "457", 3378.4: "3,378", 1234567: "1,234,567",
		math.Inf(1): "+Inf",
	} {
		if got := number(v); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
}

type full struct{}

var errFull = errors.New("full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestNoRoomForTables(t *testing.T) {
	var log bytes.Buffer
	if code := parent(t.Context(), small("-only", storm, "-peers", sutures), full{}, &log); code != 1 || !strings.Contains(log.String(), "full") {
		t.Errorf("exit code %d, log %q", code, &log)
	}
}
