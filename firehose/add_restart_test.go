package firehose_test

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// begun is a store in which an Add of so many resources was begun, and not ended.
func begun(t *testing.T, specs []resource.Spec) db.DB {
	t.Helper()
	store := db.NewMemory()
	for _, spec := range specs {
		value := fmt.Sprintf(`{"spec":{"id":%q,"uri":%q},"every_ns":%d,"admitting":true}`, id(t, spec), spec.URI, spec.Interval)
		_, err := store.Write(t.Context(), db.Write{Record: db.Record{Space: "registry", ID: id(t, spec).String(), Version: 1, Value: []byte(value)}})
		require.NoError(t, err)
	}
	return store
}

// requireAdmitted requires that no Add is under way according to the registry.
func requireAdmitted(t *testing.T, store db.DB, want int) {
	t.Helper()
	n := 0
	for rec, err := range store.Scan(t.Context(), "registry") {
		require.NoError(t, err)
		require.NotContains(t, string(rec.Value), "admitting")
		n++
	}
	require.Equal(t, want, n)
}

// What an Add has begun is finished by the next start, in as few writes as by Add,
// whether the Config has come to list it meanwhile or not.
func TestStartFinishesAddsTogether(t *testing.T) {
	for _, listed := range []int{0, 500, 700} {
		bubble(t, func(t *testing.T) {
			specs := apart(700)
			store := &writeCounter{DB: begun(t, specs)}
			net := newScript(func(c call) reply { return ok("", "") })
			hold := &atOnce{Queue: newDurable(t, store)}
			r := start(t, net, firehose.Config{DB: store, Queue: hold, Resources: specs[:listed]})
			require.NoError(t, r.Ready(t.Context()))
			synctest.Wait()
			require.Equal(t, 3, store.wishes, "3 batches")
			require.LessOrEqual(t, hold.admissions, 4, "of as many at once")
			require.Len(t, net.all(""), 700)
			requireAdmitted(t, store, 700)
			require.NoError(t, r.stop())
		})
	}
}

func newDurable(t *testing.T, store db.DB) queue.Queue {
	t.Helper()
	q, err := queue.NewDurable(store, queue.DurableConfig{})
	require.NoError(t, err)
	t.Cleanup(func() { q.Close() })
	return q
}

// atOnce counts the Commits that admit.
type atOnce struct {
	queue.Queue
	admissions int // of one session at a time: the Initializer's
}

func (q *atOnce) Unwrap() queue.Queue { return q.Queue }

func (q *atOnce) Open(ctx context.Context) (queue.Session, error) {
	s, err := q.Queue.Open(ctx)
	return atOnceSession{s, q}, err
}

type atOnceSession struct {
	queue.Session
	q *atOnce
}

func (s atOnceSession) Commit(ctx context.Context, done []queue.Delivery, next ...queue.Message) error {
	if len(done) == 0 && len(next) > 0 {
		s.q.admissions++
	}
	return s.Session.Commit(ctx, done, next...)
}

func (s atOnceSession) Take(ctx context.Context, id resource.ID) (queue.Delivery, error) {
	return s.Session.(queue.Taker).Take(ctx, id)
}

// A start that finishes what an Add has begun may be killed at any of its writes:
// the next one does the rest.
func TestStartThatFinishesAddsIsKilled(t *testing.T) {
	specs := apart(300)
	for at := range 6 {
		for _, what := range []string{"before", "after some", "after all"} {
			bubble(t, func(t *testing.T) {
				store := begun(t, specs)
				dying := &stepDB{DB: store, at: at, how: "dies " + what}
				lost := newScript(func(c call) reply { return reply{err: errReset} })
				r := start(t, lost, firehose.Config{DB: dying})
				pass(time.Minute)
				r.stop()
				require.Greater(t, dying.n, at)

				net := newScript(func(c call) reply { return ok("", "") })
				r = start(t, net, firehose.Config{DB: store, Workers: 512})
				require.NoError(t, r.Ready(t.Context()))
				pass(5 * time.Minute)
				for _, spec := range specs {
					require.GreaterOrEqual(t, len(net.times(spec.URI)), 3, spec.URI)
				}
				requireAdmitted(t, store, len(specs))
				require.NoError(t, r.stop())
			})
		}
	}
}

// manyRefusing refuses Commits of several messages, and does not say of which.
type manyRefusing struct {
	queue.Queue
	err error
}

func (q manyRefusing) Unwrap() queue.Queue { return q.Queue }

func (q manyRefusing) Open(ctx context.Context) (queue.Session, error) {
	s, err := q.Queue.Open(ctx)
	return manyRefusingSession{s, q.err}, err
}

type manyRefusingSession struct {
	queue.Session
	err error
}

func (s manyRefusingSession) Commit(ctx context.Context, done []queue.Delivery, next ...queue.Message) error {
	if len(next) > 1 && len(done) == 0 {
		return s.err
	}
	return s.Session.Commit(ctx, done, next...)
}

// What a queue refuses together it may take one by one: by Add, and at a start.
func TestAdmissionOneByOne(t *testing.T) {
	for _, refusal := range []error{queue.ErrRefused, queue.ErrExists, &queue.ExistsError{}} {
		bubble(t, func(t *testing.T) {
			q, err := queue.NewMemory(queue.MemoryConfig{})
			require.NoError(t, err)
			defer q.Close()
			net := newScript(func(c call) reply { return ok("", "") })
			specs := apart(300)
			r := start(t, net, firehose.Config{Queue: manyRefusing{q, refusal}, Resources: specs[:100]})
			require.NoError(t, r.Ready(t.Context()))
			synctest.Wait()
			require.Len(t, net.all(""), 100)
			errs := addErrors(t, r.Add(t.Context(), specs...))
			require.Len(t, errs, 100)
			for _, spec := range specs[:100] {
				require.ErrorIs(t, errs[spec.URI], queue.ErrExists)
			}
			synctest.Wait()
			require.Len(t, net.all(""), 300)
			require.NoError(t, r.stop())
		})
	}
}

// scanned is a store that does something at the end of the second reading of the
// registry, which is the Initializer's, before that one hears of it.
type scanned struct {
	db.DB
	n  int
	do func()
}

func (s *scanned) Scan(ctx context.Context, space string) iter.Seq2[db.Record, error] {
	return func(yield func(db.Record, error) bool) {
		for rec, err := range s.DB.Scan(ctx, space) {
			if !yield(rec, err) {
				return
			}
		}
		if space != "registry" {
			return
		}
		if s.n++; s.n == 2 {
			s.do()
		}
	}
}

// What is removed while a start reads the registry is not brought back by what that
// has read before, and what is then added again is not asked early for it.
func TestG1_RemovedWhileTheRegistryIsRead(t *testing.T) {
	for _, again := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			store := &scanned{DB: db.NewMemory()}
			net := newScript(func(call) reply {
				return reply{body: "x", header: map[string]string{"X-Poll-Interval": "60"}}
			})
			r := start(t, net, firehose.Config{DB: store.DB})
			require.NoError(t, r.Add(t.Context(), resource.List(uriA, uriB)...))
			pass(20 * time.Second)
			require.NoError(t, r.stop())

			var os *rig
			made := make(chan struct{})
			store.do = func() {
				<-made
				require.NoError(t, os.Remove(t.Context(), idOf(t, uriA)))
				if again {
					require.NoError(t, os.Add(t.Context(), resource.Spec{URI: uriA}))
				}
			}
			os = start(t, net, firehose.Config{DB: store})
			close(made)
			require.NoError(t, os.Ready(t.Context()))
			pass(150 * time.Second)
			require.Equal(t, 2, store.n)
			require.Equal(t, secs(0, 60, 120), net.times(uriB))
			if again {
				require.Equal(t, secs(0, 60, 120), net.times(uriA))
			} else {
				require.Equal(t, secs(0), net.times(uriA))
				_, err := os.Explain(t.Context(), idOf(t, uriA))
				require.ErrorIs(t, err, firehose.ErrUnknown)
			}
			require.NoError(t, os.stop())
		})
	}
}

// A start costs about as much for each resource that came by Add as for one that the
// Config lists: what it needs besides is the record that it reads.
func TestStartOfWhatWasAddedCostsLittle(t *testing.T) {
	const n = 4000
	cost := func(t *testing.T, added bool) (bytes float64) {
		store, specs := db.NewMemory(), apart(n)
		config := firehose.Config{DB: store, Transport: lasting{}} // which is asked once in a day
		if !added {
			config.Resources = specs
		}
		for restart := range 2 {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r := start(t, nil, config)
			require.NoError(t, r.Ready(t.Context()))
			runtime.ReadMemStats(&after)
			bytes = float64(after.TotalAlloc-before.TotalAlloc) / n
			if added && restart == 0 {
				require.NoError(t, r.Add(t.Context(), specs...))
			}
			synctest.Wait()
			require.NoError(t, r.stop())
		}
		return bytes
	}
	bubble(t, func(t *testing.T) {
		listed, added := cost(t, false), cost(t, true)
		t.Logf("bytes made by a restart, for each resource: %.0f listed, %.0f added", listed, added)
		require.Less(t, added, 2*listed+8000)
	})
}
