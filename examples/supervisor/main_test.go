package main

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
	"time"

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

// An interrupt that comes before Serve has begun, or while services start.
func TestEarlyInterrupt(t *testing.T) {
	for i := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		if i%2 == 0 {
			cancel()
		} else {
			time.AfterFunc(time.Duration(i)*time.Millisecond, cancel)
		}
		var stdout, stderr bytes.Buffer
		err := run(ctx, []string{"-for", "1h"}, &stdout, &stderr)
		if err == nil && i%2 == 1 {
			continue // the services were faster
		}
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, stdout.String())
	}
}

func TestBadArguments(t *testing.T) {
	for _, args := range [][]string{{"-for", "0s"}, {"-for", "x"}, {"more"}, {"-listen", "nowhere:x", "-for", "1s"}} {
		var stdout, stderr bytes.Buffer
		require.Error(t, run(t.Context(), args, &stdout, &stderr), "%q", args)
		require.Empty(t, stdout.String())
	}
}
