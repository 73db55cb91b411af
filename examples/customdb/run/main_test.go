package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/examples/customdb"
)

func TestRun(t *testing.T) {
	var stdout, stderr bytes.Buffer
	folder := t.TempDir()
	require.NoError(t, run(t.Context(), []string{"-dir", folder, "-interval", "1s", "-polls", "1"}, &stdout, &stderr))
	lines := bytes.Split(bytes.TrimSpace(stdout.Bytes()), []byte("\n"))
	var s summary
	require.NoError(t, json.Unmarshal(lines[len(lines)-1], &s), "the last line of %s", stdout.Bytes())
	require.Equal(t, 2, s.Runs)
	require.GreaterOrEqual(t, s.Polls, int64(10), "each of five timelines once in each run")
	require.Zero(t, s.Early, "a restart is no reason to ask again")
	require.Zero(t, s.Unconditional, "nor to forget the validators")
	require.Zero(t, s.Impolite)
	require.Empty(t, stderr.String())

	store, err := customdb.Open(folder)
	require.NoError(t, err, "the folder was given back")
	require.NoError(t, store.Close())
}

func TestBadArguments(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.ErrorIs(t, run(t.Context(), []string{"-h"}, &stdout, &stderr), flag.ErrHelp)
	require.ErrorContains(t, run(t.Context(), []string{"-interval", "1ms"}, &stdout, &stderr), "PollInterval")

	folder := t.TempDir()
	store, err := customdb.Open(folder)
	require.NoError(t, err)
	defer store.Close()
	require.ErrorContains(t, run(t.Context(), []string{"-dir", folder}, &stdout, &stderr), "locked")
}
