package scheduler

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// slowSaver takes its time to say how often it was asked, and to stop.
type slowSaver struct {
	takes, stops time.Duration
	asked        atomic.Int32
}

func (s *slowSaver) Serve(ctx context.Context) error {
	<-ctx.Done()
	time.Sleep(s.stops)
	return nil
}

func (s *slowSaver) SaveState(context.Context) ([]byte, error) {
	asked := s.asked.Add(1)
	time.Sleep(s.takes)
	return strconv.AppendInt(nil, int64(asked), 10), nil
}

func servedWell(t *testing.T, c Config) (s *Scheduler, end func()) {
	s, err := New(c)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- s.Serve(ctx) }()
	synctest.Wait()
	return s, func() {
		cancel()
		require.NoError(t, <-result)
	}
}

// stuckStore never returns in time from the saving of one path.
type stuckStore struct{ release chan struct{} }

func (s stuckStore) SaveState(_ context.Context, path string, _ []byte) error {
	if path == "os/scheduler/stuck" {
		<-s.release
	}
	return nil
}

func (stuckStore) LoadState(context.Context, string) ([]byte, error) { return nil, nil }

// Nothing is left of aliases that were removed, once no call for them is out.
func TestDesksAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s, end := servedWell(t, Config{States: stuckStore{release}})
		m := s.manager
		for _, alias := range []string{"stuck", "again"} {
			require.NoError(t, m.Add(Spec{Alias: alias, Service: &slowSaver{}}))
			synctest.Wait()
			require.NoError(t, m.Remove(t.Context(), alias))
		}
		for i := range 10 {
			require.NoError(t, m.Add(Spec{Alias: strconv.Itoa(i), Pool: 3, Factory: func() Service { return &slowSaver{} }}))
			synctest.Wait()
			require.Len(t, m.desks.byAlias, 2, "that of one alias, and one that is stuck")
			require.NoError(t, m.Remove(t.Context(), strconv.Itoa(i)))
		}
		require.Len(t, m.desks.byAlias, 1)
		require.Equal(t, []string{"stuck"}, m.desks.left)
		require.NoError(t, m.Add(Spec{Alias: "stuck", Service: &slowSaver{}}))
		synctest.Wait()
		close(release)
		synctest.Wait()
		require.NoError(t, m.Add(Spec{Alias: "other", Service: &slowSaver{}}))
		synctest.Wait()
		require.NoError(t, m.Remove(t.Context(), "other"))
		require.Len(t, m.desks.byAlias, 1, "stuck has its desk back")
		require.NoError(t, m.Remove(t.Context(), "stuck"))
		require.Empty(t, m.desks.byAlias)
		require.Empty(t, m.desks.left)
		end()
	})
}

// What a run says on which a verdict was passed meanwhile does not count.
func TestCheckInOfAConvictedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, end := servedWell(t, Config{Services: []Spec{{Alias: "a", Restart: Temporary, SaveEvery: time.Second, Service: &slowSaver{takes: 3 * time.Second, stops: 4 * time.Second}}}})
		m := s.manager
		time.Sleep(5500 * time.Millisecond) // the second check-in is under way
		m.mu.Lock()
		e := m.directory.entries["a"]
		v := e.solo.run.gear().visit
		before, asking := string(v.state), v.asking
		m.convict(&e.solo, Stalled, errors.New("stalled"))
		m.unlock()
		require.Equal(t, "1", before)
		require.True(t, asking)
		time.Sleep(5 * time.Second)
		require.Equal(t, "1", string(v.state))
		end()
	})
}
