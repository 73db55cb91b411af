package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// sampleVariable is the environment variable that makes the program a child: it
// takes the one sample that the variable describes, prints what it measured as
// a line of JSON, and ends. A variable, not an argument, since the tests run
// themselves too.
const sampleVariable = "CANNEDOS_BENCH_SAMPLE"

// sample is one process that measures one system once.
type sample struct {
	System, Measure, Way string
	Size                 int // services, restarts of the one service, items, connections, or URLs

	Span, Every, Window time.Duration // of items, of URLs, and how long it is measured; see plan
	Profiles            string        // a folder; empty: none
}

func (x sample) String() string {
	return strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %d", x.System, x.Measure, x.Way, x.Size)), " ")
}

// reading is what came of a sample.
type reading struct {
	Figures map[string]float64
	died    bool // a panic in a service ended the process, as it was to be shown
}

// child takes a sample in this process. It returns the exit code.
func child(text string, out, log io.Writer) int {
	var x sample
	err := json.Unmarshal([]byte(text), &x)
	if err == nil {
		var r reading
		if r, err = x.take(); err == nil {
			err = json.NewEncoder(out).Encode(r)
		}
	}
	if err != nil {
		fmt.Fprintln(log, "bench:", err)
		return 1
	}
	return 0
}

func (x sample) take() (reading, error) {
	s, err := find(x.System)
	if err != nil {
		return reading{}, err
	}
	m, err := findMeasure(x.Measure)
	if err != nil {
		return reading{}, err
	}
	e := m.entry(s)
	switch {
	case !e.compared(x.Size):
		return reading{}, fmt.Errorf("%v: %s is not compared in this", x, x.System)
	case x.Size < 1 || x.Size > maxSize:
		return reading{}, fmt.Errorf("%v: the size is not between 1 and %d", x, maxSize)
	}
	figures, err := e.take(x)
	if err != nil {
		return reading{}, fmt.Errorf("%v: %w", x, err)
	}
	r := reading{Figures: figures}
	return r, m.complete(x, r)
}

// complete refuses a reading that lacks a figure, or has one that can't be.
func (m measure) complete(x sample, r reading) error {
	for _, f := range m.figures {
		if v, ok := r.Figures[f.name]; !ok || v < 0 || v == 0 && !f.zero || v != v {
			return fmt.Errorf("%v: %s is %v, which can't be", x, f.name, v)
		}
	}
	return nil
}

// fatal says whether the sample is to show that its process dies.
func (x sample) fatal() bool {
	s, err := find(x.System)
	return err == nil && s.dies && x.Way == byPanic
}

// spawn takes a sample in a process of its own.
func (x sample) spawn(ctx context.Context) (reading, error) {
	text, err := json.Marshal(x)
	if err != nil {
		return reading{}, err
	}
	program, err := os.Executable()
	if err != nil {
		return reading{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 3*patience, fmt.Errorf("not done within %v", 3*patience))
	defer cancel()
	var out, log bytes.Buffer
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), sampleVariable+"="+string(text))
	cmd.Stdout, cmd.Stderr = &out, &log
	err = cmd.Run()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return x.read(err, out.Bytes(), log.String())
}

// read makes a reading of how the process ended and what it printed.
func (x sample) read(ended error, out []byte, log string) (reading, error) {
	exit, exited := errors.AsType[*exec.ExitError](ended)
	switch {
	case x.fatal() && ended == nil:
		return reading{}, fmt.Errorf("%v: the process outlived a panic that was to end it", x)
	case x.fatal() && exited && exit.ExitCode() == 2 && strings.Contains(log, "panic: "+errBroken.Error()):
		return reading{died: true}, nil
	case ended != nil:
		return reading{}, fmt.Errorf("%v: %w\n%s", x, ended, log)
	}
	var r reading
	if err := json.Unmarshal(out, &r); err != nil {
		return reading{}, fmt.Errorf("%v: %w in %q", x, err, out)
	}
	m, err := findMeasure(x.Measure)
	if err != nil {
		return reading{}, err
	}
	return r, m.complete(x, r)
}
