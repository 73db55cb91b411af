package firehose

import (
	"context"
	"errors"
	"fmt"

	"github.com/cannedos/cannedos/resource"
)

// Follower is the power of a [Sink] to have further pages read in the course of
// one poll: those of an event feed, whose first page alone does not show all that
// is new. [Events] has it. It is looked for in the Sink of a [Config], through
// methods Unwrap() Sink and inside of [Sinks], of which only one may have it.
type Follower interface {
	Sink

	// Follow says which page to read after r, the answer to a poll, and after
	// r.Pages, which were read since. Nil: none, the reading is complete. A page is
	// made by [resource.Resource.Page] from r.Resource, and there are at most
	// MaxPages in one reading; it may carry the validators
	// of an earlier answer, and is then in r.Pages as this answer left it.
	//
	// The Outcome of r is Modified, or NotModified: then it is offered to Take only
	// if a page was to be read after it, and its body counts for nothing. So a sink
	// can read on where an earlier reading was cut.
	//
	// An error says that what was read last is no page of the feed, or unchanged in
	// comparison to what the sink does not know. If that is r itself, the poll has
	// failed: nothing is stored or published, the resource backs off, and if it was
	// unchanged it is asked for without validators. If it is one of r.Pages, that
	// one is left out and the reading ends there, with r.Cut set.
	//
	// Follow is called by the Requestor, from several goroutines, but never twice
	// at once for the same resource, nor together with Take for it. It may fill
	// r.Value, and changes nothing else of r.
	Follow(ctx context.Context, r *resource.Response) (next *resource.Resource, err error)
}

func followerOf(s Sink) Follower {
	all := sinksAs[Follower](s)
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

// sinksAs finds the sinks of type T behind wrappers, and inside of Sinks. What is
// behind one that is found belongs to that.
func sinksAs[T any](s Sink) (all []T) {
	for range maxSinkWrappers {
		if found, ok := s.(T); ok {
			return []T{found}
		}
		switch w := s.(type) {
		case fanOut:
			for _, inside := range w {
				all = append(all, sinksAs[T](inside)...)
			}
			return all
		case interface{ Unwrap() Sink }:
			s = w.Unwrap()
		default:
			return nil
		}
	}
	return nil
}

// maxSinkWrappers bounds the search, so that a sink that wraps itself can't hang
// it.
const maxSinkWrappers = 32

// errTooManyPages says that a sink would go on for ever. The pages that were read
// count.
var errTooManyPages = fmt.Errorf("firehose: sink: it wants more than %d pages", MaxPages)

// follow asks the sink for the next page, in a goroutine of its own, since a sink
// may end the one that it is called in. A panic or a Goexit of it is an error like
// any other.
func (f *flow) follow(ctx context.Context, r *resource.Response) (next *resource.Resource, err error) {
	if f.follower == nil || r.Outcome != resource.Modified && r.Outcome != resource.NotModified {
		return nil, nil
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		err = errors.New("firehose: sink: ended its goroutine")
		defer func() {
			if v := recover(); v != nil {
				next, err = nil, fmt.Errorf("firehose: sink: panic: %v", v)
			}
		}()
		next, err = f.follower.Follow(ctx, r)
	}()
	<-told
	switch {
	case err != nil || next == nil:
		return nil, err
	case len(r.Pages)+1 >= MaxPages:
		return nil, errTooManyPages
	case next.Scope() != r.Resource.Scope():
		return nil, fmt.Errorf("firehose: sink: a page of the scope %s after one of %s", next.Scope(), r.Resource.Scope())
	}
	return next, nil
}
