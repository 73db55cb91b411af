package db

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// States that a service checks in outlive the process, as any record does.
func ExampleStates() {
	ctx := context.Background()
	store := NewMemory() // OpenFile, in a program
	defer store.Close()

	states, err := NewStates(store, "state")
	if err != nil {
		panic(err)
	}
	if err := states.SaveState(ctx, "os/scheduler/analyzer", []byte("page 7")); err != nil {
		panic(err)
	}

	next, err := NewStates(store, "state") // of the next process
	if err != nil {
		panic(err)
	}
	state, err := next.LoadState(ctx, "os/scheduler/analyzer")
	fmt.Printf("%s %v\n", state, err)
	// Output: page 7 <nil>
}

func newStates(t testing.TB, store DB) *States {
	t.Helper()
	s, err := NewStates(store, "state")
	require.NoError(t, err)
	return s
}

func wantState(t testing.TB, s *States, path string, want []byte) {
	t.Helper()
	got, err := s.LoadState(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// What is saved is loaded, by path, nothing and empty told apart, and nothing
// is shared with the caller.
func TestStates(t *testing.T) {
	for name, store := range map[string]DB{"memory": NewMemory(), "file": openTemp(t)} {
		t.Run(name, func(t *testing.T) {
			s := newStates(t, store)
			wantState(t, s, "os/a", nil)
			state := []byte("one")
			require.NoError(t, s.SaveState(t.Context(), "os/a", state))
			state[0] = 'x'
			require.NoError(t, s.SaveState(t.Context(), "os/a/2", []byte("two")))
			wantState(t, s, "os/a", []byte("one"))
			got, err := s.LoadState(t.Context(), "os/a")
			require.NoError(t, err)
			got[0] = 'y'
			wantState(t, s, "os/a", []byte("one"))
			wantState(t, s, "os/a/2", []byte("two"))
			require.NoError(t, s.SaveState(t.Context(), "os/a", []byte{}))
			wantState(t, s, "os/a", []byte{})
			require.NoError(t, s.SaveState(t.Context(), "os/a", nil))
			wantState(t, s, "os/a", []byte{})
			large := make([]byte, MaxValue)
			require.NoError(t, s.SaveState(t.Context(), "os/a", large))
			wantState(t, s, "os/a", large)
			other, err := NewStates(store, "other")
			require.NoError(t, err)
			wantState(t, other, "os/a/2", nil)
		})
	}
}

// A new process finds what the one before has saved and goes on from there,
// whether it loads first or not.
func TestStatesReopened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "states.db")
	for n := range 4 {
		f, err := OpenFile(path)
		require.NoError(t, err)
		s := newStates(t, f)
		if n > 0 && n%2 == 0 {
			wantState(t, s, "a", fmt.Appendf(nil, "%d-1", n-1))
		}
		for i := range 2 {
			require.NoError(t, s.SaveState(t.Context(), "a", fmt.Appendf(nil, "%d-%d", n, i)))
		}
		require.NoError(t, f.Close())
		require.ErrorIs(t, s.SaveState(t.Context(), "a", nil), ErrClosed)
		_, err = s.LoadState(t.Context(), "a")
		require.ErrorIs(t, err, ErrClosed)
	}
}

// Of two writers the second is refused until it has read what the first wrote.
func TestStatesConflict(t *testing.T) {
	store := NewMemory()
	a, b := newStates(t, store), newStates(t, store)
	require.NoError(t, a.SaveState(t.Context(), "p", []byte("a1")))
	require.NoError(t, b.SaveState(t.Context(), "p", []byte("b1")), "it has seen a1, and takes over")
	for range 2 {
		err := a.SaveState(t.Context(), "p", []byte("a2"))
		require.ErrorIs(t, err, ErrConflict)
		require.EqualError(t, err, fmt.Sprintf(`db: save state of "p": changed by another writer: version 2 by %v is stored, not 1`, b.owner))
	}
	wantState(t, b, "p", []byte("b1"))
	require.NoError(t, b.SaveState(t.Context(), "p", []byte("b2")))
	wantState(t, a, "p", []byte("b2"))
	require.NoError(t, a.SaveState(t.Context(), "p", []byte("a3")), "it has read b2")
	require.ErrorIs(t, b.SaveState(t.Context(), "p", []byte("b3")), ErrConflict)

	t.Run("created under it", func(t *testing.T) {
		wantState(t, a, "new", nil)
		require.NoError(t, b.SaveState(t.Context(), "new", []byte("b")))
		require.ErrorIs(t, a.SaveState(t.Context(), "new", []byte("a")), ErrConflict)
	})
	t.Run("deleted under it", func(t *testing.T) {
		require.NoError(t, b.SaveState(t.Context(), "new", []byte("b")))
		results, err := store.Write(t.Context(), Write{If: 2, Record: Record{Space: "state", ID: "new"}})
		require.NoError(t, err)
		require.True(t, results[0].OK)
		require.ErrorContains(t, b.SaveState(t.Context(), "new", nil), "changed by another writer: version 2 is not stored any more")
		wantState(t, b, "new", nil)
		require.NoError(t, b.SaveState(t.Context(), "new", nil))
	})
}

func TestStatesRefuse(t *testing.T) {
	_, err := NewStates(nil, "s")
	require.EqualError(t, err, "db: new states: invalid argument: store is nil")
	_, err = NewStates(NewMemory(), "")
	require.EqualError(t, err, "db: new states: invalid argument: space is empty")

	s := newStates(t, NewMemory())
	long := "os/" + strings.Repeat("x", MaxID-2)
	wants := map[string]error{"": ErrInvalid, "a\xff": ErrInvalid, long: ErrTooLarge}
	for path, want := range wants {
		require.ErrorIs(t, s.SaveState(t.Context(), path, nil), want)
		_, err := s.LoadState(t.Context(), path)
		require.ErrorIs(t, err, want)
	}
	err = s.SaveState(t.Context(), long, nil)
	require.ErrorContains(t, err, `too large`)
	require.ErrorContains(t, err, `id of 1025 bytes, at most 1024`)
	require.Less(t, len(err.Error()), 250)
	require.NoError(t, s.SaveState(t.Context(), long[1:], nil))
	require.ErrorIs(t, s.SaveState(t.Context(), "a", make([]byte, MaxValue+1)), ErrTooLarge)
	require.Len(t, s.paths, 1, "what is refused is not remembered")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.SaveState(ctx, "a", nil), context.Canceled)
}

// lossy is a store whose answers get lost, before or after the deed.
type lossy struct {
	DB
	mu     sync.Mutex
	losses []string // of the next writes: "", "before" or "after"
	writes int
	gets   error
}

func (l *lossy) Get(ctx context.Context, space string, ids ...string) ([]Record, error) {
	if l.gets != nil {
		return nil, l.gets
	}
	return l.DB.Get(ctx, space, ids...)
}

func (l *lossy) Write(ctx context.Context, writes ...Write) ([]Result, error) {
	l.mu.Lock()
	loss := ""
	if len(l.losses) > 0 {
		loss, l.losses = l.losses[0], l.losses[1:]
	}
	l.writes++
	l.mu.Unlock()
	if loss == "before" {
		return nil, errOutage
	}
	results, err := l.DB.Write(ctx, writes...)
	if loss == "after" {
		return nil, errOutage
	}
	return results, err
}

// A write whose outcome is unknown is sent again, and found to be its own by
// that save or a later one.
func TestStatesUnknownOutcome(t *testing.T) {
	for _, c := range []struct {
		losses string
		writes int
		err    error
	}{
		{"before", 2, nil},
		{"after", 2, nil},
		{"before before", 3, nil},
		{"after before", 3, nil},
		{"before after before", 3, errOutage},
		{"after after after", 3, errOutage},
	} {
		t.Run(c.losses, func(t *testing.T) {
			l := &lossy{DB: NewMemory()}
			s := newStates(t, l)
			require.NoError(t, s.SaveState(t.Context(), "p", []byte("0")))
			l.losses, l.writes = strings.Fields(c.losses), 0
			require.ErrorIs(t, s.SaveState(t.Context(), "p", []byte("1")), c.err)
			require.Equal(t, c.writes, l.writes)
			l.losses = []string{"after"} // and again, now with another state
			require.NoError(t, s.SaveState(t.Context(), "p", []byte("2")))
			require.NoError(t, s.SaveState(t.Context(), "p", []byte("3")))
			wantState(t, newStates(t, l), "p", []byte("3"))
		})
	}
	t.Run("what says that nothing was done is not sent again", func(t *testing.T) {
		l := &lossy{DB: NewMemory()}
		s := newStates(t, l)
		require.NoError(t, l.Close())
		l.gets = errOutage
		require.ErrorIs(t, s.SaveState(t.Context(), "p", nil), errOutage)
		require.Zero(t, l.writes, "what is stored is not known")
		s.paths["p"].known = true
		require.ErrorIs(t, s.SaveState(t.Context(), "p", nil), ErrClosed)
		require.Equal(t, 1, l.writes)
	})
	t.Run("the store does not settle", func(t *testing.T) {
		s := newStates(t, &restless{DB: NewMemory()})
		require.ErrorContains(t, s.SaveState(t.Context(), "p", []byte("x")), "does not settle")
	})
}

// restless answers each write with a newer record of the same writer.
type restless struct{ DB }

func (r *restless) Write(_ context.Context, writes ...Write) ([]Result, error) {
	current := writes[0].Record
	current.Version += 7
	return []Result{{Current: current}}, nil
}

// Whatever gets lost, what a new States finds is the latest acknowledged state
// or a later one, and nobody is told of a conflict.
func TestStatesRandomLosses(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	l := &lossy{DB: NewMemory()}
	s := newStates(t, l)
	acked, sent := 0, 0
	for range 3000 {
		l.losses = nil
		for range random.IntN(5) {
			l.losses = append(l.losses, []string{"", "before", "after"}[random.IntN(3)])
		}
		sent++
		switch err := s.SaveState(t.Context(), "p", fmt.Append(nil, sent)); {
		case err == nil:
			acked = sent
		case !errors.Is(err, errOutage):
			t.Fatal(err)
		}
		if random.IntN(20) == 0 {
			l.losses = nil
			s = newStates(t, l) // a new process
			state, err := s.LoadState(t.Context(), "p")
			require.NoError(t, err)
			var got int
			if state != nil {
				_, err = fmt.Sscan(string(state), &got)
				require.NoError(t, err)
			}
			require.GreaterOrEqual(t, got, acked)
			require.LessOrEqual(t, got, sent)
		}
	}
	require.Positive(t, acked)
}

// Calls for one path follow each other, and those for others don't wait.
func TestStatesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &pacing{DB: NewMemory(), t: t, writing: make(map[string]bool)}
		s := newStates(t, store)
		begin := time.Now()
		var wg sync.WaitGroup
		for n := range 10 {
			for i := range 5 {
				wg.Go(func() {
					if err := s.SaveState(t.Context(), fmt.Sprint("p", n), fmt.Append(nil, i)); err != nil {
						t.Error(err)
					}
				})
			}
		}
		time.Sleep(2500 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := s.SaveState(ctx, "p1", nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "wait for another call")
		wg.Wait()
		require.Equal(t, 5*time.Second, time.Since(begin), "five for each path, all paths beside each other")
		records, err := store.Get(t.Context(), "state", "p0")
		require.NoError(t, err)
		require.EqualValues(t, 5, records[0].Version)
	})
}

// pacing takes a second for each write, and none at the same time for one record.
type pacing struct {
	DB
	t       *testing.T
	mu      sync.Mutex
	writing map[string]bool
}

func (p *pacing) Write(ctx context.Context, writes ...Write) ([]Result, error) {
	id := writes[0].Record.ID
	p.mark(id, true)
	time.Sleep(time.Second)
	defer p.mark(id, false)
	return p.DB.Write(ctx, writes...)
}

func (p *pacing) mark(id string, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writing[id] == on {
		p.t.Error("two writes of one path at once")
	}
	p.writing[id] = on
}
