package firehose_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// stepDB lets one of the writes of wishes and moves go wrong.
type stepDB struct {
	db.DB
	at  int    // which one, from 0
	how string // who does what about it: see [stepDB.Write]
	end func() // the context of the Add

	mu   sync.Mutex
	n    int
	dead bool
}

var errStep = errors.New("the store has no answer")

func (s *stepDB) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	who, what, _ := strings.Cut(s.how, " ")
	switch dead, now := s.step(who, writes[0].Record.Space); {
	case dead:
		return nil, db.ErrClosed
	case !now:
		return s.DB.Write(ctx, writes...)
	case who == "ends":
		s.end()
	}
	switch what {
	case "before":
		writes = nil
	case "after some":
		writes = writes[:(len(writes)+1)/2]
	}
	if _, err := s.DB.Write(context.WithoutCancel(ctx), writes...); err != nil {
		return nil, err
	}
	return nil, errStep
}

func (s *stepDB) step(who, space string) (dead, now bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead || who == "" || space != "registry" && space != "queue" {
		return s.dead, false
	}
	now = s.n == s.at
	s.n++
	s.dead = now && who == "dies"
	return false, now
}

func (s *stepDB) Get(ctx context.Context, space string, ids ...string) ([]db.Record, error) {
	if dead, _ := s.step("", space); dead {
		return nil, db.ErrClosed
	}
	return s.DB.Get(ctx, space, ids...)
}

// Whatever becomes of a write of an Add, and even if the process ends with it: what
// it reports as in is in, and in after a restart; what it reports as failed is in
// if its wish was stored; all may be added again; and nobody is asked early.
func TestAddFaults(t *testing.T) {
	for _, apiece := range []bool{false, true} { // the promise is that of one by one
		specs := apart(300) // two batches, of three writes each
		if apiece {
			specs = specs[:2]
		}
		for at := range 6 {
			for _, who := range []string{"fails", "ends", "dies"} {
				for _, what := range []string{"before", "after some", "after all"} {
					if underRace && (what != "after some" || at%2 == 0) { // some of them are enough there
						continue
					}
					t.Run(fmt.Sprintf("apiece=%v/write %d/%s %s", apiece, at, who, what), func(t *testing.T) {
						bubble(t, func(t *testing.T) { addWithFault(t, specs, apiece, at, who+" "+what) })
					})
				}
			}
		}
	}
}

func addWithFault(t *testing.T, specs []resource.Spec, apiece bool, at int, how string) {
	memory := db.NewMemory()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	store := &stepDB{DB: memory, at: at, end: end}
	q, err := queue.NewDurable(store, queue.DurableConfig{})
	require.NoError(t, err)
	defer q.Close()
	os, err := firehose.New(firehose.Config{DB: store, Queue: q})
	require.NoError(t, err)
	require.NoError(t, os.Add(ctx)) // it owns the queue
	store.how = how
	if strings.HasPrefix(how, "dies") { // or the journal would try for as long as Add may
		time.AfterFunc(10*time.Second, end)
	}
	errs := map[string]error{}
	if apiece {
		for _, spec := range specs {
			if err := os.Add(ctx, spec); err != nil {
				errs[spec.URI] = err
			}
		}
	} else {
		errs = addErrors(t, os.Add(ctx, specs...))
	}
	require.Greater(t, store.n, at)
	size := 256
	if apiece {
		size = 1
	}
	for i, spec := range specs {
		failed := i/size >= at/3 // and all that come after the end
		if strings.HasPrefix(how, "fails") {
			failed = i/size == at/3 && at%3 != 1 // a Commit is repeated
		}
		require.Equal(t, failed, errs[spec.URI] != nil, "%d: %v", i, errs[spec.URI])
	}
	if strings.HasPrefix(how, "fails") {
		for _, spec := range specs {
			_, _, err := q.Find(t.Context(), id(t, spec))
			require.True(t, err == nil || errs[spec.URI] != nil, "%s is reported as in, and is not", spec.URI)
		}
		store.how = ""
		for uri, err := range addErrors(t, os.Add(t.Context(), specs...)) {
			require.ErrorIs(t, err, queue.ErrExists, uri)
		}
		clear(errs)
	}
	q.Close()

	net := newScript(func(c call) reply { return ok("", "") })
	wished := wishedFor(t, memory)
	r := start(t, net, firehose.Config{DB: memory, Workers: 512})
	require.NoError(t, r.Ready(t.Context()))
	synctest.Wait()
	for _, spec := range specs {
		_, err := r.Explain(t.Context(), id(t, spec))
		require.True(t, err == nil || errs[spec.URI] != nil, "%s was reported as in, and is lost", spec.URI)
		require.Equal(t, wished[id(t, spec)], err == nil, "%s: %v", spec.URI, err)
	}
	errs = addErrors(t, r.Add(t.Context(), specs...))
	synctest.Wait()
	for _, spec := range specs {
		require.Equal(t, wished[id(t, spec)], errors.Is(errs[spec.URI], queue.ErrExists), spec.URI)
		require.Len(t, net.times(spec.URI), 1, spec.URI)
	}
	require.Len(t, wishedFor(t, memory), len(specs))
	pass(90 * time.Second)
	for _, spec := range specs {
		times := net.times(spec.URI)
		require.Len(t, times, 2, spec.URI)
		require.GreaterOrEqual(t, times[1]-times[0], time.Minute)
	}
	require.NoError(t, r.stop())
	for rec, err := range memory.Scan(t.Context(), "registry") {
		require.NoError(t, err)
		require.NotContains(t, string(rec.Value), "admitting")
	}
}

// wishedFor lists what the registry says is to be admitted.
func wishedFor(t *testing.T, store db.DB) map[resource.ID]bool {
	t.Helper()
	all := map[resource.ID]bool{}
	for rec, err := range store.Scan(t.Context(), "registry") {
		require.NoError(t, err)
		id, err := resource.ParseID(rec.ID)
		require.NoError(t, err)
		all[id] = true
	}
	return all
}
