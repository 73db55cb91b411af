package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func last(t *testing.T, out string) (s summary) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &s), out)
	return s
}

func TestRun(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-for", "2500ms"}, &stdout, &stderr))
	s := last(t, stdout.String())
	require.Zero(t, *s.Impolite+*s.Lost)
	require.Positive(t, s.Items)
	require.EqualValues(t, *s.Shown, s.Items)
	require.Empty(t, stderr.String())
}

// More than the window can show: the program says so.
func TestRunMisses(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-for", "2500ms", "-times", "400"}, &stdout, &stderr))
	s := last(t, stdout.String())
	require.Zero(t, *s.Impolite+*s.Lost)
	require.Positive(t, s.Gaps)
	require.Contains(t, stdout.String(), "gap: about ")
}

func TestBadArguments(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"x"}, `unexpected argument "x"`},
		{[]string{"-for", "-1s"}, "-for -1s"},
		{[]string{"-times", "0"}, "-times 0"},
	} {
		var stdout, stderr bytes.Buffer
		require.ErrorContains(t, run(t.Context(), c.args, &stdout, &stderr), c.want)
	}
	var stdout, stderr bytes.Buffer
	require.ErrorIs(t, run(t.Context(), []string{"-h"}, &stdout, &stderr), flag.ErrHelp)
}
