package firehose

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/cannedos/cannedos/resource"
)

// ErrLater is what a [Sink] returns that can't take a response now and is not to
// blame for it: the response is offered again until it can, however often, and
// does not come nearer to the publish-error queue. What waits keeps its credit, so
// that polling slows down meanwhile.
var ErrLater = errors.New("firehose: sink: not now")

// offer is a batch on its way to who ranges over All.
type offer[T any] struct {
	batch Batch[T]
	taken chan error // capacity 1
}

// offer hands the batch of a response to the ItemSink, or to who ranges over All.
func (e *Events[T]) offer(ctx context.Context, r *resource.Response, b Batch[T]) error {
	if e.config.Sink != nil {
		return e.config.Sink.Take(ctx, b)
	}
	e.mu.Lock()
	o := e.pending[r]
	e.mu.Unlock()
	if o == nil {
		o = &offer[T]{b, make(chan error, 1)}
		select {
		case e.offers <- o:
		case <-ctx.Done():
			return fmt.Errorf("%w: nobody ranges over All", ErrLater)
		}
	}
	e.mu.Lock()
	e.pending[r] = o
	e.mu.Unlock()
	select {
	case err := <-o.taken:
		e.mu.Lock()
		delete(e.pending, r)
		e.mu.Unlock()
		return err
	case <-ctx.Done(): // the next try waits on
		return fmt.Errorf("%w: the loop over All has not come back", ErrLater)
	}
}

// All yields batches where the Config names no Sink, until ctx ends; then its
// cause is the last pair. A batch counts as taken when the loop comes back for the
// next one; one in whose turn the loop is left is yielded again, to the next who
// ranges over All. Several loops share the batches. As long as nobody ranges, or
// the loop is busy, the feeds wait.
func (e *Events[T]) All(ctx context.Context) iter.Seq2[Batch[T], error] {
	return func(yield func(Batch[T], error) bool) {
		for {
			select {
			case <-ctx.Done():
				yield(Batch[T]{}, context.Cause(ctx))
				return
			case o := <-e.offers:
				if !o.yield(yield) {
					return
				}
			}
		}
	}
}

// yield reports whether the loop came back; a loop that panics has not taken it.
func (o *offer[T]) yield(yield func(Batch[T], error) bool) (back bool) {
	err := fmt.Errorf("%w: the loop over All was left", ErrLater)
	defer func() { o.taken <- err }()
	if back = yield(o.batch, nil); back {
		err = nil
	}
	return back
}
