package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-for", "2500ms"}, &stdout, &stderr))
	lines := bytes.Split(bytes.TrimSpace(stdout.Bytes()), []byte("\n"))
	var s summary
	require.NoError(t, json.Unmarshal(lines[len(lines)-1], &s), "the last line of %s", stdout.Bytes())
	require.Zero(t, s.Impolite)
	require.Positive(t, s.Polls)
	require.Equal(t, s.Modified, s.Published, "every new representation reached the sink")
	require.Equal(t, 10, s.Queued, "a resource is in exactly one queue at any time")
	require.Empty(t, stderr.String())
}

func TestBadArguments(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.ErrorIs(t, run(t.Context(), []string{"-h"}, &stdout, &stderr), flag.ErrHelp)
	require.ErrorContains(t, run(t.Context(), []string{"-timelines", "-1"}, &stdout, &stderr), "Timelines")
	require.Error(t, run(t.Context(), []string{"-for", "soon"}, &stdout, &stderr))
}
