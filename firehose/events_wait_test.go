package firehose_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/firehose/feeds"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// Whatever the user wishes while a reading waits for its next page: what page one
// has brought is published, and nothing is asked early.
func TestE6_WishesWhileAPageWaits(t *testing.T) {
	feed := resource.Spec{URI: uriFeed}
	for _, c := range []struct {
		name string
		wish func(ctx context.Context, o *firehose.OS, id resource.ID) error
		then func(t *testing.T, r *eventsRig) // at 100 s
	}{
		{"pause", func(ctx context.Context, o *firehose.OS, id resource.ID) error { return o.Pause(ctx, id) }, func(t *testing.T, r *eventsRig) {
			require.Equal(t, up(7, 9), r.items.ids())
			require.Equal(t, resource.Paused, r.explain(uriFeed).State)
			require.Len(t, r.board.all(""), 1)
			require.NoError(t, r.Resume(context.Background(), idOf(t, uriFeed)))
			until(150 * time.Second)
			require.Equal(t, append(up(7, 9), up(1, 6)...), r.items.ids(), "read on, although page one is unchanged")
		}},
		{"pause and resume", func(ctx context.Context, o *firehose.OS, id resource.ID) error {
			return errors.Join(o.Pause(ctx, id), o.Resume(ctx, id))
		}, func(t *testing.T, r *eventsRig) {
			require.GreaterOrEqual(t, len(r.items.ids()), 3)
			until(150 * time.Second)
			require.ElementsMatch(t, up(1, 9), r.items.ids())
		}},
		{"remove", func(ctx context.Context, o *firehose.OS, id resource.ID) error { return o.Remove(ctx, id) }, func(t *testing.T, r *eventsRig) {
			require.Equal(t, up(7, 9), r.items.ids(), "its answer is published")
			_, err := r.Explain(context.Background(), idOf(t, uriFeed))
			require.ErrorIs(t, err, firehose.ErrUnknown)
			until(5 * time.Minute)
			require.Len(t, r.board.all(""), 1)
			require.NoError(t, r.Add(context.Background(), feed))
			until(6 * time.Minute)
			require.Len(t, r.items.ids(), 9)
		}},
		{"remove and add", func(ctx context.Context, o *firehose.OS, id resource.ID) error {
			if err := o.Remove(ctx, id); err != nil {
				return err
			}
			synctest.Wait()
			return o.Add(ctx, feed)
		}, func(t *testing.T, r *eventsRig) { require.Len(t, r.items.ids(), 9) }},
		{"interval", func(ctx context.Context, o *firehose.OS, id resource.ID) error {
			return o.SetInterval(ctx, id, 5*time.Minute)
		}, func(t *testing.T, r *eventsRig) {
			require.Equal(t, up(1, 9), r.items.ids())
			until(8 * time.Minute) // it counts from the next poll on
			require.Equal(t, secs(0, 60, 360), r.board.times(uriFeed))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBoard(span(9, 1)...)
				r := read(t, b, firehose.Config{Profiles: paced(10 * time.Second)}, firehose.EventsConfig[feeds.Event]{})
				until(5 * time.Second)
				require.Contains(t, r.explain(uriFeed).Queue, "line/")
				require.NoError(t, c.wish(context.Background(), r.OS, idOf(t, uriFeed)))
				until(100 * time.Second)
				c.then(t, r)
				b.noEarlier(t, uriFeed, time.Minute)
				b.noEarlier(t, "", 10*time.Second)
				until(at() + 50*time.Second)
				require.Empty(t, slices.DeleteFunc(r.items.gaps(), func(g *firehose.Gap) bool { return g.Certainty < 0.5 }))
				r.settled()
			})
		})
	}
}

// A stop publishes what a reading has brought whose next page waits; the next start
// asks when the interval is over.
func TestE6_AStopWhileAPageWaits(t *testing.T) {
	for _, durable := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			b := newBoard(span(9, 1)...)
			config := firehose.Config{Profiles: paced(10 * time.Second)}
			if durable {
				config.DB = db.NewMemory()
			}
			r := read(t, b, config, firehose.EventsConfig[feeds.Event]{})
			until(15 * time.Second)
			require.NoError(t, r.stop())
			require.Less(t, at(), 20*time.Second)
			if !durable { // the pace before the first request is unknown to a store only
				require.Equal(t, up(4, 9), r.items.ids())
			}
			require.NotEmpty(t, r.items.ids())
			r.settled()
			if !durable {
				return
			}
			b.add("10")
			next := read(t, b, config, firehose.EventsConfig[feeds.Event]{Sink: r.items})
			until(3 * time.Minute)
			require.Len(t, r.items.ids(), 10)
			b.noEarlier(t, uriFeed, time.Minute)
			next.settled()
			require.NoError(t, next.stop())
		})
	}
}

// After a kill the claim of a reading whose page waits counts as sent.
func TestE6_AKillWhileAPageWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, b := db.NewMemory(), newBoard(span(9, 1)...)
		ctx, kill := context.WithCancel(context.Background())
		dying := &faultyDB{DB: store, c: &crasher{}, dead: ctx}
		dying.c.off.Store(true)
		config := firehose.Config{DB: dying, Profiles: paced(20 * time.Second)}
		items := &collector{refuse: func(int, firehose.Batch[feeds.Event]) error { return ctx.Err() }}
		r := read(t, b, config, firehose.EventsConfig[feeds.Event]{Sink: items})
		until(35 * time.Second) // page one at 20 s, since the pace of the run before is not known
		require.Len(t, b.all(""), 1)
		require.Contains(t, r.explain(uriFeed).Queue, "line/")
		kill()
		r.stop()
		require.Empty(t, r.items.ids(), "it is not safe")
		killed := at()

		config.DB = store
		next := read(t, b, config, firehose.EventsConfig[feeds.Event]{})
		until(killed + 10*time.Minute)
		require.Equal(t, up(1, 9), next.items.ids())
		b.noEarlier(t, uriFeed, time.Minute)
		b.noEarlier(t, "", 19*time.Second)
		next.settled()
	})
}

// Whichever service ends while a page waits, and wherever: nothing is lost, no
// credit is kept, nothing is asked early, and the feed goes on.
func TestE6_CrashesWhileAPageWaits(t *testing.T) {
	ends := map[string]func(){"panic": func() { panic("injected") }, "goexit": runtime.Goexit}
	for _, name := range []string{firehose.QueueAnalyze, firehose.QueueRequests, firehose.QueuePublish, "frozen-1000", "line/"} {
		for _, op := range []string{"receive", "commit", "committed"} {
			for end, how := range ends {
				t.Run(fmt.Sprintf("%s/%s/%s", name, op, end), func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						inner, err := queue.NewMemory(queue.MemoryConfig{})
						require.NoError(t, err)
						defer inner.Close()
						d := &deadly{Queue: inner, name: name, op: op, how: how, each: 3}
						if name == firehose.QueueAnalyze {
							d.each = 1
						}
						b := newBoard(span(12, 1)...)
						r := read(t, b, firehose.Config{Queue: d, Profiles: paced(10 * time.Second), PublishCount: 2}, firehose.EventsConfig[feeds.Event]{})
						for n := range 10 {
							until(time.Duration(n) * 70 * time.Second)
							b.add(fmt.Sprint(13 + n))
						}
						d.over.Store(true)
						require.Positive(t, d.deaths, "nothing was tried")
						until(20 * time.Minute)
						got := r.items.ids()
						slices.Sort(got)
						for _, id := range up(1, 22) {
							require.Contains(t, got, id)
						}
						require.LessOrEqual(t, len(slices.Compact(slices.Clone(got))), len(got))
						b.noEarlier(t, uriFeed, time.Minute)
						b.noEarlier(t, "", 10*time.Second)
						require.Greater(t, b.times(uriFeed)[len(b.times(uriFeed))-1], 18*time.Minute)
						until(20*time.Minute + 45*time.Second)
						r.settled()
					})
				})
			}
		}
	}
}

// A delivery that is lost to another process takes its reading with it, and its
// credit.
func TestE6_ALostDeliveryWhileAPageWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		inner, err := queue.NewMemory(queue.MemoryConfig{})
		require.NoError(t, err)
		defer inner.Close()
		q := &loser{Queue: inner}
		b := newBoard(span(9, 1)...)
		r := read(t, b, firehose.Config{Queue: q, Profiles: paced(10 * time.Second)}, firehose.EventsConfig[feeds.Event]{})
		until(5 * time.Second)
		q.lose.Store(1) // the Gate's
		until(20 * time.Second)
		require.Zero(t, q.lose.Load())
		q.lose.Store(1)
		until(5 * time.Minute)
		b.add("10")
		until(7*time.Minute + 50*time.Second)
		require.Len(t, r.items.ids(), 10)
		b.noEarlier(t, uriFeed, time.Minute)
		r.settled()
	})
}

// loser tells a session that its next commit with a delivery has lost it, and
// leaves it as if its holder had gone.
type loser struct {
	queue.Queue
	lose atomic.Int32
}

func (l *loser) Unwrap() queue.Queue { return l.Queue }

func (l *loser) Open(ctx context.Context) (queue.Session, error) {
	s, err := l.Queue.Open(ctx)
	return &loserSession{s, l, ctx}, err
}

type loserSession struct {
	queue.Session
	l   *loser
	ctx context.Context
}

func (s *loserSession) Commit(ctx context.Context, done []queue.Delivery, next ...queue.Message) error {
	if len(done) > 0 && s.l.lose.Add(-1) == 0 {
		s.Session.Close() // the delivery goes to its next holder
		var err error
		if s.Session, err = s.l.Queue.Open(s.ctx); err != nil {
			return err
		}
		lost := &queue.LostError{}
		for _, d := range done {
			lost.IDs = append(lost.IDs, d.Resource.ID)
		}
		return lost
	}
	if s.l.lose.Load() < 0 {
		s.l.lose.Store(0)
	}
	return s.Session.Commit(ctx, done, next...)
}

func (s *loserSession) Take(ctx context.Context, id resource.ID) (queue.Delivery, error) {
	return s.Session.(queue.Taker).Take(ctx, id)
}

// A reading whose next page can't be asked for before page one may be asked again
// is published as it is.
func TestE6_ATurnThatComesTooLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBoard(span(9, 1)...)
		r := read(t, b, firehose.Config{Profiles: paced(45 * time.Second)}, firehose.EventsConfig[feeds.Event]{})
		until(50 * time.Second)
		require.Equal(t, secs(45), b.times(pageOf(2)))
		require.Equal(t, up(4, 9), r.items.ids(), "page three would come at 90 s")
		require.EqualValues(t, 1, r.events.Stats().Cut)
		b.add("10", "11", "12")
		until(10 * time.Minute)
		require.Len(t, r.items.ids(), 9)
		b.noEarlier(t, uriFeed, time.Minute)
		b.noEarlier(t, "", 45*time.Second)
	})
}

// A reading that waits for its next page has no credit, for which it would wait
// itself: not even the only one.
func TestE6_AWaitingPageHoldsUpNobody(t *testing.T) {
	for _, config := range []firehose.Config{{PublishCount: 1}, {PublishBytes: 1}, {PublishCount: 1, Workers: 1}} {
		bubble(t, func(t *testing.T) {
			b := newBoard(span(9, 1)...)
			config.Profiles = paced(10 * time.Second)
			config.Profiles["other"] = resource.Profile{}
			other := newBoard("1")
			b.wrong = func(page int, c call) *reply {
				if c.URL == uriC {
					r := other.page(1, c)
					return &r
				}
				return nil
			}
			config.Resources = []resource.Spec{{URI: uriFeed}, {URI: uriFeed + "?other"}, {URI: uriC, Profile: "other", Interval: 5 * time.Second}}
			r := read(t, b, config, firehose.EventsConfig[feeds.Event]{})
			until(59 * time.Second)
			require.Len(t, b.all(uriC), 12, "others go on")
			require.Len(t, b.all(pageOf(2)), 1)
			require.GreaterOrEqual(t, len(b.all("")), 12+4, "and so do the pages")
			until(3 * time.Minute)
			require.GreaterOrEqual(t, len(r.items.ids()), 9+1)
			b.noEarlier(t, uriFeed, time.Minute)
		})
	}
}

// A user may remove a feed in the very moment in which its next page is refused.
func TestE6_RemovedWhileAPageIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBoard(span(9, 1)...)
		var r *eventsRig
		token, err := resource.BearerToken("made-up")
		require.NoError(t, err)
		asked := 0
		tokens := tokenFunc(func(ctx context.Context) (resource.Token, error) {
			if asked++; asked == 2 {
				require.NoError(t, r.Remove(ctx, idOf(t, uriFeed)))
			}
			return token, nil
		})
		profiles := paced(10 * time.Second)
		profiles[""] = resource.Profile{Limit: profiles[""].Limit, Credential: "c"}
		b.turn.Lock()
		r = read(t, b, firehose.Config{Profiles: profiles, Tokens: tokens}, firehose.EventsConfig[feeds.Event]{})
		b.turn.Unlock()
		until(5 * time.Minute)
		require.GreaterOrEqual(t, asked, 2)
		require.Equal(t, up(7, 9), r.items.ids())
		r.settled()
		_, err = r.Explain(context.Background(), idOf(t, uriFeed))
		require.ErrorIs(t, err, firehose.ErrUnknown)
	})
}

// tokenFunc is a source of tokens for one credential, of any origin.
type tokenFunc func(ctx context.Context) (resource.Token, error)

func (f tokenFunc) Token(ctx context.Context, _, _ string) (resource.Token, error) { return f(ctx) }
func (f tokenFunc) Credential(string) string                                       { return "c" }
