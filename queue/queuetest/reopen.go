package queuetest

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// collect receives everything that the named queues deliver now, and checks
// that it is exactly the wanted resources.
func (e *env) collect(q queue.Queue, names []string, want map[resource.ID]bool) map[resource.ID]queue.Delivery {
	e.Helper()
	s := e.session(q)
	all := map[resource.ID]queue.Delivery{}
	sweep := func() {
		for _, name := range names {
			for _, d := range s.receiveFor(name, 100, e.step/2) {
				id := d.Resource.ID
				if first, twice := all[id]; twice {
					e.Errorf("resource %v came twice, from %q and from %q", id, first.Queue, d.Queue)
				}
				if !want[id] {
					e.Errorf("delivered %s, which was retired or never in", describe(d.Message))
				}
				all[id] = d
			}
		}
	}
	for began := time.Now(); len(all) < len(want) && time.Since(began) < e.patience; {
		sweep()
	}
	sweep()
	require.Len(e, all, len(want), "resources found again")
	return all
}

// killLosesNothing: whatever the process did last, a new one finds every
// resource that was admitted and not retired, once, and goes on with it. What was
// buried is where it was buried, with its cause.
func killLosesNothing(e *env) {
	q := e.newQueue()
	names := []string{"analyze", "frozen-500", "requests", "requests-claimed", "publish", "publish-error"}
	want := map[resource.ID]bool{}
	buried := map[resource.ID]queue.Message{}
	for generation := range 3 {
		s := e.session(q)
		in := e.messages("analyze", 12)
		s.admit(in...)
		for _, m := range in {
			want[m.Resource.ID] = true
		}
		for i, d := range s.receiveAll("analyze", 12) {
			switch i % 6 {
			case 0:
				s.retire(d)
				delete(want, d.Resource.ID)
			case 1:
				next := d.To("publish-error", time.Time{})
				next.Cause = "the sink refused it"
				require.NoError(e, s.commit([]queue.Delivery{d}, next))
				buried[d.Resource.ID] = next
			case 2:
				s.move(d, "frozen-500", e.in(1))
			case 3:
				d.Resource.Claim(resource.NewOwner(), time.Now(), time.Now().Add(e.step))
				s.move(d, "requests-claimed", time.Time{})
			case 4:
				s.move(d, "requests", time.Time{})
				s.move(s.receiveOne("requests"), "publish", time.Time{})
			default: // in the hands of the killed process
			}
		}
		q = e.reopen(q)
		all := e.collect(q, names, want)
		for id, m := range buried {
			e.same(m, all[id].Message)
		}
		if generation == 1 {
			continue // the next kill finds all of them in the hands of its session
		}
		s = e.session(q)
		for _, d := range all {
			require.ErrorIs(e, s.commit([]queue.Delivery{d}), queue.ErrLost, "the collecting session has them")
			break
		}
		again := e.message("analyze", time.Time{})
		for id := range want {
			again.Resource.ID = id
			require.ErrorIs(e, s.commit(nil, again), queue.ErrExists, "an admission of what was found again")
			break
		}
	}
}

// claimIsFoundAgain: a claim that was acknowledged comes back as it was written,
// at once and marked, so that its holder can count it as sent; a result that was
// acknowledged comes back instead of the claim, and not before it is due.
func claimIsFoundAgain(e *env) {
	q := e.newQueue()
	s := e.session(q)
	s.admit(e.messages("analyze", 2)...)
	for _, d := range s.receiveAll("analyze", 2) {
		s.move(d, "requests", time.Time{})
	}
	held := s.receiveAll("requests", 2)
	var claims []queue.Message
	for i := range held {
		held[i].Resource.Claim(resource.NewOwner(), time.Now(), time.Now().Add(e.step))
		claims = append(claims, held[i].To("requests-claimed", time.Time{}))
	}
	require.NoError(e, s.commit(held, claims...))

	q = e.reopen(q)
	s = e.session(q)
	held = s.receiveAll("requests-claimed", 2)
	for i := range held {
		want := claims[0]
		if held[i].Resource.ID != want.Resource.ID {
			want = claims[1]
		}
		e.same(want, held[i].Message)
		require.True(e, held[i].Redelivered, "a claim of a former process must come marked as Redelivered")
		require.False(e, held[i].Resource.Owner.IsZero())
	}

	results := make([]queue.Message, len(held))
	for i := range held {
		held[i].Resource.Forfeit(time.Now())
		held[i].Resource.Validators.ETag = `"new"`
		results[i] = held[i].To("frozen-1000", e.in(4+i))
	}
	require.NoError(e, s.commit(held, results...))
	q = e.reopen(q)
	s = e.session(q)
	s.nothing("requests-claimed")
	for i := range results {
		d := s.receiveOne("frozen-1000") // never early: checked on receipt
		e.same(results[i], d.Message)
		require.True(e, d.Resource.Owner.IsZero())
	}
}
