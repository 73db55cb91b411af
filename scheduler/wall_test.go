package scheduler

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWallClockIsSet: a wait for an instant of the wall clock is armed anew
// when that clock was set, or has gone on while the machine slept. A test can't
// set the clock; it makes the wait as wrong as that would.
func TestWallClockIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := make(chan time.Time, 1)
		s, err := New(Config{Services: []Spec{{
			Alias: "job", Schedule: &Schedule{At: time.Now().Add(time.Hour)},
			Service: Func(func(context.Context) error {
				ran <- time.Now()
				return nil
			}),
		}}})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- s.Serve(ctx) }()
		synctest.Wait()
		begin := time.Now()
		m := s.manager
		m.mu.Lock()
		m.arm(&m.directory.entries["job"].solo, 10*time.Hour) // as if the clock had been nine hours behind
		m.wall.ahead -= 9 * time.Hour
		m.unlock()
		require.Equal(t, time.Hour, (<-ran).Sub(begin))
		cancel()
		require.NoError(t, <-result)
		require.Nil(t, m.wall.timer)
	})
}
