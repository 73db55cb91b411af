package main

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// figures runs the program and returns its last line.
func figures(t *testing.T, args ...string) (lines []string, s summary) {
	var stdout, stderr bytes.Buffer
	require.NoError(t, run(context.Background(), args, &stdout, &stderr), stderr.String())
	lines = strings.Split(strings.TrimSpace(stdout.String()), "\n")
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &s), stdout.String())
	return lines, s
}

func TestEmbeddedOrigin(t *testing.T) {
	lines, s := figures(t, "-for", "3s")
	require.Len(t, lines, 1)
	require.Greater(t, s.Polls, int64(10))
	require.GreaterOrEqual(t, float64(s.Polls), 0.9*float64(*s.Permitted))
	require.Positive(t, s.Modified)
	require.Positive(t, s.Items)
	require.Zero(t, *s.Impolite)
	require.Zero(t, *s.Unknowable)
	require.Zero(t, s.Lost)
}

func TestForeignOrigin(t *testing.T) {
	fake, err := startOrigin()
	require.NoError(t, err)
	defer fake.close()
	file := filepath.Join(t.TempDir(), "polls.db")
	lines, s := figures(t, "-for", "1500ms", "-db", file, "-json", "-url", fake.urls[0], "-url", fake.urls[1])
	require.Greater(t, len(lines), 2, "two resources, each published at least once, and the summary")
	for _, line := range lines[:len(lines)-1] {
		require.True(t, json.Valid([]byte(line)), line)
	}
	require.Nil(t, s.Impolite, "only its own origin can say")
	require.Zero(t, s.Lost)
	require.EqualValues(t, len(lines)-1, s.Published)

	_, again := figures(t, "-for", "1500ms", "-db", file, "-url", fake.urls[0], "-url", fake.urls[1])
	require.Zero(t, again.Lost)
	require.Zero(t, fake.Verdict().Impolite, "a restart is no reason to ask early, or unconditionally")
	require.Zero(t, fake.Verdict().Unconditional)
}

func TestBadArguments(t *testing.T) {
	for want, args := range map[string][]string{
		`unexpected argument "x"`:  {"x"},
		"-for -1s":                 {"-for", "-1s"},
		"Resources[0].URI":         {"-url", "no scheme", "-for", "1s"},
		"flag provided but not de": {"-nonsense"},
		"Resources[0].Interval":    {"-interval", "-1s", "-for", "1s"},
		"not a store of ours":      {"-db", t.TempDir(), "-for", "1s"},
	} {
		var stdout, stderr bytes.Buffer
		err := run(context.Background(), args, &stdout, &stderr)
		require.ErrorContains(t, err, want)
		require.Empty(t, stdout.String())
	}
}
