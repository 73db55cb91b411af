package queue

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/resource"
)

func newMemory(t testing.TB, capacity int) *Memory {
	m, err := NewMemory(MemoryConfig{Capacity: capacity})
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

func openSession(t testing.TB, m *Memory) *memorySession {
	s, err := m.open(context.Background())
	require.NoError(t, err)
	return s
}

func testMessage(name string, n int, due time.Time) Message {
	r := resource.Resource{Origin: "https://h", Credential: "token", Bucket: "core"}
	r.ID = resource.DeriveID(resource.ID{}, fmt.Sprint(n))
	r.URI = fmt.Sprint("https://h/", n)
	return Message{Queue: name, Resource: r, Due: due}
}

func testMessages(name string, from, n int, due time.Time) []Message {
	ms := make([]Message, n)
	for i := range ms {
		ms[i] = testMessage(name, from+i, due)
	}
	return ms
}

// TestMemoryWakesOne: of many receivers of a name one is woken by one message,
// the one that has waited longest; the others sleep on.
func TestMemoryWakesOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 0)
		s := openSession(t, m)
		const receivers = 10
		var mu sync.Mutex
		var got []int
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range receivers {
			all.Go(func() {
				if _, err := s.Receive(ctx, "a", 1); err == nil {
					mu.Lock()
					got = append(got, i)
					mu.Unlock()
				}
			})
			synctest.Wait()
		}
		look := func() (waiting, woken, set int) {
			m.mu.Lock()
			defer m.mu.Unlock()
			p := m.places[m.names["a"]]
			for e := p.receivers.Front(); e != nil; e = e.Next() {
				if e.Value.(*receiver).set {
					set++
				}
			}
			return p.receivers.Len(), p.woken, set
		}
		expect := func(waiting, set int) {
			t.Helper()
			synctest.Wait()
			w, woken, s := look()
			require.Equal(t, []int{waiting, 0, set}, []int{w, woken, s}, "waiting, woken, timers set")
		}
		expect(receivers, 0)

		require.NoError(t, s.Commit(t.Context(), nil, testMessage("a", 1, time.Time{})))
		expect(receivers-1, 0)
		require.Equal(t, []int{0}, got)

		// Due later: one timer, and it is the second's.
		require.NoError(t, s.Commit(t.Context(), nil, testMessage("a", 2, time.Now().Add(time.Hour))))
		expect(receivers-1, 1) // one timer for a name
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, []int{0, 1}, got)

		// Three at once wake each other one by one.
		require.NoError(t, s.Commit(t.Context(), nil, testMessages("a", 3, 3, time.Time{})...))
		synctest.Wait()
		require.Equal(t, []int{0, 1, 2, 3, 4}, got)
		expect(receivers-5, 0)
		cancel()
		all.Wait()
		expect(0, 0)
	})
}

// TestMemoryPassesTheCallOn: a receiver that is woken and leaves because its
// context has ended doesn't take the call with it.
func TestMemoryPassesTheCallOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 0)
		s := openSession(t, m)
		ctx, cancel := context.WithCancel(t.Context())
		var first, second error
		var all sync.WaitGroup
		all.Go(func() { _, first = s.Receive(ctx, "a", 1) })
		synctest.Wait()
		all.Go(func() { _, second = s.Receive(t.Context(), "a", 1) })
		synctest.Wait()
		// Both in one go: the first is called, and finds its context ended.
		cancel()
		require.NoError(t, s.Commit(t.Context(), nil, testMessage("a", 1, time.Time{})))
		synctest.Wait()
		all.Wait()
		require.ErrorIs(t, first, context.Canceled)
		require.NoError(t, second)
	})
}

// TestMemoryCallsOnceAtATime: while a receiver is called and has not looked yet,
// no other is.
func TestMemoryCallsOnceAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 0)
		s := openSession(t, m)
		for range 3 {
			go s.Receive(t.Context(), "a", 1)
		}
		synctest.Wait()
		m.mu.Lock()
		p := m.places[m.names["a"]]
		p.line.push(&m.slots, m.slots.take()) // as if something were due
		m.wakeLocked(p, 0)
		m.wakeLocked(p, 0)
		woken := p.woken
		p.line = line{}
		m.mu.Unlock()
		require.Equal(t, 1, woken)
		synctest.Wait()
		require.NoError(t, m.Close())
	})
}

// TestMemorySooner: what is due sooner than what a receiver waits for is
// delivered when it is due, and what it waited for before doesn't disturb.
func TestMemorySooner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 0)
		s := openSession(t, m)
		start := time.Now()
		var got []time.Duration
		var all sync.WaitGroup
		all.Go(func() {
			for len(got) < 4 {
				ds, err := s.Receive(t.Context(), "a", 1)
				if err != nil {
					t.Error(err)
					return
				}
				got = append(got, time.Since(start))
				if d := ds[0].Due.Sub(start); d != got[len(got)-1] {
					t.Errorf("due after %v, delivered after %v", d, got[len(got)-1])
				}
			}
		})
		for i, after := range []time.Duration{200 * time.Hour, time.Hour, time.Minute, time.Second} {
			synctest.Wait()
			require.NoError(t, s.Commit(t.Context(), nil, testMessage("a", i, start.Add(after))))
		}
		all.Wait()
		require.Equal(t, []time.Duration{time.Second, time.Minute, time.Hour, 200 * time.Hour}, got)
	})
}

// TestMemoryPrecision: in virtual time everything comes exactly when it is due,
// to the nanosecond, whatever the distance and whatever lies between.
func TestMemoryPrecision(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 0)
		s := openSession(t, m)
		start := time.Now()
		waits := []time.Duration{
			1, 1<<tickBits - 1, 1 << tickBits, 1<<tickBits + 1, 50 * time.Millisecond, time.Second + 1,
			span << tickBits, span<<tickBits + 1, 3 * time.Minute, time.Hour, 100 * 24 * time.Hour, 30 * 365 * 24 * time.Hour,
		}
		for i := range waits {
			due := start.Add(waits[len(waits)-1-i])
			require.NoError(t, s.Commit(t.Context(), nil, testMessage("a", i, due)))
		}
		for _, wait := range waits {
			ds, err := s.Receive(t.Context(), "a", 100)
			require.NoError(t, err)
			require.Len(t, ds, 1)
			require.Equal(t, wait, time.Since(start))
			require.Equal(t, wait, ds[0].Due.Sub(start))
		}
	})
}

// TestMemoryNeverEarlyOnTheRealClock: a little real time, for the clock that
// counts in the end.
func TestMemoryNeverEarlyOnTheRealClock(t *testing.T) {
	t.Parallel()
	m := newMemory(t, 0)
	s := openSession(t, m)
	const n = 300
	start := time.Now()
	for i := range n {
		due := start.Add(time.Duration(i*7919%n) * 300 * time.Microsecond)
		require.NoError(t, s.Commit(t.Context(), nil, testMessage("a", i, due)))
	}
	var last time.Time
	for got := 0; got < n; {
		ds, err := s.Receive(t.Context(), "a", 10)
		require.NoError(t, err)
		now := time.Now()
		for _, d := range ds {
			require.False(t, now.Before(d.Due), "%v early", d.Due.Sub(now))
			require.False(t, d.Due.Before(last), "out of order")
			last = d.Due
		}
		got += len(ds)
	}
}

// TestMemoryHerd: more messages in one tick than one step touches, and more in
// the hands of one session.
func TestMemoryHerd(t *testing.T) {
	t.Parallel()
	for _, counted := range []bool{true, false} {
		t.Run(fmt.Sprintf("counted=%t", counted), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { testHerd(t, counted) })
		})
	}
}

func testHerd(t *testing.T, counted bool) {
	m := newMemory(t, 0)
	s := openSession(t, m)
	const n = 5*stepSize + 7
	due := time.Now().Add(time.Minute).Truncate(1 << tickBits).Add(1 << tickBits)
	ms := testMessages("a", 0, n, time.Time{})
	for i := range ms {
		ms[i].Due = due.Add(time.Duration(i * 7919 % 1000))
	}
	require.NoError(t, s.Commit(t.Context(), nil, ms...))
	time.Sleep(time.Until(due) + time.Microsecond)
	if counted { // which puts them in order
		depths, err := m.Depths(t.Context())
		require.NoError(t, err)
		require.Equal(t, []Depth{{Name: "a", Ready: n}}, depths)
	}

	receive := func(s *memorySession, marked bool) {
		var last Delivery
		seen := map[resource.ID]bool{}
		for len(seen) < n {
			ds, err := s.Receive(t.Context(), "a", n)
			require.NoError(t, err)
			require.LessOrEqual(t, len(ds), maxBatch)
			for _, d := range ds {
				require.False(t, d.Due.Before(last.Due))
				require.False(t, seen[d.Resource.ID])
				require.Equal(t, marked, d.Redelivered)
				seen[d.Resource.ID] = true
				last = d
			}
		}
	}
	receive(s, false)
	require.NoError(t, s.Close())
	receive(openSession(t, m), true)

	all, err := m.List(t.Context(), "a", resource.ID{}, n+1)
	require.NoError(t, err)
	require.Len(t, all, n)
	some, err := m.List(t.Context(), "a", all[9].Resource.ID, 20)
	require.NoError(t, err)
	require.Equal(t, all[10:30], some)
}

// TestMemoryRoomIsFirstComeFirstServed: a big admission isn't passed by small
// ones, and one that gives up makes way.
func TestMemoryRoomIsFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 4)
		s := openSession(t, m)
		require.NoError(t, s.Commit(t.Context(), nil, testMessages("a", 0, 4, time.Time{})...))
		held, err := s.Receive(t.Context(), "a", 4)
		require.NoError(t, err)

		var mu sync.Mutex
		var in []string
		var all sync.WaitGroup
		admit := func(ctx context.Context, name string, from, n int) {
			all.Go(func() {
				err := s.Commit(ctx, nil, testMessages(name, from, n, time.Time{})...)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					name = err.Error()
				}
				in = append(in, name)
			})
			synctest.Wait()
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		admit(ctx, "never", 10, 1)
		admit(t.Context(), "big", 20, 3)
		admit(t.Context(), "small", 30, 1)

		require.NoError(t, s.Commit(t.Context(), held[:1], held[0].To("b", time.Time{})), "a move needs no room")
		cancel(errors.New("gave up"))
		synctest.Wait()
		require.Equal(t, []string{"gave up"}, in)

		require.NoError(t, s.Commit(t.Context(), held[1:3]))
		admit(t.Context(), "late", 35, 1)
		require.Equal(t, []string{"gave up"}, in, "room for the small ones, which must not pass the big one")
		require.NoError(t, s.Commit(t.Context(), held[3:]))
		synctest.Wait()
		require.Equal(t, []string{"gave up", "big"}, in)
		for _, name := range []string{"b", "big"} {
			ds, err := s.Receive(t.Context(), name, 1)
			require.NoError(t, err)
			require.NoError(t, s.Commit(t.Context(), ds))
			synctest.Wait()
		}
		all.Wait()
		require.Equal(t, []string{"gave up", "big", "small", "late"}, in)
		require.Zero(t, m.room.waiting.Len())
		require.Equal(t, 4, m.room.used)

		err = s.Commit(t.Context(), nil, testMessages("c", 40, 5, time.Time{})...)
		require.ErrorIs(t, err, ErrRefused, "more than will ever have room")
	})
}

// TestMemoryLeavesNothingBehind: no goroutine, however sessions have ended, and
// nothing of what it held once it is closed.
func TestMemoryLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	m := newMemory(t, 0)
	var all sync.WaitGroup
	for i := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := m.Open(ctx)
		require.NoError(t, err)
		all.Go(func() {
			defer func() { _ = recover() }()
			defer s.Close()
			_ = s.Commit(t.Context(), nil, testMessage("a", i, time.Time{}))
			_, _ = s.Receive(ctx, "a", 2)
			_, _ = s.Receive(ctx, "empty", 2)
			panic("the holder fails")
		})
		if i%2 == 0 {
			cancel()
		}
		defer cancel()
	}
	require.NoError(t, m.Close())
	all.Wait()
	require.Empty(t, m.sessions)
	require.Zero(t, m.slots.used)
	// The last to leave may still have its return to do.
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)

	_, err := m.Depths(t.Context())
	require.ErrorIs(t, err, ErrClosed)
	_, err = m.List(t.Context(), "a", resource.ID{}, 1)
	require.ErrorIs(t, err, ErrClosed)
}

func TestMemoryRefusesArguments(t *testing.T) {
	t.Parallel()
	for _, capacity := range []int{-1, MaxCapacity + 1} {
		_, err := NewMemory(MemoryConfig{Capacity: capacity})
		require.ErrorContains(t, err, "Capacity")
	}
	m := newMemory(t, 0)
	s := openSession(t, m)
	_, err := s.Receive(t.Context(), "", 1)
	require.ErrorIs(t, err, ErrRefused)
	_, err = m.List(t.Context(), "a", resource.ID{}, 0)
	require.ErrorContains(t, err, "limit 0")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, call := range []func() error{
		func() error { _, err := m.Open(ended); return err },
		func() error { _, _, err := m.Find(ended, resource.ID{}); return err },
		func() error { _, err := m.Depths(ended); return err },
		func() error { _, err := m.List(ended, "a", resource.ID{}, 1); return err },
		func() error { _, err := s.Take(ended, resource.ID{}); return err },
		func() error { return s.Commit(ended, nil, testMessage("a", 1, time.Time{})) },
	} {
		require.ErrorIs(t, call(), context.Canceled)
	}
	for field, harm := range map[string]func(m *Message){
		"ID":         func(m *Message) { m.Resource.ID = resource.ID{} },
		"Version":    func(m *Message) { m.Resource.Version = -1 },
		"Attempts":   func(m *Message) { m.Attempts = -1 },
		"Cause":      func(m *Message) { m.Cause = string(make([]byte, resource.MaxCause+1)) },
		"Profile":    func(m *Message) { m.Resource.Profile = string(make([]byte, resource.MaxName+1)) },
		"Origin":     func(m *Message) { m.Resource.Origin = string(make([]byte, resource.MaxURI+1)) },
		"Bucket":     func(m *Message) { m.Resource.Bucket = string(make([]byte, resource.MaxBucket+1)) },
		"LastModifi": func(m *Message) { m.Resource.Validators.LastModified = string(make([]byte, resource.MaxValidator+1)) },
	} {
		msg := testMessage("a", 1, time.Time{})
		harm(&msg)
		err := s.Commit(t.Context(), nil, msg)
		require.ErrorIs(t, err, ErrRefused, field)
		require.ErrorContains(t, err, field)
	}
	require.Zero(t, m.slots.used)
	require.Zero(t, m.arena.used)
}

// TestMemoryCommitRefusals: what is wrong with a Commit as a whole, and that
// nothing of it stays.
func TestMemoryCommitRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 0)
		s := openSession(t, m)
		require.NoError(t, s.Commit(t.Context(), nil, testMessages("a", 0, 2, time.Time{})...))
		ds, err := s.Receive(t.Context(), "a", 2)
		require.NoError(t, err)
		used, values, texts := m.slots.used, m.arena.used, len(m.texts.byTexts)

		older, newer := ds[0].To("b", time.Time{}), ds[0].To("b", time.Time{})
		older.Resource.Version--
		newer.Resource.Version++
		fresh := testMessage("b", 9, time.Time{})
		fresh.Resource.Bucket = "of its own"
		forged := ds[1]
		forged.Receipt = ds[0].Receipt
		for name, c := range map[string]struct {
			done []Delivery
			next []Message
			want error
		}{
			"older version":   {ds[:1], []Message{older}, ErrRefused},
			"newer version":   {ds[:1], []Message{newer}, ErrRefused},
			"done twice":      {[]Delivery{ds[0], ds[0]}, nil, ErrRefused},
			"moved twice":     {ds[:1], []Message{ds[0].To("b", time.Time{}), ds[0].To("c", time.Time{})}, ErrRefused},
			"admitted twice":  {ds, []Message{ds[1].To("b", time.Time{}), fresh, fresh}, ErrRefused},
			"foreign receipt": {[]Delivery{forged}, nil, ErrLost},
		} {
			require.ErrorIs(t, s.Commit(t.Context(), c.done, c.next...), c.want, name)
			require.Equal(t, used, m.slots.used, name)
			require.Equal(t, values, m.arena.used, name)
			require.Len(t, m.texts.byTexts, texts, name)
		}
		require.NoError(t, s.Commit(t.Context(), nil), "nothing to do")
		require.NoError(t, s.Commit(t.Context(), ds))
		require.Zero(t, m.slots.used)
		require.Zero(t, m.arena.used)
		require.Empty(t, m.texts.byTexts, "texts that nobody shares any more")
		require.Zero(t, m.index.count)
		require.Zero(t, m.room.used)
	})
}

// TestMemoryAtTheBoundOfItsArena: an admission that finds no memory leaves
// nothing, and moves go on where there is room left for them.
func TestMemoryAtTheBoundOfItsArena(t *testing.T) {
	t.Parallel()
	m := newMemory(t, 0)
	s := openSession(t, m)
	require.NoError(t, s.Commit(t.Context(), nil, testMessage("a", 0, time.Time{})))
	var taken []uint32 // all that the chunk in use has
	first, err := m.findLocked(testMessage("a", 0, time.Time{}).Resource.ID)
	require.NoError(t, err)
	size := len(m.arena.get(m.slots.at(first).val))
	for len(m.arena.chunks) == 2 {
		addr, err := m.arena.put(make([]byte, size))
		require.NoError(t, err)
		taken = append(taken, addr)
	}
	m.arena.drop(taken[len(taken)-1])
	m.arena.empty = nil
	chunks := m.arena.chunks
	m.arena.chunks = append(chunks[:2:2], make([]*[arenaChunk]byte, maxChunks-2)...)

	fresh := testMessage("a", 1, time.Time{})
	fresh.Resource.Bucket = "of its own"
	require.ErrorIs(t, s.Commit(t.Context(), nil, fresh), errArena)
	require.Equal(t, 1, m.slots.used)
	require.Equal(t, 1, m.room.used)
	require.Len(t, m.texts.byTexts, 1)
	_, _, err = m.Find(t.Context(), fresh.Resource.ID)
	require.ErrorIs(t, err, ErrNotFound)

	// A move needs none where the value is about as long as before.
	ds, err := s.Receive(t.Context(), "a", 1)
	require.NoError(t, err)
	require.NoError(t, s.Commit(t.Context(), ds, ds[0].To("a", time.Time{})))
}
