package firehose

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
	"github.com/cannedos/cannedos/scheduler"
)

// Gate lets resources out of the lines of their buckets, in order of arrival,
// as many as each bucket admits. It has one goroutine and one timer for each
// bucket that has waiters, and none for the others.
type Gate struct{ f *flow }

// String names the service.
func (g *Gate) String() string { return "gate" }

// lines tells the Gate which lines have waiters.
type lines struct {
	mu    sync.Mutex
	start func(*scopeState, string) // of the Gate that is running; nil: none is. It does not block
}

// idleLine is how long a goroutine waits at an empty line before it ends.
const idleLine = time.Second

// join announces a resource to the line of its bucket and returns the line's
// name. It is called before the resource is moved there, so that the Gate can't
// overlook it.
func (l *lines) join(s *scopeState, bucket string) string {
	s.mu.Lock()
	name := s.nameLocked(bucket)
	line := s.lines[name]
	if line == nil {
		line = &lineState{queue: lineName(resource.BucketKey{Scope: s.key, Name: name}), changed: make(chan struct{}, 1)}
		s.lines[name] = line
	}
	line.length++
	line.pending++
	line.poked = true
	idle := !line.running
	s.mu.Unlock()
	if idle {
		l.watch(s, name)
	}
	return line.queue
}

// watch sees to it that a goroutine of the Gate stands at a line, if there is a
// Gate. It is under the lock, since a Gate that ends waits for those that it has
// started, and may start none after that.
func (l *lines) watch(s *scopeState, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.start != nil {
		l.start(s, name)
	}
}

// landed ends the moves into lines that join has announced, whatever became of
// them: until then no line is forgotten, however long a store takes.
func (f *flow) landed(next []queue.Message) {
	for i := range next {
		if !isLine(next[i].Queue) {
			continue
		}
		s := f.buckets.scope(next[i].Resource.Scope(), nil)
		s.mu.Lock()
		for _, line := range s.lines {
			if line.queue == next[i].Queue {
				line.pending = max(0, line.pending-1)
				line.poked = true
			}
		}
		s.mu.Unlock()
	}
}

// leave undoes a join, or ends the wait of one resource, at the line whose
// queue has that name.
func (s *scopeState) leave(queue string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.lines {
		if line.queue == queue {
			line.length = max(0, line.length-1)
		}
	}
}

// Serve watches lines until ctx ends. It is called by a scheduler.
func (g *Gate) Serve(ctx context.Context) error {
	work, release := g.f.work(ctx)
	defer release()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var watchers sync.WaitGroup
	defer watchers.Wait()

	start := func(s *scopeState, name string) {
		s.mu.Lock()
		line := s.lines[name]
		if line == nil || line.running {
			s.mu.Unlock()
			return
		}
		line.running = true
		s.mu.Unlock()
		watchers.Go(func() {
			w := watcher{f: g.f, s: s, name: name, line: line, queue: line.queue}
			w.guard(fail, func() error { return w.run(ctx, work) })
		})
	}
	g.f.gate.mu.Lock()
	g.f.gate.start = start
	g.f.gate.mu.Unlock()
	defer func() {
		g.f.gate.mu.Lock()
		g.f.gate.start = nil
		g.f.gate.mu.Unlock()
	}()
	for s := range g.f.buckets.all() { // lines of a Gate that has ended
		for _, name := range s.waiting() {
			g.f.gate.watch(s, name)
		}
	}
	scheduler.Ready(ctx)
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (s *scopeState) waiting() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, line := range s.lines {
		if line.length > 0 && !line.running {
			names = append(names, name)
		}
	}
	return names
}

// watcher stands at one line.
type watcher struct {
	f    *flow
	s    *scopeState
	name string // of the bucket
	line *lineState

	queue string          // the name of the line's
	next  []queue.Message // what is about to be moved, for use again
}

// guard calls run and fails the Gate with its error. A panic or a Goexit in it
// would end the process, or leave the line without anybody: either is an error
// of the Gate, which is then started again.
func (w *watcher) guard(fail func(error), run func() error) {
	err := errors.New("firehose: gate: a goroutine ended in the middle of its work")
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("firehose: gate: panic: %v\n%s", v, debug.Stack())
		}
		w.s.mu.Lock()
		w.line.running = false
		w.s.mu.Unlock()
		if err != nil {
			fail(err)
		}
	}()
	err = run()
}

// run lets the line out as its bucket admits it, and ends when the line has been
// empty for a while.
func (w *watcher) run(ctx, work context.Context) error {
	session, err := w.f.queue.Open(work)
	if err != nil {
		return w.f.ending(ctx, err)
	}
	defer session.Close()
	for {
		w.s.mu.Lock()
		w.line.poked = false
		w.s.mu.Unlock()
		waiting, cancel := context.WithTimeoutCause(ctx, idleLine, errIdle)
		got, err := session.Receive(waiting, w.queue, w.s.room(w.name, batch))
		cancel()
		switch {
		case err == nil:
			if err := w.release(ctx, work, session, got); err != nil {
				return w.f.ending(ctx, err)
			}
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, errIdle):
			return err
		case w.empty():
			return nil
		}
	}
}

var errIdle = errors.New("firehose: no resource in the line")

// empty forgets a line at which nobody has arrived since it was last looked at.
func (w *watcher) empty() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.line.poked || w.line.pending > 0 {
		return false
	}
	w.line.length, w.line.running = 0, false
	delete(w.s.lines, w.name)
	return true
}

// release moves on what the bucket admits of the head of the line, and waits with
// the first that it does not.
func (w *watcher) release(ctx, work context.Context, session queue.Session, got []queue.Delivery) error {
	for len(got) > 0 {
		w.next = w.next[:0]
		var p placement
		ok, stays := true, false
		for i := range got {
			if p, ok, stays = w.decide(&got[i]); stays || !ok {
				break
			}
			w.next = append(w.next, p.Message)
		}
		out := len(w.next)
		if out > 0 {
			if err := w.move(work, session, got[:out]); err != nil {
				return err
			}
		}
		switch got = got[out:]; {
		case stays && len(got) > 1:
			if err := w.putBack(work, session, got[1:]); err != nil {
				return err
			}
			got = got[:1]
			fallthrough
		case stays:
			if !w.await(ctx, p.decision.At) {
				return context.Cause(ctx)
			}
		case !ok:
			if err := w.f.retire(work, session, got[:1], &got[0].Resource); err != nil {
				return err
			}
			w.left(1)
			got = got[1:]
		}
	}
	return nil
}

// decide says where one that waits goes. stays says that its bucket does not
// admit it now; without ok the user has removed it.
func (w *watcher) decide(d *queue.Delivery) (p placement, ok, stays bool) {
	// Since it joined, an answer may have named its bucket, or that of its kin,
	// which has a line of its own then.
	r := d.Resource
	w.s.guess(&r)
	here := w.s.name(r.Bucket) == w.name
	p, ok = w.f.place(d, r, time.Now(), here)
	return p, ok, ok && here && p.decision.Kind == resource.Line
}

// move moves deliveries on to next. They count as waiting until they have left: a
// Gate that is started again looks at lines where somebody waits.
func (w *watcher) move(work context.Context, session queue.Session, got []queue.Delivery) error {
	defer clear(w.next)
	if err := w.f.commit(work, session, got, w.next...); err != nil {
		w.f.undo(w.next)
		return err
	}
	w.left(len(got))
	return nil
}

// putBack returns to the line what was taken in vain, in front of all others, so
// that only the head of it is ever in the hands of the Gate for long.
func (w *watcher) putBack(work context.Context, session queue.Session, got []queue.Delivery) error {
	w.next = w.next[:0]
	for i := range got {
		front := got[i].Due.Add(-time.Duration(len(got) - i)) // of those that are as long due
		w.next = append(w.next, got[i].To(w.queue, front))
	}
	defer clear(w.next)
	w.s.mu.Lock()
	w.line.pending += len(got)
	w.s.mu.Unlock()
	return w.f.commit(work, session, got, w.next...)
}

func (w *watcher) left(n int) {
	w.s.mu.Lock()
	w.line.length = max(0, w.line.length-n)
	w.s.mu.Unlock()
}

// lookAgain bounds a wait for a sign: the Gate never depends on one alone.
const lookAgain = 5 * time.Second

// await waits until the bucket may admit the head: until at, or a sign.
func (w *watcher) await(ctx context.Context, at time.Time) bool {
	wait := lookAgain
	if !at.IsZero() {
		wait = max(0, time.Until(at))
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-w.line.changed:
		return true
	}
}
