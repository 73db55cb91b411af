package firehose_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/firehose/feeds"
	"github.com/cannedos/cannedos/resource"
)

// Further pages count in the bytes that wait for the sink, and a slow sink slows
// polling.
func TestD11_PagesCountInTheCredits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBoard()
		for n := range 9 {
			b.ids = append(b.ids, fmt.Sprint(n)+strings.Repeat("x", 300))
		}
		open := make(chan struct{})
		items := &collector{refuse: func(int, firehose.Batch[feeds.Event]) error { <-open; return nil }}
		other := resource.Spec{URI: uriFeed + "?other", Interval: 5 * time.Second}
		r := read(t, b, firehose.Config{PublishBytes: 4000, Resources: []resource.Spec{{URI: uriFeed}, other}}, firehose.EventsConfig[feeds.Event]{Sink: items})
		until(20 * time.Second)
		s := r.Stats()
		require.Greater(t, s.Holding, int64(3*(1024+900)))
		require.LessOrEqual(t, len(b.all(other.URI)), 1, "no request leaves meanwhile")
		close(open)
		until(40 * time.Second)
		require.Greater(t, len(b.all(other.URI)), 2)
		r.settled()
	})
}

// A sink that says that it can't now is offered the same again and again, and its
// feed comes no nearer to publish-error.
func TestD11_ErrLaterIsNoRefusal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBoard(span(9, 1)...)
		items := &collector{refuse: func(n int, _ firehose.Batch[feeds.Event]) error {
			if n < 50 {
				return fmt.Errorf("busy: %w", firehose.ErrLater)
			}
			return nil
		}}
		r := read(t, b, firehose.Config{SinkTries: 2}, firehose.EventsConfig[feeds.Event]{Sink: items})
		until(3 * time.Second)
		require.Greater(t, items.offers, 20)
		require.Empty(t, items.ids())
		require.Equal(t, firehose.QueuePublish, r.explain(uriFeed).Queue)
		until(30 * time.Second)
		require.Equal(t, up(1, 9), items.ids())
		require.Zero(t, r.Stats().SinkErrors)
		require.Empty(t, r.sink.kinds())
		require.Len(t, b.all(""), 3)
		r.settled()
	})
}

// A sink that refuses, in whichever way, gets the same items again; after SinkTries
// the feed is in publish-error with nothing marked as seen, and a replay brings all
// of it.
//
// Peer huginn-1: an item counts as seen before it is known whether there is room
// for it in this run: the surplus is lost for ever.
func TestD11_NothingIsSeenThatWasRefused(t *testing.T) {
	for name, refuse := range map[string]func() error{
		"error": func() error { return errSink }, "panic": func() error { panic("the sink panics") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBoard(span(9, 1)...)
				var sick atomic.Bool
				offered := map[int]int{}
				items := &collector{refuse: func(_ int, batch firehose.Batch[feeds.Event]) error {
					offered[len(batch.Items)]++
					if sick.Load() {
						return refuse()
					}
					return nil
				}}
				r := read(t, b, firehose.Config{SinkTries: 3}, firehose.EventsConfig[feeds.Event]{Sink: items})
				until(30 * time.Second)
				sick.Store(true)
				b.add("10", "11")
				until(90 * time.Second)
				require.Equal(t, map[int]int{9: 1, 2: 3}, offered, "the same each time")
				require.Len(t, r.errorsIn(firehose.QueuePublishError), 1)
				require.EqualValues(t, 9, r.events.Stats().Items)
				r.settled()
				sick.Store(false)
				b.add("12")
				require.NoError(t, r.Replay(context.Background(), idOf(t, uriFeed)))
				until(150 * time.Second)
				require.Equal(t, append(up(1, 9), "11", "10", "12"), r.items.ids())
				require.Empty(t, r.items.gaps())
				b.noEarlier(t, uriFeed, time.Minute)
			})
		})
	}
}

// allOf collects what All yields, until stop says so of a batch.
func allOf(ctx context.Context, e *firehose.Events[feeds.Event], ids *[]string, stop func(n int) bool) error {
	n := 0
	for batch, err := range e.All(ctx) {
		if err != nil {
			return err
		}
		n++
		if stop(n) {
			return nil
		}
		for _, item := range batch.Items {
			*ids = append(*ids, item.ID)
		}
	}
	return nil
}

func never(int) bool { return false }

// readAll serves an OS whose batches are for All.
func readAll(t *testing.T, b *board, config firehose.Config) (*rig, *firehose.Events[feeds.Event]) {
	t.Helper()
	events, err := firehose.NewEvents(firehose.EventsConfig[feeds.Event]{Reader: feeds.GitHub()})
	require.NoError(t, err)
	config.Sink, config.Resources = events, resource.List(uriFeed)
	return start(t, b.script, config), events
}

// A batch counts as taken when the loop comes back, one that it was left with is
// yielded to the next loop, and as long as there is none the feed waits.
func TestD11_AllTakesWhatTheLoopCameBackFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBoard(span(9, 1)...)
		r, events := readAll(t, b, firehose.Config{SinkTries: 1, SinkTimeout: 5 * time.Second})
		until(5 * time.Minute)
		require.Len(t, b.all(""), 3, "nobody ranges")
		require.Zero(t, r.Stats().SinkErrors)

		var ids []string
		require.NoError(t, allOf(context.Background(), events, &ids, func(n int) bool { return n == 1 })) // left in the middle
		require.Empty(t, ids)
		synctest.Wait()
		require.Zero(t, events.Stats().Items)
		func() {
			defer func() { require.Equal(t, "in the loop", recover()) }()
			for range events.All(context.Background()) {
				panic("in the loop")
			}
		}()
		ctx, stop := context.WithCancelCause(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- allOf(ctx, events, &ids, never) }()
		until(6 * time.Minute)
		require.Equal(t, up(1, 9), ids)
		require.EqualValues(t, 9, events.Stats().Items)
		b.add("11", "10")
		until(8 * time.Minute)
		require.Equal(t, up(1, 11), ids)
		stop(errReset)
		require.ErrorIs(t, <-ended, errReset)
		require.Zero(t, r.Stats().Publishing)
	})
}

// A loop that takes longer than SinkTimeout for a batch gets it once.
func TestD11_AllWaitsForASlowLoop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBoard(span(9, 1)...)
		r, events := readAll(t, b, firehose.Config{SinkTries: 1, SinkTimeout: time.Second})
		var ids []string
		go allOf(t.Context(), events, &ids, func(int) bool { time.Sleep(90 * time.Second); return false })
		until(80 * time.Second)
		require.Equal(t, firehose.QueuePublish, r.explain(uriFeed).Queue)
		until(95 * time.Second)
		require.Equal(t, up(1, 9), ids)
		b.add("10")
		until(5 * time.Minute)
		require.Equal(t, up(1, 10), ids)
		require.Empty(t, r.errorsIn(firehose.QueuePublishError))
		require.EqualValues(t, 2, events.Stats().Readings)
	})
}

// Several loops share the batches, each of which one of them gets.
func TestD11_AllSharesBatchesAmongLoops(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBoard("1")
		_, events := readAll(t, b, firehose.Config{})
		ctx, stop := context.WithCancel(context.Background())
		var ids [2][]string
		ended := make(chan error, 2)
		for i := range ids {
			go func() {
				ended <- allOf(ctx, events, &ids[i], func(int) bool { time.Sleep(70 * time.Second); return false })
			}()
		}
		for n := 2; n < 8; n++ {
			until(time.Duration(n) * time.Minute)
			b.add(fmt.Sprint(n))
		}
		until(12 * time.Minute)
		stop()
		for range ids {
			require.ErrorIs(t, <-ended, context.Canceled)
		}
		require.ElementsMatch(t, up(1, 7), append(ids[0], ids[1]...))
	})
}
