package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if code, ok := role(); ok {
		os.Exit(code)
	}
	// Else, under the race detector, every child would sleep at its end.
	if err := os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// small appends to sizes that take no time.
func small(args ...string) []string {
	return append([]string{
		"-runs", "1", "-sizes", "100,200", "-restarts", "50", "-storm", "20",
		"-waiting", "200", "-span", "200ms", "-window", "200ms", "-connections", "2", "-urls", "40", "-every", "200ms", "-fleet-window", "400ms",
	}, args...)
}

// TestAll takes every sample once, each in a process of its own, and reads the
// tables.
func TestAll(t *testing.T) {
	var out, log bytes.Buffer
	if code := parent(t.Context(), small(), &out, &log); code != 0 {
		t.Fatalf("exit code %d\n%s", code, &log)
	}
	var titles []string
	for _, table := range readTables(t, out.String()) {
		titles = append(titles, table.title)
		for _, row := range table.rows {
			dies := strings.HasSuffix(table.title, "a panic") && (row[0] == "dskit" || row[0] == "oklog/run")
			for i, cell := range row {
				switch v, err := strconv.ParseFloat(strings.TrimSuffix(strings.ReplaceAll(cell, ",", ""), "x"), 64); {
				case i == 0, table.head[i] == "": // the name, and the note
				case dies && cell != dead, !dies && cell != "-" && (err != nil || v < 0):
					t.Errorf("%s: %s of %s is %q", table.title, table.head[i], row[0], cell)
				}
			}
		}
	}
	want := []string{
		"100 idle services", "200 idle services",
		"One service, 50 restarts after an error", "One service, 50 restarts after a panic",
		"20 services fail at once with an error", "20 services fail at once with a panic",
		"200 items wait, one of them due every 1ms", "One poll answered 304, over 2 connections", "40 URLs, each of them every 200ms",
	}
	for i := range want { // first the systems, then the ratios
		want[i] += strings.Repeat("\n"+want[i], 1+strings.Count(want[i], "One poll")) // of ours in memory and with a file
	}
	if got, want := strings.Join(titles, "\n"), strings.Join(append(want, "Growth"), "\n"); got != want {
		t.Errorf("got tables\n%s\nwant\n%s", got, want)
	}
	if samples := strings.Count(log.String(), "1/1 "); samples != 6*6+6+3+6 {
		t.Errorf("%d samples\n%s", samples, &log)
	}
}

// TestTake takes every sample in this process that does not end it. What idle
// services hold can't be told here, where memory of the tests before is freed
// meanwhile.
func TestTake(t *testing.T) {
	plan, err := parse(small(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range plan.blocks() {
		for _, s := range b.systems {
			x := b.sample
			x.System = s.name
			if x.fatal() {
				continue
			}
			t.Run(x.String(), func(t *testing.T) {
				figures, err := b.measure.entry(s).take(x)
				if err != nil {
					t.Fatal(err)
				}
				if b.measure.name == fleet && (s.name == ours || s.name == bareFleet) && figures[impolite] > 0 {
					t.Errorf("%v impolite requests, by %v ms at most", figures[impolite], figures[earliest])
				}
				figures[memory] = 1
				if err := b.measure.complete(x, reading{Figures: figures}); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestChild(t *testing.T) {
	var out, log bytes.Buffer
	code := child(`{"System": "cannedos", "Measure": "storm", "Way": "panic", "Size": 10}`, &out, &log)
	var r reading
	if err := json.Unmarshal(out.Bytes(), &r); code != 0 || err != nil || r.Figures[stormMS] <= 0 {
		t.Errorf("exit code %d, printed %q, log %q", code, &out, &log)
	}
}

func TestChildRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "unexpected end of JSON input",
		`{"System": "otp"}`:    `system "otp" is none of goroutines, `,
		`{"System": "suture"}`: `measure "" is none of idle, restart, storm, waiting, poll, fleet`,
		`{"System": "goroutines", "Measure": "storm"}`:                          "goroutines storm 0: goroutines is not compared",
		`{"System": "respawn", "Measure": "storm", "Way": "error", "Size": -1}`: "is not between",
	} {
		var out, log bytes.Buffer
		if code := child(text, &out, &log); code != 1 || !strings.Contains(log.String(), want) || out.Len() > 0 {
			t.Errorf("%s: exit code %d, want 1, and %q; printed %q", text, code, &log, &out)
		}
	}
}

// TestRead judges how a child may end and what it may print.
func TestRead(t *testing.T) {
	exited := func(code string) error { return exec.CommandContext(t.Context(), "sh", "-c", "exit "+code).Run() }
	storming := sample{System: ours, Measure: storm, Way: byPanic, Size: 1}
	fatal := sample{System: "dskit", Measure: storm, Way: byPanic, Size: 1}
	tests := []struct {
		name     string
		x        sample
		ended    error
		out, log string
		want     string // in the error; empty: none
	}{
		{"measured", storming, nil, `{"Figures": {"storm_ms": 1}}`, "", ""},
		{"died as it should", fatal, exited("2"), "", "panic: broken on purpose\n", ""},
		{"outlived", fatal, nil, `{"Figures": {"storm_ms": 1}}`, "", "dskit storm panic 1: the process outlived"},
		{"died of something else", fatal, exited("2"), "", "panic: oops", "exit status 2\npanic: oops"},
		{"ended of something else", fatal, exited("1"), "", "panic: broken on purpose", "exit status 1"},
		{"died, but should not", storming, exited("2"), "", "panic: broken on purpose", "cannedos storm panic 1: exit status 2"},
		{"late", storming, context.DeadlineExceeded, "", "", "deadline exceeded"},
		{"silent", storming, nil, "", "", "unexpected end of JSON input"},
		{"without figure", storming, nil, `{"Figures": {"p50_us": 1}}`, "", "storm_ms is 0"},
		{"impossible figure", storming, nil, `{"Figures": {"storm_ms": -1}}`, "", "storm_ms is -1"},
		{"unknown measure", sample{Measure: "x"}, nil, "{}", "", `measure "x"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := test.x.read(test.ended, []byte(test.out), test.log)
			switch {
			case test.want == "" && err != nil, test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got error %v, want %q", err, test.want)
			case err == nil && r.died != test.x.fatal():
				t.Errorf("died is %v", r.died)
			}
		})
	}
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-sizes 10,x":      `"x" is not a number`,
		"-sizes 10,0":      "-sizes: 0 is not between 1 and 10000000",
		"-runs -1":         "-runs: -1 is not",
		"-every 1ns":       "-every: 1ns is not",
		"-window 1h":       "-window: 1h0m0s is not",
		"-restarts -1":     "-restarts: -1 is not",
		"-storm 10000001":  "-storm: 10000001 is not",
		"-only idle,speed": `-only: measure "speed" is none of idle, restart, storm, `,
		"-peers otp":       `-peers: system "otp" is none of goroutines, `,
		"idle":             `"idle" is not a flag`,
		"-nonsense":        "not defined: -nonsense",
	} {
		var out, log bytes.Buffer
		if code := parent(t.Context(), strings.Fields(args), &out, &log); code != 2 || !strings.Contains(log.String(), want) {
			t.Errorf("%s: exit code %d, want 2, and %q", args, code, &log)
		}
	}
	var log bytes.Buffer
	if code := parent(t.Context(), []string{"-h"}, nil, &log); code != 0 || !strings.Contains(log.String(), "-peers") {
		t.Errorf("-h: exit code %d and %q", code, &log)
	}
	p, err := parse(strings.Fields("-only storm,idle -peers dskit,suture -sizes 30,5,30"), &log)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range p.blocks() {
		got = append(got, b.measure.name+" "+b.sample.Way+" "+strconv.Itoa(b.sample.Size)+" "+strings.Join(names(b.systems), ","))
	}
	if want := []string{
		"storm error 10000 dskit,suture,cannedos", "storm panic 10000 dskit,suture,cannedos",
		"idle  5 dskit,suture,cannedos", "idle  30 dskit,suture,cannedos",
	}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, log bytes.Buffer
	if code := parent(ctx, small("-only", idle), &out, &log); code != 1 || !strings.Contains(log.String(), "context canceled") || out.Len() > 0 {
		t.Errorf("exit code %d, log %q, tables %q", code, &log, &out)
	}
}
