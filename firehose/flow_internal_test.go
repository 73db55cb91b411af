package firehose

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
	"github.com/cannedos/cannedos/scheduler"
)

// scripted is a session whose commits end as the test says.
type scripted struct {
	queue.Session
	errs    []error
	commits [][]resource.ID // the ids of done in each
	next    [][]resource.ID
}

func (s *scripted) Commit(_ context.Context, done []queue.Delivery, next ...queue.Message) error {
	var ids, moved []resource.ID
	for _, d := range done {
		ids = append(ids, d.Resource.ID)
	}
	for _, m := range next {
		moved = append(moved, m.Resource.ID)
	}
	s.commits, s.next = append(s.commits, ids), append(s.next, moved)
	err := s.errs[0]
	s.errs = s.errs[1:]
	return err
}

func messages(n int) (done []queue.Delivery, next []queue.Message, ids []resource.ID) {
	for range n {
		m := queue.Message{Queue: QueueRequests, Resource: resource.Resource{Spec: resource.Spec{ID: resource.NewID()}, Origin: "https://a.test"}}
		m.Response = new(resource.Response)
		done, next, ids = append(done, queue.Delivery{Message: m}), append(next, m), append(ids, m.Resource.ID)
	}
	return done, next, ids
}

// A commit of unknown outcome is repeated, later and later; deliveries that were
// lost are left out, with what had been handed out for them.
func TestCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flow{log: slog.New(slog.DiscardHandler), buckets: newBuckets(nil, db.Owner{}), credits: newCredits(9, 1<<40)}
		odd := errors.New("who knows")
		done, next, ids := messages(3)
		s := f.buckets.scope(next[0].Resource.Scope(), nil)
		for i := range next {
			s.tickets[ids[i]] = ""
			s.counts[""]++
			k, err := f.credits.take(t.Context())
			require.NoError(t, err)
			k.keep(next[i].Response)
		}
		session := &scripted{errs: []error{odd, odd, &queue.LostError{IDs: ids[1:2]}, odd, nil}}
		begun := time.Now()
		require.NoError(t, f.commit(t.Context(), session, done, next...))
		require.Equal(t, 70*time.Millisecond, time.Since(begun))
		rest := []resource.ID{ids[0], ids[2]}
		require.Equal(t, [][]resource.ID{ids, ids, ids, rest, rest}, session.commits)
		require.Equal(t, session.commits, session.next)
		require.Len(t, s.tickets, 2)
		require.NotContains(t, s.tickets, ids[1])
		n, _ := f.credits.level()
		require.Equal(t, 2, n)

		session = &scripted{errs: []error{&queue.LostError{IDs: ids}}}
		require.NoError(t, f.commit(t.Context(), session, done, next...), "all are another's")
		n, _ = f.credits.level()
		require.Zero(t, n)
		for _, final := range []error{queue.ErrClosed, queue.ErrSession, queue.ErrRefused, &queue.ExistsError{IDs: ids}} {
			session = &scripted{errs: []error{odd, final}}
			require.ErrorIs(t, f.commit(t.Context(), session, done, next...), final)
		}
		over, cancel := context.WithTimeoutCause(t.Context(), time.Second, errStopped)
		defer cancel()
		session = &scripted{errs: []error{odd, odd, odd, odd, odd, odd, odd, odd}}
		require.ErrorIs(t, f.commit(over, session, done, next...), errStopped)
		require.ErrorIs(t, f.commit(over, session, done, next...), errStopped)
	})
}

// What is in flight ends a while after what may be begun, not before, and ahead
// of the scheduler's own verdict.
func TestWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flow{cfg: Config{StopTimeout: 5 * time.Second}}
		var lasted time.Duration
		var why error
		s, err := scheduler.New(scheduler.Config{Services: []scheduler.Spec{{
			Alias: "worker", StopTimeout: 5*time.Second + stopGrace,
			Service: scheduler.Func(func(ctx context.Context) error {
				work, release := f.work(ctx)
				defer release()
				<-ctx.Done()
				begun := time.Now()
				<-work.Done()
				lasted, why = time.Since(begun), context.Cause(work)
				return nil
			}),
		}}})
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx) }()
		synctest.Wait()
		stop()
		require.NoError(t, <-done, "it is not taken for deaf")
		require.Equal(t, 5*time.Second, lasted)
		require.Equal(t, errStopped, why)
	})
}

func TestServiceNames(t *testing.T) {
	for want, s := range map[string]interface{ String() string }{
		"requestor": &Requestor{}, "publisher": &Publisher{}, "gate": &Gate{}, "initializer": &Initializer{}, "analyze": &Analyzer{stage{nil, QueueAnalyze}},
	} {
		require.Equal(t, want, s.String())
	}
	refused := &refusedError{resource.Decision{Why: resource.ReasonPrimary}}
	require.Equal(t, "firehose: not sent: primary rate limit: nothing remains before the reset [G-12]", refused.Error())
	require.Zero(t, (&Stats{}).NotModifiedShare())
}
