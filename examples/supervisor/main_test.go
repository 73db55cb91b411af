package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-for", "2500ms"}, &stdout, &stderr))
	lines := bytes.Split(bytes.TrimSpace(stdout.Bytes()), []byte("\n"))
	var f figures
	require.NoError(t, json.Unmarshal(lines[len(lines)-1], &f), "the last line of %s", stdout.Bytes())
	require.Positive(t, f.Crashes, "the intake crashes")
	require.Greater(t, f.Orders, uint64(40), "and recovers")
	require.EqualValues(t, f.Orders, f.Printed, "what was taken is printed before the end")
	require.Positive(t, f.Reports)
	require.Equal(t, 4, f.Workers)
	require.Contains(t, stdout.String(), "live true, ready ")
	require.Contains(t, stdout.String(), "shop/printer")
	require.Contains(t, stderr.String(), "paper jam")
	require.Contains(t, stderr.String(), "/healthz")
}

func TestBadArguments(t *testing.T) {
	for _, args := range [][]string{{"-for", "0s"}, {"-for", "x"}, {"more"}, {"-listen", "nowhere:x", "-for", "1s"}} {
		var stdout, stderr bytes.Buffer
		require.Error(t, run(t.Context(), args, &stdout, &stderr), "%q", args)
		require.Empty(t, stdout.String())
	}
}
