package pebble

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

// gate is a disk on which operations that match wait for permission, once it
// is shut.
type gate struct {
	match          func(errorfs.Op) bool
	shut           atomic.Bool
	entered, leave chan struct{}
}

func (g *gate) String() string { return "gate" }

func (g *gate) MaybeError(op errorfs.Op) error {
	if g.shut.Load() && g.match(op) {
		g.entered <- struct{}{}
		<-g.leave
	}
	return nil
}

// openGated opens a store whose syncs of the log wait.
func openGated(t *testing.T) (*gate, *Store) {
	t.Helper()
	g := &gate{
		match:   on(".log", errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo),
		entered: make(chan struct{}), leave: make(chan struct{}),
	}
	s, err := open("/d", tiny, errorfs.Wrap(vfs.NewMem(), g))
	require.NoError(t, err)
	g.shut.Store(true)
	return g, s
}

// create begins to create a record and returns where the outcome will be.
func create(ctx context.Context, s *Store, id string) chan error {
	done := make(chan error, 1)
	go func() {
		results, err := s.Write(ctx, db.Write{Record: db.Record{Space: "s", ID: id, Version: 1}})
		if err == nil && !results[0].OK {
			err = errors.New("it lost")
		}
		done <- err
	}()
	return done
}

// waiting returns when n writers are queued.
func waiting(s *Store, n int) {
	for got := -1; got != n; runtime.Gosched() {
		s.mu.Lock()
		got = len(s.pending)
		s.mu.Unlock()
	}
}

func count(t testing.TB, s *Store) (n int) {
	t.Helper()
	for _, err := range s.Scan(t.Context(), "s") {
		require.NoError(t, err)
		n++
	}
	return n
}

// TestGroupCommit has one writer in its sync, others waiting, and one of those
// giving up: the others share the next sync, and nothing is visible early, not
// to Get, not to Scan, and not to a write that loses.
func TestGroupCommit(t *testing.T) {
	g, s := openGated(t)
	leader := create(t.Context(), s, "first")
	<-g.entered
	require.Zero(t, count(t, s), "not visible before it is on disk")
	found, err := s.Get(t.Context(), "s", "first")
	require.NoError(t, err)
	require.Empty(t, found, "not visible before it is on disk")
	ctx, cancel := context.WithCancel(t.Context())
	var others []chan error
	for i := range 10 {
		others = append(others, create(t.Context(), s, fmt.Sprint("other", i)))
	}
	gone := create(ctx, s, "gone")
	again := create(t.Context(), s, "first") // loses to what it must not see yet
	waiting(s, 12)
	cancel()
	err = <-gone
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "nothing was done")
	waiting(s, 11)
	g.leave <- struct{}{}
	require.NoError(t, <-leader)
	<-g.entered
	require.Equal(t, 1, count(t, s))
	g.leave <- struct{}{}
	for _, done := range others {
		require.NoError(t, <-done)
	}
	require.ErrorContains(t, <-again, "it lost")
	require.Equal(t, 11, count(t, s))
	g.shut.Store(false)
	require.NoError(t, s.Close())
}

// TestContextEndsDuringCommit: a writer that gives up while others commit its
// write does not know what became of it; it may send it again.
func TestContextEndsDuringCommit(t *testing.T) {
	g, s := openGated(t)
	leader := create(t.Context(), s, "first")
	<-g.entered
	ctx, cancel := context.WithCancel(t.Context())
	other := create(ctx, s, "other")
	next := create(t.Context(), s, "next")
	waiting(s, 2)
	g.leave <- struct{}{}
	<-g.entered // of the commit of both
	waiting(s, 0)
	cancel()
	// Whichever of the two leads finishes; if it is the other, so does it.
	if err := waitFor(other, g); err != nil {
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "unknown")
	}
	require.NoError(t, <-leader)
	g.shut.Store(false)
	select {
	case g.leave <- struct{}{}:
	case err := <-next:
		next <- err
	}
	require.NoError(t, <-next)
	w := db.Write{Record: db.Record{Space: "s", ID: "other", Version: 1}}
	results, err := s.Write(t.Context(), w)
	require.NoError(t, err)
	require.True(t, w.Won(results[0]))
	require.NoError(t, s.Close())
}

// waitFor lets a commit go on if the outcome depends on it.
func waitFor(done chan error, g *gate) error {
	select {
	case err := <-done:
		return err
	case g.leave <- struct{}{}:
		return <-done
	}
}

// TestCloseDuringCommit: Close waits for what is being committed, and the rest
// is refused.
func TestCloseDuringCommit(t *testing.T) {
	g, s := openGated(t)
	leader := create(t.Context(), s, "first")
	<-g.entered
	late := create(t.Context(), s, "late")
	waiting(s, 1)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	for refused := false; !refused; runtime.Gosched() {
		_, err := s.Get(t.Context(), "s", "first")
		refused = errors.Is(err, db.ErrClosed)
	}
	g.shut.Store(false)
	g.leave <- struct{}{}
	require.NoError(t, <-leader)
	if err := <-late; err != nil {
		require.ErrorIs(t, err, db.ErrClosed)
	}
	require.NoError(t, <-closed)
}

// TestCloseWhileUsed closes a store in use: every call is done or refused.
func TestCloseWhileUsed(t *testing.T) {
	for round := range 10 {
		disk := vfs.NewMem()
		s, err := open("/d", tiny, disk)
		require.NoError(t, err)
		l := newLedger()
		var wg sync.WaitGroup
		wg.Go(func() { load(s, l, 4, 1_000_000) })
		for range 3 {
			wg.Go(func() {
				var err error
				for err == nil {
					for _, err = range s.Scan(context.Background(), "s") {
					}
				}
				if !errors.Is(err, db.ErrClosed) {
					t.Error(err)
				}
			})
		}
		for l.count() < 100*(1+round) {
			runtime.Gosched()
		}
		require.NoError(t, s.Close())
		wg.Wait()
		require.Empty(t, l.unknown, "no outcome is unknown")
		s, err = open("/d", tiny, disk)
		require.NoError(t, err)
		l.check(t, s, false)
		require.NoError(t, s.Close())
	}
}

// TestThrottle has tables that can't be written: writers wait instead of
// filling memory, no longer than their contexts, and go on when tables can be
// written again.
func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{match: on(".sst", errorfs.OpCreate), entered: make(chan struct{}, 100), leave: make(chan struct{})}
		s, err := open("/d", tiny, errorfs.Wrap(vfs.NewMem(), g))
		require.NoError(t, err)
		g.shut.Store(true)
		value := make([]byte, 100_000)
		n := 0
		write := func(ctx context.Context) error {
			_, err := s.Write(ctx, db.Write{Record: db.Record{Space: "s", ID: fmt.Sprint(n), Version: 1, Value: value}})
			return err
		}
		begin := time.Now()
		for ; err == nil && n < 1000; n++ {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			err = write(ctx)
			cancel()
		}
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "nothing was done")
		require.Equal(t, time.Minute, time.Since(begin))
		require.LessOrEqual(t, n, 8*int(tiny.MemTableBytes)/len(value))
		require.Equal(t, n-1, count(t, s), "reads go on")

		done := make(chan error)
		go func() { done <- write(t.Context()) }()
		synctest.Wait()
		require.Empty(t, done)
		g.shut.Store(false)
		close(g.leave)
		require.NoError(t, <-done)
		require.Equal(t, n, count(t, s))
		require.NoError(t, s.Close())
	})
}

// TestFailureEndsThrottle: who waits for tables learns that there will be none.
func TestFailureEndsThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{match: on(".sst", errorfs.OpCreate), entered: make(chan struct{}, 100), leave: make(chan struct{})}
		f := &full{match: on(".sst", errorfs.OpFileWrite), from: 1}
		s, err := open("/d", tiny, errorfs.Wrap(errorfs.Wrap(vfs.NewMem(), f), g))
		require.NoError(t, err)
		g.shut.Store(true)
		done := make(chan error)
		go func() {
			value := make([]byte, 100_000)
			var err error
			for n := 0; err == nil; n++ {
				_, err = s.Write(t.Context(), db.Write{Record: db.Record{Space: "s", ID: fmt.Sprint(n), Version: 1, Value: value}})
			}
			done <- err
		}()
		synctest.Wait()
		require.Empty(t, done)
		close(g.leave)
		require.ErrorIs(t, <-done, db.ErrFailed)
		require.NoError(t, s.Close())
	})
}
