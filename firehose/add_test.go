package firehose_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// apart returns Specs of so many origins.
func apart(n int) (specs []resource.Spec) {
	for i := range n {
		specs = append(specs, resource.Spec{URI: fmt.Sprintf("https://%d.test/", i)})
	}
	return specs
}

// quietOS is an OS that does not serve: nothing reaches the store but by its Add.
func quietOS(t *testing.T, store db.DB) (os *firehose.OS, q *queue.Durable) {
	t.Helper()
	q, err := queue.NewDurable(store, queue.DurableConfig{})
	require.NoError(t, err)
	t.Cleanup(func() { q.Close() })
	os, err = firehose.New(firehose.Config{DB: store, Queue: q})
	require.NoError(t, err)
	return os, q
}

// addErrors are the errors of an Add by URI, of one that is named twice the last.
func addErrors(t *testing.T, err error) map[string]error {
	t.Helper()
	all := map[string]error{}
	if err == nil {
		return all
	}
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok, "%v", err)
	for _, err := range joined.Unwrap() {
		rest, ok := strings.CutPrefix(err.Error(), "firehose: add ")
		require.True(t, ok, "%v", err)
		uri, _, ok := strings.Cut(rest, ": ")
		require.True(t, ok, "%v", err)
		all[uri] = err
	}
	return all
}

// writeCounter counts the calls of a store that Add is to save.
type writeCounter struct {
	db.DB
	wishes, moves, reads int
}

func (c *writeCounter) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	switch writes[0].Record.Space {
	case "registry":
		c.wishes++
	case "queue":
		c.moves++
	}
	return c.DB.Write(ctx, writes...)
}

func (c *writeCounter) Get(ctx context.Context, space string, ids ...string) ([]db.Record, error) {
	if space == "registry" {
		c.reads++
	}
	return c.DB.Get(ctx, space, ids...)
}

// Those that are added together share the writes to the store.
func TestAddSharesWrites(t *testing.T) {
	store := &writeCounter{DB: db.NewMemory()}
	os, _ := quietOS(t, store)
	add := func(specs ...resource.Spec) (wishes, moves, reads int, err error) {
		before := *store
		err = os.Add(t.Context(), specs...)
		return store.wishes - before.wishes, store.moves - before.moves, store.reads - before.reads, err
	}
	specs := apart(1000)
	wishes, moves, reads, err := add(specs...)
	require.NoError(t, err)
	require.Equal(t, []int{8, 4, 4}, []int{wishes, moves, reads}, "4 batches")

	wishes, moves, reads, err = add(apart(1024)...) // of which 24 are new
	require.Len(t, addErrors(t, err), 1000)
	require.Equal(t, []int{8, 1, 4}, []int{wishes, moves, reads})

	var twice []resource.Spec
	for _, spec := range apart(1024 + 256)[1024:] {
		twice = append(twice, spec, spec)
	}
	wishes, moves, reads, err = add(twice...)
	require.Len(t, addErrors(t, err), 256)
	require.Equal(t, []int{8, 2, 4}, []int{wishes, moves, reads}, "2 batches, of each the first ones and then the others")
}

// One whose record can't be read keeps none of the others out.
func TestAddBesideADamagedRecord(t *testing.T) {
	store := db.NewMemory()
	specs := apart(10)
	_, err := store.Write(t.Context(), db.Write{Record: db.Record{Space: "registry", ID: id(t, specs[3]).String(), Version: 1, Value: []byte("{")}})
	require.NoError(t, err)
	os, q := quietOS(t, store)
	errs := addErrors(t, os.Add(t.Context(), specs...))
	require.Len(t, errs, 1)
	require.ErrorIs(t, errs[specs[3].URI], resource.ErrEncoding)
	for i := range specs {
		_, _, err := q.Find(t.Context(), id(t, specs[i]))
		require.Equal(t, i == 3, errors.Is(err, queue.ErrNotFound), "%d: %v", i, err)
	}
}

// The longest of what may be asked for fits into one write, in a form for people
// that takes six bytes for one.
func TestAddTheLongest(t *testing.T) {
	os, q := quietOS(t, db.NewMemory())
	specs := apart(256)
	for i := range specs {
		specs[i].URI += "?" + strings.Repeat("&", resource.MaxURI-len(specs[i].URI)-1)
		specs[i].MediaType = "text/" + strings.Repeat("&", resource.MaxName-5)
	}
	require.NoError(t, os.Add(t.Context(), specs...))
	for _, spec := range specs {
		_, _, err := q.Find(t.Context(), id(t, spec))
		require.NoError(t, err)
	}
}

// A queue that has no room for a batch takes as many as it has room for, and
// others when there is some.
func TestAddToAFullQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q, err := queue.NewMemory(queue.MemoryConfig{Capacity: 100})
		require.NoError(t, err)
		defer q.Close()
		net := newScript(func(c call) reply { return ok("", "") })
		r := start(t, net, firehose.Config{Queue: q})
		specs := apart(300)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		added := make(chan error, 1)
		go func() { added <- r.Add(ctx, specs...) }()
		until(10 * time.Second)
		require.Len(t, net.all(""), 100)
		for _, spec := range specs[:30] {
			require.NoError(t, r.Remove(t.Context(), id(t, spec)))
		}
		until(20 * time.Second)
		require.Len(t, net.all(""), 130)
		errs := addErrors(t, <-added)
		require.Len(t, errs, 170)
		for _, spec := range specs[130:] {
			require.ErrorIs(t, errs[spec.URI], context.DeadlineExceeded)
		}
		require.NoError(t, r.stop())
	})
}

// A removal that is under way is withdrawn, in a batch as alone: what is in stays in
// as its Spec says now, the others are admitted.
func TestAddABatchWhileSomeAreRemoved(t *testing.T) {
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := newScript(func(call) reply {
					return reply{body: "x", slow: 10 * time.Second, header: map[string]string{"X-Poll-Interval": "60"}}
				})
				specs := apart(12)
				r := start(t, net, firehose.Config{DB: store(), Resources: specs[:8], Workers: 32})
				pass(5 * time.Second) // all are asked
				for _, spec := range specs[:4] {
					require.NoError(t, r.Remove(t.Context(), id(t, spec)))
				}
				again := slices.Clone(specs)
				for i := range again {
					again[i].Interval = 5 * time.Minute
				}
				errs := addErrors(t, r.Add(t.Context(), append(again, again[0])...))
				require.Len(t, errs, 5)
				for _, spec := range append(slices.Clone(specs[4:8]), specs[0]) {
					require.ErrorIs(t, errs[spec.URI], queue.ErrExists, "nothing removes it, or not any more: %s", spec.URI)
				}
				pass(9*time.Minute + 30*time.Second)
				for i, spec := range specs {
					times := net.times(spec.URI)
					require.GreaterOrEqual(t, len(times), 2, spec.URI)
					if least := 60 * time.Second; i < 8 {
						require.GreaterOrEqual(t, times[1]-times[0], least, spec.URI)
					} else {
						require.GreaterOrEqual(t, times[1]-times[0], 5*time.Minute, spec.URI)
					}
				}
				require.NoError(t, r.stop())
			})
		})
	}
}
