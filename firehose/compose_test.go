package firehose_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
	"github.com/cannedos/cannedos/scheduler"
)

// The services run in a scheduler of the user's, beside one of the user's own,
// and leave nothing behind: no goroutine, and no lease that the next would have
// to wait for.
func TestServicesInAnotherScheduler(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, err := db.OpenFile(filepath.Join(t.TempDir(), "state"))
		require.NoError(t, err)
		defer store.Close()
		net := newScript(func(c call) reply { return ok(fmt.Sprint(c.n), "") })
		for run := range 2 {
			specs, err := firehose.Services(firehose.Config{Resources: resource.List(uriA), DB: store, Transport: net})
			require.NoError(t, err)
			own := scheduler.Spec{Alias: "own", After: []string{"initializer"}, Service: scheduler.Func(func(ctx context.Context) error {
				scheduler.Ready(ctx)
				<-ctx.Done()
				return nil
			})}
			s, err := scheduler.New(scheduler.Config{Name: "mine", Services: append(specs, own)})
			require.NoError(t, err)
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.Serve(ctx) }()
			require.NoError(t, s.AwaitStarted(ctx))
			until(time.Duration(run+1) * 150 * time.Second)
			stop()
			require.NoError(t, <-done)
		}
		require.Equal(t, secs(0, 60, 120, 180, 240, 300), net.times(uriA), "as if there had been one run")
	})
}

// bare hides every optional power of a queue.
type bare struct{ queue.Queue }

func (b bare) Open(ctx context.Context) (queue.Session, error) {
	s, err := b.Queue.Open(ctx)
	if err != nil {
		return nil, err
	}
	return struct{ queue.Session }{s}, nil
}

// A queue without any optional power is enough: a wish counts when the turn of
// its resource comes, and what can't be told is an error.
func TestQueueWithoutPowers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q, err := queue.NewMemory(queue.MemoryConfig{})
		require.NoError(t, err)
		defer q.Close()
		net := newScript(func(c call) reply { return ok(fmt.Sprint(c.n), "") })
		r := start(t, net, firehose.Config{Queue: bare{q}, DB: db.NewMemory(), Resources: resource.List(uriA, uriB, uriC)})
		ctx := t.Context()
		until(30 * time.Second)
		require.NoError(t, r.Pause(ctx, idOf(t, uriA)))
		require.NoError(t, r.Remove(ctx, idOf(t, uriB)))
		until(10*time.Minute - 1)
		require.Len(t, net.all(uriA), 1)
		require.Len(t, net.all(uriB), 1)
		require.Len(t, net.all(uriC), 10)
		_, err = r.Explain(ctx, idOf(t, uriA))
		require.ErrorContains(t, err, "can't find")
		_, err = r.Errors(ctx, firehose.QueuePublishError, resource.ID{}, 1)
		require.ErrorContains(t, err, "can't list")
		require.ErrorIs(t, r.Replay(ctx, idOf(t, uriA)), firehose.ErrUnknown)
		require.Nil(t, r.Stats().Queues)
		require.Nil(t, r.Stats().States)
		require.NoError(t, r.Resume(ctx, idOf(t, uriA)))
		until(2 * time.Hour)
		require.Greater(t, len(net.all(uriA)), 50, "a paused one is looked at again once an hour")
		require.NoError(t, r.stop())
		_, err = q.Depths(ctx)
		require.NoError(t, err, "a queue that was given is not closed")
	})
}

// A resource of a profile that is no longer configured is not sent under
// another: it is buried, with its cause, until a replay.
func TestProfileIsGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := db.NewMemory()
		spec := resource.Spec{URI: uriA, Profile: "p", ID: resource.NewID()}
		net := newScript(func(c call) reply { return ok(fmt.Sprint(c.n), "") })
		with := map[string]resource.Profile{"p": {}}
		r := start(t, net, firehose.Config{DB: store, Profiles: with})
		synctest.Wait()
		require.NoError(t, r.Add(t.Context(), spec))
		until(30 * time.Second)
		require.NoError(t, r.stop())
		r = start(t, net, firehose.Config{DB: store})
		until(2 * time.Minute)
		require.Len(t, net.all(uriA), 1)
		buried := r.errorsIn(firehose.QueueAnalyzeError)
		require.Len(t, buried, 1)
		require.Equal(t, `firehose: profile "p" is not configured`, buried[0].Cause)
		require.NoError(t, r.stop())
		r = start(t, net, firehose.Config{DB: store, Profiles: with})
		synctest.Wait()
		require.Len(t, r.errorsIn(firehose.QueueAnalyzeError), 1, "it stays where it is")
		require.NoError(t, r.Replay(t.Context(), spec.ID))
		synctest.Wait()
		require.Len(t, net.all(uriA), 2)
	})
}

// The first failure and the recovery are told, and nothing between.
func TestFailingAndRecovered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			if c.n > 0 && c.n < 5 {
				return status(500)
			}
			return ok("same", "")
		})
		r := start(t, net, firehose.Config{Resources: resource.List(uriA)})
		until(time.Hour)
		require.Equal(t, []string{"failing", "recovered"}, r.sink.kinds())
		require.Contains(t, r.sink.events[0].Cause, "500")
	})
}
