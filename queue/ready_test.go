package queue

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHeapOrdersAndRemoves(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 3))
	h, s := heap{is: inLate}, &slab{}
	var in []int32
	check := func() {
		for at, e := range h.entries {
			require.EqualValues(t, at, s.at(e.slot).prev, "position of a slot")
			if at > 0 {
				require.False(t, e.before(&h.entries[(at-1)/4]))
			}
		}
	}
	for i := range 2000 {
		if len(in) > 0 && r.IntN(3) == 0 {
			k := r.IntN(len(in))
			h.remove(s, in[k])
			in = slices.Delete(in, k, k+1)
		} else {
			n := s.take()
			s.at(n).due = r.Int64N(50)
			s.at(n).setSeq(uint64(i))
			h.push(s, n)
			in = append(in, n)
		}
		if i%50 == 0 {
			check()
		}
	}
	slices.SortFunc(in, func(a, b int32) int {
		if s.at(a).before(s.at(b)) {
			return -1
		}
		return 1
	})
	for _, want := range in {
		require.Equal(t, want, h.entries[0].slot)
		h.remove(s, want)
	}
	require.Empty(t, h.entries)
}

// A heap gives back the room that a herd has taken, and not at each step.
func TestHeapForgetsAHerd(t *testing.T) {
	t.Parallel()
	s, h := &slab{}, &heap{is: inLate}
	const n = 100_000
	for i := range n {
		slot := s.take()
		s.at(slot).due = int64(i * 7919 % n)
		h.push(s, slot)
	}
	grown, last, made := cap(h.entries), int64(-1), 0
	for len(h.entries) > 0 {
		before := cap(h.entries)
		e := h.entries[0]
		require.Greater(t, e.due, last)
		last = e.due
		h.remove(s, e.slot)
		if cap(h.entries) != before {
			made++
		}
	}
	require.Greater(t, grown, n)
	require.LessOrEqual(t, cap(h.entries), 256)
	require.Less(t, made, 12)
}

func TestLine(t *testing.T) {
	t.Parallel()
	l, s := line{}, &slab{}
	var slots []int32
	for range 5 {
		n := s.take()
		l.push(s, n)
		slots = append(slots, n)
	}
	for _, k := range []int{2, 0, 2} { // from the middle, the front and the end
		l.remove(s, slots[k])
		slots = slices.Delete(slots, k, k+1)
		var got []int32
		for i := l.first; i != 0; i = s.at(i).next {
			got = append(got, i)
		}
		require.Equal(t, slots, got)
		require.Equal(t, slots[len(slots)-1], l.last)
		require.Equal(t, len(slots), l.len)
	}
}
