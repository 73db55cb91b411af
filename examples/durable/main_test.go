package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The second run goes on where the first one stopped: the origin sees one polite
// client.
func TestTwoRuns(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-for", "2500ms", "-db", t.TempDir()}, &out, io.Discard))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 3)
	var first, second struct{ Polls int }
	var all struct{ Polls, Permitted, Impolite int }
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &first))
	require.NoError(t, json.Unmarshal([]byte(lines[1]), &second))
	require.NoError(t, json.Unmarshal([]byte(lines[2]), &all))
	require.Positive(t, first.Polls)
	require.Positive(t, second.Polls)
	require.Equal(t, first.Polls+second.Polls, all.Polls)
	require.Zero(t, all.Impolite)
}

func TestArguments(t *testing.T) {
	for args, want := range map[string]string{
		"-for -1s":     "-for -1s: want 0 or more",
		"https://x.y/": "URLs are given with -url",
		"-nonsense":    "not defined",
	} {
		require.ErrorContains(t, run(t.Context(), strings.Fields(args), io.Discard, io.Discard), want)
	}
	o, err := parse([]string{"-live"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, "durable-state", o.dir)
	require.Equal(t, []string{"https://api.github.com/events"}, o.urls)
}
