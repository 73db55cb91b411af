package queue

import (
	"context"
	"math/bits"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/resource"
)

// tryReceive returns what is due at once.
func tryReceive(t *testing.T, s *memorySession, name string) []Delivery {
	ctx, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	ds, err := s.Receive(ctx, name, 100)
	if err != nil {
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	return ds
}

func TestPreparedCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 4)
		s, other := openSession(t, m), openSession(t, m)
		require.NoError(t, s.Commit(t.Context(), nil, testMessages("a", 0, 3, time.Time{})...))
		ds := tryReceive(t, s, "a")
		require.Len(t, ds, 3)
		fresh := testMessage("b", 7, time.Time{})
		prepare := func() *prepared {
			p, err := s.prepare(t.Context(), ds[:2], ds[0].To("b", time.Time{}), fresh)
			require.NoError(t, err)
			return p
		}

		p := prepare()
		require.Equal(t, []journaled{
			{ID: ds[0].Resource.ID, Version: 2, Index: 0},
			{ID: fresh.Resource.ID, Version: 1, Index: 1},
			{ID: ds[1].Resource.ID, Version: 1, Index: 1, Retired: true},
		}, p.entries())
		require.ErrorIs(t, s.Commit(t.Context(), ds[:1]), ErrLost, "in the hands of the other Commit")
		require.ErrorIs(t, other.Commit(t.Context(), nil, fresh), ErrExists, "admitted by the other Commit")
		_, _, err := m.Find(t.Context(), fresh.Resource.ID)
		require.ErrorIs(t, err, ErrNotFound, "not in yet")
		_, err = s.Take(t.Context(), fresh.Resource.ID)
		require.ErrorIs(t, err, ErrNotFound)
		_, err = s.Take(t.Context(), ds[0].Resource.ID)
		require.ErrorIs(t, err, ErrHeld)
		require.Empty(t, tryReceive(t, other, "b"))
		for name, want := range map[string]int{"a": 3, "b": 0} {
			listed, err := m.List(t.Context(), name, resource.ID{}, 5)
			require.NoError(t, err)
			require.Len(t, listed, want, name)
		}

		// Undone: as if it had never been tried.
		p.abort()
		require.Equal(t, 3, m.slots.used)
		require.Equal(t, 3, m.room.used)
		p = prepare()

		// Done while the session ends: what the Commit has is not given back.
		require.NoError(t, s.Close())
		back := tryReceive(t, other, "a")
		require.Len(t, back, 1)
		require.Equal(t, ds[2].Resource.ID, back[0].Resource.ID)
		p.apply([]int64{101, 102})
		require.Len(t, tryReceive(t, other, "b"), 2)
		require.Equal(t, 3, m.room.used)
		require.EqualValues(t, 101, m.auxLocked(m.index.find(m.index.hash(&ds[0].Resource.ID), ds[0].Resource.ID)))
		require.EqualValues(t, 102, m.auxLocked(m.index.find(m.index.hash(&fresh.Resource.ID), fresh.Resource.ID)))
		_, _, err = m.Find(t.Context(), ds[1].Resource.ID)
		require.ErrorIs(t, err, ErrNotFound)
	})
}

func TestPreparedCommitOutlivesItsSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 0)
		s, other := openSession(t, m), openSession(t, m)
		require.NoError(t, s.Commit(t.Context(), nil, testMessages("a", 0, 2, time.Time{})...))
		ds := tryReceive(t, s, "a")
		p, err := s.prepare(t.Context(), ds[:1], ds[0].To("b", time.Time{}))
		require.NoError(t, err)
		require.NoError(t, s.Close())
		require.Len(t, tryReceive(t, other, "a"), 1)
		p.abort()
		back := tryReceive(t, other, "a")
		require.Len(t, back, 1)
		require.True(t, back[0].Redelivered)
		require.EqualValues(t, 1, back[0].Resource.Version)

		// And the Memory: nothing happens any more.
		p, err = other.prepare(t.Context(), back, back[0].To("b", time.Time{}))
		require.NoError(t, err)
		q, err := other.prepare(t.Context(), nil, testMessage("c", 9, time.Time{}))
		require.NoError(t, err)
		require.NoError(t, m.Close())
		require.Empty(t, p.entries())
		p.apply(nil)
		q.abort()
	})
}

// TestPreparedCommitOfWhatHasPassed: a repeated Commit journals nothing twice.
func TestPreparedCommitOfWhatHasPassed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 0)
		s := openSession(t, m)
		require.NoError(t, s.Commit(t.Context(), nil, testMessages("a", 0, 2, time.Time{})...))
		ds := tryReceive(t, s, "a")
		require.NoError(t, s.Commit(t.Context(), ds[:1], ds[0].To("b", time.Time{})))
		p, err := s.prepare(t.Context(), ds, ds[1].To("b", time.Time{}), ds[0].To("b", time.Time{}))
		require.NoError(t, err)
		require.Equal(t, []journaled{{ID: ds[1].Resource.ID, Version: 2, Index: 0}}, p.entries())
		p.apply([]int64{5})
		require.Len(t, tryReceive(t, s, "b"), 2)
	})
}

// TestPreparedCommitAndRoom: room is taken by prepare, and given up by apply or
// abort, which wake who waits for it.
func TestPreparedCommitAndRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 2)
		s := openSession(t, m)
		require.NoError(t, s.Commit(t.Context(), nil, testMessage("a", 0, time.Time{})))
		ds := tryReceive(t, s, "a")
		admission, err := s.prepare(t.Context(), nil, testMessage("a", 1, time.Time{}))
		require.NoError(t, err)
		retirement, err := s.prepare(t.Context(), ds)
		require.NoError(t, err)

		in := 0
		var all sync.WaitGroup
		for i := range 2 {
			all.Go(func() {
				if err := s.Commit(t.Context(), nil, testMessage("a", 10+i, time.Time{})); err != nil {
					t.Error(err)
				}
				in++
			})
			synctest.Wait()
		}
		require.Zero(t, in)
		retirement.apply(nil)
		synctest.Wait()
		require.Equal(t, 1, in)
		admission.abort()
		synctest.Wait()
		require.Equal(t, 2, in)
		all.Wait()
		require.Equal(t, 2, m.room.used)
	})
}

func TestLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1000 * 24 * time.Hour)
		m := newMemory(t, 2)
		now := time.Now()
		dues := []time.Duration{time.Hour, -time.Minute, -90 * 24 * time.Hour, 0, -49 * 24 * time.Hour, -time.Minute}
		for i, due := range dues {
			msg := testMessage("a", i, now.Add(due).Round(0))
			msg.Resource.Version = int64(10 + i)
			require.NoError(t, m.load(msg, i == 3, int64(1000+i)), "room is for admissions")
		}
		require.ErrorIs(t, m.load(testMessage("b", 1, now), false, 1), ErrExists)
		require.ErrorIs(t, m.load(testMessage("", 99, now), false, 1), ErrRefused)
		bad := testMessage("a", 99, now)
		bad.Resource.URI = string(make([]byte, 1<<20))
		require.ErrorIs(t, m.load(bad, false, 1), ErrRefused)
		s := openSession(t, m)
		var got []int64
		for _, d := range tryReceive(t, s, "a") {
			got = append(got, d.Resource.Version)
			require.Equal(t, d.Resource.Version == 13, d.Redelivered)
			require.Equal(t, d.Resource.Version+990, m.auxLocked(m.index.find(m.index.hash(&d.Resource.ID), d.Resource.ID)))
		}
		require.Equal(t, []int64{12, 14, 11, 15, 13}, got, "in order of due, then of loading")
		time.Sleep(time.Hour)
		ds := tryReceive(t, s, "a")
		require.Len(t, ds, 1)
		require.NoError(t, s.Commit(t.Context(), ds))
		slot := int32(bits.TrailingZeros64(m.slots.vacant[0].bits[0]))
		require.Zero(t, m.auxLocked(slot), "the next in this slot has no number")
		require.NoError(t, m.Close())
		require.ErrorIs(t, m.load(testMessage("a", 50, now), false, 1), ErrClosed)
	})
}
