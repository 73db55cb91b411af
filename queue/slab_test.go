package queue

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func TestSlotIs32Bytes(t *testing.T) {
	t.Parallel()
	require.EqualValues(t, 32, unsafe.Sizeof(slot{}), "half a cache line")
}

func TestSlab(t *testing.T) {
	t.Parallel()
	var s slab
	first := s.take()
	require.NotZero(t, first, "0 is nobody")
	p := s.at(first)
	p.due = 42
	var all []int32
	for range 3 * slabChunk {
		all = append(all, s.take())
	}
	require.Same(t, p, s.at(first), "growing moves no slot")
	require.EqualValues(t, 42, p.due)
	require.Equal(t, 1+3*slabChunk, s.used)

	chunks := len(s.chunks)
	for _, i := range all {
		s.give(i)
	}
	seen := map[int32]bool{first: true}
	for range all {
		i := s.take()
		require.False(t, seen[i], "one slot for two")
		seen[i] = true
		require.Zero(t, *s.at(i))
	}
	require.Len(t, s.chunks, chunks, "what was given back is used again")
}

func TestSlotOrder(t *testing.T) {
	t.Parallel()
	a, b := slot{due: 1}, slot{due: 1}
	a.setSeq(1<<48 - 2)
	b.setSeq(1<<48 - 1)
	require.EqualValues(t, 1<<48-2, a.seq())
	require.True(t, a.before(&b))
	require.False(t, b.before(&a))
	b.due = 0
	require.True(t, b.before(&a), "due comes first")
	a.state = inLine | redelivered
	a.become(inHand)
	require.Equal(t, inHand, a.is())
	require.NotZero(t, a.state&redelivered)
}
