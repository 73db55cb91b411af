package scheduler_test

import (
	"context"
	"encoding"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cannedos/cannedos/scheduler"
	"github.com/stretchr/testify/require"
)

// noStore is a store that is only meant to be one.
type noStore struct{}

func (*noStore) SaveState(context.Context, string, []byte) error   { return nil }
func (*noStore) LoadState(context.Context, string) ([]byte, error) { return nil, nil }

// A nil that was put into an interface is found by New, not by the first check-in.
func TestRegressionNilStates(t *testing.T) {
	var none *noStore
	_, err := scheduler.New(scheduler.Config{States: none, Services: []scheduler.Spec{{Alias: "a", Service: idle}}})
	var spec *scheduler.SpecError
	require.ErrorAs(t, err, &spec)
	require.Equal(t, "Config.States", spec.Field)
	require.Contains(t, spec.Reason, "*scheduler_test.noStore")
	_, err = scheduler.New(scheduler.Config{States: &noStore{}, Services: []scheduler.Spec{{Alias: "a", Service: idle}}})
	require.NoError(t, err)
}

// A client in Go reads the Health that it was sent.
func TestRegressionHealthIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, services(
			scheduler.Spec{Alias: "a", Service: idle},
			scheduler.Spec{Alias: "b", Service: fails, Restart: scheduler.Temporary},
			scheduler.Spec{Alias: "c", Service: fails, Backoff: at(1)},
		))
		sent := r.Health()
		text, err := json.Marshal(sent)
		require.NoError(t, err)
		r.end()
		var got scheduler.Health
		require.NoError(t, json.Unmarshal(text, &got))
		require.Equal(t, sent, got)
		require.ErrorIs(t, json.Unmarshal([]byte(strings.ReplaceAll(string(text), "dead", "deaf")), &got), scheduler.ErrSpec)
	})
}

// name is a value that has a text, and is read from one.
type name interface {
	encoding.TextMarshaler
	encoding.TextUnmarshaler
}

// names makes a value of each kind.
func names() map[string]name {
	return map[string]name{
		"State": new(scheduler.State), "End": new(scheduler.End), "Condition": new(scheduler.Condition),
		"Kind": new(scheduler.Kind), "EventKind": new(scheduler.EventKind),
		"Strategy": new(scheduler.Strategy), "Overlap": new(scheduler.Overlap),
		"RestartPolicy": new(scheduler.RestartPolicy),
	}
}

func TestNamesAreRead(t *testing.T) {
	for what, all := range map[string][]string{
		"State":     {"idle", "starting", "started", "stopping", "stopped", "backing off", "draining", "waiting"},
		"End":       {"", "completed", "stopped", "failed", "gave up", "abandoned"},
		"Condition": {"healthy", "degraded", "zombie", "dead"},
		"Kind":      {"error", "panic", "goexit", "start timeout", "deaf", "handler", "drain", "save", "restore", "stalled", "cop", "backoff"},
		"EventKind": {"reset", "present", "synced", "added", "changed", "failed", "removed", "judged"},
		"Strategy":  {"one for one", "one for all", "rest for one"},
		"Overlap":   {"forbid", "queue", "allow"},

		"RestartPolicy": {"permanent", "transient", "temporary"},
	} {
		v := names()[what]
		for _, text := range all {
			require.NoError(t, v.UnmarshalText([]byte(text)), "%s %q", what, text)
			back, err := v.MarshalText()
			require.NoError(t, err)
			require.Equal(t, text, string(back))
		}
		for _, text := range []string{"IDLE", what + "(9)", strings.Repeat("x", 1000)} {
			err := v.UnmarshalText([]byte(text))
			var spec *scheduler.SpecError
			require.ErrorAs(t, err, &spec, text)
			require.Equal(t, what, spec.Field)
			require.Less(t, len(spec.Reason), 500)
			back, err := v.MarshalText()
			require.NoError(t, err)
			require.Equal(t, all[len(all)-1], string(back), "a text that is refused changes nothing")
		}
	}
}

// FuzzNames: a text is refused, or is the one that the value has.
func FuzzNames(f *testing.F) {
	for _, text := range []string{"", "idle", "gave up", "Kind(7)", "\xff", "dead\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for what, v := range names() {
			if err := v.UnmarshalText([]byte(text)); err != nil {
				require.ErrorIs(t, err, scheduler.ErrSpec)
				continue
			}
			back, err := v.MarshalText()
			require.NoError(t, err)
			require.Equal(t, text, string(back), what)
		}
	})
}
