//go:build integration

package cassandra_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/db/cassandra"
	"github.com/cannedos/cannedos/internal/servers"
)

// inFlight counts the requests that are under way of calls with its context.
type inFlight struct{ now, most atomic.Int64 }

func (f *inFlight) StreamContext(ctx context.Context) gocql.StreamObserverContext {
	if ctx.Value(f) == nil {
		return nil // one of the driver's own
	}
	return f
}

func (f *inFlight) StreamStarted(gocql.ObservedStream) {
	n := f.now.Add(1)
	for most := f.most.Load(); n > most && !f.most.CompareAndSwap(most, n); most = f.most.Load() {
	}
}

func (f *inFlight) StreamAbandoned(gocql.ObservedStream) { f.now.Add(-1) }
func (f *inFlight) StreamFinished(gocql.ObservedStream)  { f.now.Add(-1) }

func TestMaxInFlight(t *testing.T) {
	var f inFlight
	c := config(t, newName(t))
	c.MaxInFlight = 5
	c.Driver = func(driver *gocql.ClusterConfig) { driver.StreamObserver = &f }
	store := openStore(t, c)
	ctx := context.WithValue(t.Context(), &f, true)
	ids := make([]string, 50)
	writes := make([]db.Write, len(ids))
	for i := range ids {
		ids[i] = fmt.Sprint(i)
		writes[i] = db.Write{Record: db.Record{Space: "s", ID: ids[i], Version: 1}}
	}
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			_, err := store.Write(ctx, writes...)
			requireGo(t, err)
			_, err = store.Get(ctx, "s", ids...)
			requireGo(t, err)
			for _, err := range store.Scan(ctx, "s") {
				requireGo(t, err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 5, f.most.Load(), "requests under way at a time")
	require.Zero(t, f.now.Load())
}

// requireGo is for goroutines, which may not end a test.
func requireGo(t testing.TB, err error) {
	if err != nil {
		t.Error(err)
	}
}

// muted opens a store whose node does not answer any more, once it has written
// record a up to version 2, so that all statements are known to both.
func muted(t *testing.T, change func(c *cassandra.Config)) (*cassandra.Store, *servers.Proxy) {
	c := config(t, newName(t))
	p := startProxy(t, c.Hosts[0])
	c.Hosts = []string{p.Addr()}
	if change != nil {
		change(&c)
	}
	store := openStore(t, c)
	for i := range int64(2) {
		results, err := store.Write(t.Context(), db.Write{If: i, Record: db.Record{Space: "s", ID: "a", Version: i + 1}})
		require.NoError(t, err)
		require.True(t, results[0].OK)
	}
	p.MuteAnswers()
	return store, p
}

func TestContextEndsDuringCall(t *testing.T) {
	store, _ := muted(t, nil)
	why := errors.New("why")
	for name, call := range map[string]func(ctx context.Context) error{
		"Get": func(ctx context.Context) error { _, err := store.Get(ctx, "s", "a", "b"); return err },
		"Write": func(ctx context.Context) error {
			_, err := store.Write(ctx, db.Write{If: 2, Record: db.Record{Space: "s", ID: "a", Version: 3}})
			return err
		},
		"Scan": func(ctx context.Context) (err error) {
			for _, err = range store.Scan(ctx, "s") {
			}
			return err
		},
	} {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, why)
		begin := time.Now()
		err := call(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
		require.ErrorIs(t, err, why, name)
		require.Less(t, time.Since(begin), cassandra.DefaultTimeout/2, name)
		cancel()
	}
}

// TestCloseDuringCalls closes a store whose node is silent: what is under way
// is waited for, what waits for its turn is not.
func TestCloseDuringCalls(t *testing.T) {
	const calls = 8
	store, _ := muted(t, func(c *cassandra.Config) { c.MaxInFlight, c.Timeout = 2, 3*time.Second })
	ended := make(chan error, calls)
	var begun sync.WaitGroup
	for i := range calls {
		begun.Add(1)
		go func() {
			begun.Done()
			_, err := store.Get(t.Context(), "s", fmt.Sprint(i))
			ended <- err
		}()
	}
	begun.Wait()
	wait(t.Context(), 200*time.Millisecond) // until two are under way
	require.NoError(t, store.Close())
	late, refused := 0, 0
	for range calls {
		switch err := <-ended; {
		case errors.Is(err, db.ErrClosed):
			refused++
		case errors.Is(err, gocql.ErrTimeoutNoResponse):
			late++
		default:
			require.NoError(t, err)
		}
	}
	require.Equal(t, 2, late)
	require.Equal(t, calls-2, refused)
}

// TestCloseUnderLoad closes a store that is busy with batches: each is either
// carried out, and said to be, or refused, with nothing done.
func TestCloseUnderLoad(t *testing.T) {
	c := config(t, newName(t))
	c.MaxInFlight = 4
	store, after := openStore(t, c), openStore(t, c)
	const writers, batch = 16, 20
	var wg sync.WaitGroup
	told := make([]int64, writers) // the version that was acknowledged last
	for w := range writers {
		wg.Go(func() {
			for version := int64(1); ; version++ {
				writes := make([]db.Write, batch)
				for i := range writes {
					writes[i] = db.Write{If: version - 1, Record: db.Record{Space: "s", ID: fmt.Sprint(w, i), Version: version}}
				}
				if _, err := store.Write(t.Context(), writes...); err != nil {
					if !errors.Is(err, db.ErrClosed) {
						t.Error(err)
					}
					return
				}
				told[w] = version
			}
		})
	}
	wait(t.Context(), 2*time.Second)
	for range 3 {
		wg.Go(func() { requireGo(t, store.Close()) })
	}
	wg.Wait()
	stored := make(map[string]int64)
	for r, err := range after.Scan(t.Context(), "s") {
		require.NoError(t, err)
		stored[r.ID] = r.Version
	}
	for w := range writers {
		for i := range batch {
			require.Equal(t, told[w], stored[fmt.Sprint(w, i)], "record %d of writer %d", i, w)
		}
	}
}

// drivers is how many goroutines of the driver there are.
func drivers() int {
	var b bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&b, 2)
	n := 0
	for stack := range bytes.SplitSeq(b.Bytes(), []byte("\n\n")) {
		if bytes.Contains(stack, []byte("cassandra-gocql-driver")) {
			n++
		}
	}
	return n
}

func TestCloseLeavesNothing(t *testing.T) {
	c := config(t, newName(t))
	before := drivers()
	for range 3 {
		require.NoError(t, cassandra.CreateSchema(t.Context(), c, schema))
		store, err := cassandra.Open(t.Context(), c)
		require.NoError(t, err)
		require.Greater(t, drivers(), before)
		require.NoError(t, store.Close())
	}
	// The driver does not wait for its own.
	for deadline := time.Now().Add(10 * time.Second); drivers() > before && time.Now().Before(deadline); {
		wait(t.Context(), 50*time.Millisecond)
	}
	require.LessOrEqual(t, drivers(), before, "goroutines of the driver after Close")
}

// TestOpenGivesUp opens a store whose node accepts and says nothing.
func TestOpenGivesUp(t *testing.T) {
	c := config(t, newName(t))
	p := startProxy(t, c.Hosts[0])
	stop := make(chan struct{})
	var muting sync.WaitGroup
	muting.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				p.MuteAnswers()
			}
		}
	})
	defer muting.Wait()
	defer close(stop)
	c.Hosts = []string{p.Addr()}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := cassandra.Open(ctx, c)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(begin), cassandra.DefaultTimeout/2)
}
