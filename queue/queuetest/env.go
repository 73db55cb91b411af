package queuetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/queue"
)

// env is what one case works with. Every call into the queue goes through it,
// so that one that hangs fails the case instead of the whole run.
type env struct {
	TB
	t     *testing.T
	suite Suite

	// step is a wait long enough to be told from none.
	step time.Duration
	// patience is how long a call may take that has no reason to block.
	patience time.Duration
	rand     *rand.Rand

	made int // resources made so far
	open []queue.Queue
}

func newEnv(s Suite, t *testing.T, tb TB) *env {
	e := &env{TB: tb, t: t, suite: s, step: 10 * time.Second, patience: 2 * time.Hour}
	if s.Lateness == 0 {
		e.suite.Lateness = time.Second
	}
	if s.Seed == 0 {
		e.suite.Seed = 1
	}
	if s.WallClock {
		e.step = 40 * time.Millisecond
		e.patience = s.Patience
		if s.Patience == 0 {
			e.patience = 30 * time.Second
		}
	}
	e.rand = rand.New(rand.NewPCG(e.suite.Seed, 0))
	return e
}

// errPatience is the cause of the contexts that the suite gives to calls that
// have no reason to take long.
var errPatience = errors.New("queuetest: out of patience")

// newQueue opens a queue that is closed at the end of the case.
func (e *env) newQueue() queue.Queue {
	e.Helper()
	q := e.suite.Open(e.t)
	require.NotNil(e, q, "Open returned no queue")
	e.open = append(e.open, q)
	return q
}

// newRoom opens a queue with room for that many messages.
func (e *env) newRoom(room int) queue.Queue {
	e.Helper()
	q := e.suite.OpenRoom(e.t, room)
	require.NotNil(e, q, "OpenRoom returned no queue")
	e.open = append(e.open, q)
	return q
}

// reopen replaces q by what a new process would find.
func (e *env) reopen(q queue.Queue) queue.Queue {
	e.Helper()
	again := e.suite.Reopen(e.t, q)
	require.NotNil(e, again, "Reopen returned no queue")
	e.open = append(e.open, again)
	return again
}

func (e *env) closeAll() {
	for _, q := range e.open {
		var err error
		if !e.inTime(func() { err = q.Close() }) {
			e.Errorf("Close of the queue does not return")
		} else if err != nil {
			e.Errorf("Close of the queue: %v", err)
		}
	}
}

// inTime runs f and reports whether it returned while patience lasted.
func (e *env) inTime(f func()) bool {
	done := e.start(f)
	patience := time.NewTimer(e.patience + e.step)
	defer patience.Stop()
	select {
	case <-done:
		return true
	case <-patience.C:
		return false
	}
}

// start runs f beside the case; the channel is closed when it has returned. A
// panic of the queue is reported as such.
func (e *env) start(f func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				e.Errorf("panic: %v", p)
			}
		}()
		f()
	}()
	return done
}

// must runs f, which has no reason to block, and ends the case if it does.
func (e *env) must(what string, f func(ctx context.Context)) {
	e.Helper()
	ctx, cancel := context.WithTimeoutCause(context.Background(), e.patience, errPatience)
	defer cancel()
	if !e.inTime(func() { f(ctx) }) {
		e.Errorf("%s hangs: it returned neither by itself nor with its context", what)
		e.FailNow()
	}
}

// settle lets everything go on that can go on without time passing. On the wall
// clock that is a short wait: enough to find a fault, too little to blame one.
func (e *env) settle() {
	if e.suite.WallClock {
		time.Sleep(e.step)
		return
	}
	synctest.Wait()
}

// session opens a session of q that ends with the queue.
func (e *env) session(q queue.Queue) *session {
	e.Helper()
	return e.sessionIn(context.Background(), q)
}

func (e *env) sessionIn(ctx context.Context, q queue.Queue) *session {
	e.Helper()
	var s queue.Session
	var err error
	e.must("Open", func(context.Context) { s, err = q.Open(ctx) })
	require.NoError(e, err, "Open")
	require.NotNil(e, s, "Open returned neither a session nor an error")
	return &session{env: e, s: s}
}

// session is a queue.Session whose calls can't hang the case.
type session struct {
	*env
	s queue.Session
}

// receive waits as long as patience lasts. It checks what is true of every
// delivery whatever the case is about.
func (s *session) receive(name string, limit int) []queue.Delivery {
	s.Helper()
	var got []queue.Delivery
	var err error
	s.must("Receive", func(ctx context.Context) { got, err = s.s.Receive(ctx, name, limit) })
	if errors.Is(err, errPatience) {
		s.Errorf("nothing was delivered from %q, though a message is due", name)
		s.FailNow()
	}
	require.NoError(s, err, "Receive from %q", name)
	s.plausible(got, name, limit)
	return got
}

// receiveFor waits for at most wait and returns nothing if nothing came.
func (s *session) receiveFor(name string, limit int, wait time.Duration) []queue.Delivery {
	s.Helper()
	errNothing := errors.New("queuetest: nothing came in time")
	var got []queue.Delivery
	var err error
	s.must("Receive", func(ctx context.Context) {
		ctx, cancel := context.WithTimeoutCause(ctx, wait, errNothing)
		defer cancel()
		got, err = s.s.Receive(ctx, name, limit)
	})
	if errors.Is(err, errNothing) {
		require.Empty(s, got, "Receive from %q returned deliveries beside an error", name)
		return nil
	}
	require.NoError(s, err, "Receive from %q: want the cause of its context or a delivery", name)
	s.plausible(got, name, limit)
	return got
}

// receiveOne returns the next message alone.
func (s *session) receiveOne(name string) queue.Delivery {
	s.Helper()
	return s.receive(name, 1)[0]
}

// receiveAll collects n messages, in as many calls as it takes.
func (s *session) receiveAll(name string, n int) []queue.Delivery {
	s.Helper()
	var all []queue.Delivery
	for len(all) < n {
		all = append(all, s.receive(name, n-len(all))...)
	}
	return all
}

// nothing checks that the named queue has nothing to deliver now.
func (s *session) nothing(name string) {
	s.Helper()
	wait := s.step / 2
	if got := s.receiveFor(name, 100, wait); len(got) > 0 {
		s.Errorf("%q delivers %d messages, want none; the first: %s", name, len(got), describe(got[0].Message))
		s.FailNow()
	}
}

// plausible checks a batch against what holds for all.
func (s *session) plausible(got []queue.Delivery, name string, limit int) {
	s.Helper()
	now := time.Now()
	if len(got) == 0 || len(got) > limit {
		s.Errorf("Receive from %q returned %d deliveries and no error, want 1 to %d", name, len(got), limit)
		s.FailNow()
	}
	for i := range got {
		if d := &got[i]; d.Queue != name {
			s.Errorf("Receive from %q delivered a message of %q", name, d.Queue)
		} else if now.Before(d.Due) {
			s.Errorf("delivered %v before it is due", d.Due.Sub(now))
		}
	}
}

// commit returns the error of the queue, whatever it is.
func (s *session) commit(done []queue.Delivery, next ...queue.Message) error {
	s.Helper()
	var err error
	s.must("Commit", func(ctx context.Context) { err = s.s.Commit(ctx, done, next...) })
	if errors.Is(err, errPatience) {
		s.Errorf("Commit of %d deliveries and %d messages waits without end: %v", len(done), len(next), err)
		s.FailNow()
	}
	return err
}

// admit, move and retire are commits that must succeed.
func (s *session) admit(ms ...queue.Message) {
	s.Helper()
	require.NoError(s, s.commit(nil, ms...), "admit %d messages", len(ms))
}

func (s *session) move(d queue.Delivery, to string, due time.Time) {
	s.Helper()
	require.NoError(s, s.commit([]queue.Delivery{d}, d.To(to, due)), "move to %q", to)
}

func (s *session) retire(ds ...queue.Delivery) {
	s.Helper()
	require.NoError(s, s.commit(ds), "retire %d deliveries", len(ds))
}

func (s *session) close() {
	s.Helper()
	var err error
	s.must("Close of the session", func(context.Context) { err = s.s.Close() })
	require.NoError(s, err, "Close of the session")
}

func describe(m queue.Message) string {
	return fmt.Sprintf("%v version %d in %q due %v", m.Resource.ID, m.Resource.Version, m.Queue, m.Due)
}

// together runs f n times at once and waits for all of them.
func (e *env) together(n int, f func(i int)) {
	e.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	if !e.inTime(all.Wait) {
		e.Errorf("%d concurrent users of the queue do not come to an end", n)
		e.FailNow()
	}
}
