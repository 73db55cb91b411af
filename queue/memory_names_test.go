package queue

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A name that has been used is remembered, and not much more: whatever its
// messages have needed goes with the last of them. Not in parallel with others:
// it looks at the heap.
func TestNamesCostLittle(t *testing.T) {
	const n, most = 5000, 1500 // bytes; the wheel of a name that waits has 5,000
	for _, wait := range []time.Duration{0, time.Second, 24 * time.Hour, 1000 * 24 * time.Hour} {
		m := newMemory(t, 0)
		s := openSession(t, m)
		before := heapBytes()
		for i := range n {
			require.NoError(t, s.Commit(t.Context(), nil, testMessage(fmt.Sprint("line/", i), i, time.Now().Add(wait))))
		}
		m.pushClock(wait + time.Second)
		for i := range n {
			ds, err := s.Receive(t.Context(), fmt.Sprint("line/", i), 1)
			require.NoError(t, err)
			require.NoError(t, s.Commit(t.Context(), ds))
		}
		each := (heapBytes() - before) / n
		t.Logf("due in %v: %d bytes a name", wait, each)
		require.LessOrEqual(t, each, int64(most), "due in %v", wait)
		require.NoError(t, m.Close())
	}
}
