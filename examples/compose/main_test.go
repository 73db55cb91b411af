package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-for", "2500ms"}, &stdout, &stderr))
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	var s summary
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &s), "the last line of %s", stdout.String())
	require.Positive(t, s.Polls)
	require.Positive(t, s.Published)
	require.NotEmpty(t, s.Events)
	require.Zero(t, s.Impolite)
	require.Contains(t, stderr.String(), "so far service=compose/reporter", "the reporter found the counter")
}

func TestPreview(t *testing.T) {
	var stdout bytes.Buffer
	require.NoError(t, preview(t.Context(), &stdout))
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	require.Len(t, lines, 4)
	require.Contains(t, lines[0], "never requested")
	require.Contains(t, lines[1], "X-Poll-Interval")
	require.Contains(t, lines[1], "(in 1m0s)")
	require.Contains(t, lines[2], "waiting-for-reset")
	require.Equal(t, `parked in frozen-1000 until then, with "1" for the next request`, lines[3])
}

func TestBadArguments(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.ErrorIs(t, run(t.Context(), []string{"-h"}, &stdout, &stderr), flag.ErrHelp)
	require.Error(t, run(t.Context(), []string{"-for", "soon"}, &stdout, &stderr))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, run(ended, nil, &stdout, &stderr), context.Canceled)
}
