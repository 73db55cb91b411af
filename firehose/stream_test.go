package firehose_test

import (
	"context"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// streamDB counts the records that a Scan hands out, and how many of them are
// held at once: those whose values the collector still finds.
type streamDB struct {
	db.DB
	mu      sync.Mutex
	scanned map[string]int // by space
	most    int            // held at once
}

// streamStep is how many records lie between two looks.
const streamStep = 200

func (s *streamDB) Scan(ctx context.Context, space string) iter.Seq2[db.Record, error] {
	return func(yield func(db.Record, error) bool) {
		var given []weak.Pointer[byte]
		for rec, err := range s.DB.Scan(ctx, space) {
			rec.Value = slices.Clone(rec.Value)
			if len(rec.Value) > 16 { // smaller ones share their memory with others
				given = append(given, weak.Make(&rec.Value[0]))
			}
			if !yield(rec, err) {
				return
			}
			rec = db.Record{}
			s.mu.Lock()
			s.scanned[space]++
			s.mu.Unlock()
			if len(given) >= streamStep {
				given = s.look(given)
			}
		}
	}
}

// look counts what is held, and keeps it in the list.
func (s *streamDB) look(given []weak.Pointer[byte]) []weak.Pointer[byte] {
	runtime.GC()
	given = slices.DeleteFunc(given, func(p weak.Pointer[byte]) bool { return p.Value() == nil })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.most = max(s.most, len(given))
	return given
}

// listing counts the messages that a queue lists.
type listing struct {
	queue.Queue
	pages, messages atomic.Int64
}

func (q *listing) Unwrap() queue.Queue { return q.Queue }

func (q *listing) List(ctx context.Context, name string, after resource.ID, limit int) ([]queue.Message, error) {
	lister, _ := queue.As[queue.Lister](q.Queue)
	page, err := lister.List(ctx, name, after, limit)
	q.pages.Add(1)
	q.messages.Add(int64(len(page)))
	return page, err
}

// A restart reads each record of its journal once, holds a few at a time, and does
// not list what it has read if the same is listed as before. If not, it finds what is
// to be taken out in a number of looks that does not grow.
func TestARestartIsStreamed(t *testing.T) {
	n := lighter(20_000, 4000)
	list := filepath.Join(t.TempDir(), "resources")
	write := func(uris []string) { require.NoError(t, os.WriteFile(list, []byte(strings.Join(uris, "\n")), 0o600)) }
	var uris []string
	for i := range n {
		uris = append(uris, restURI(i))
	}
	write(uris)
	bubble(t, func(t *testing.T) {
		memory := db.NewMemory()
		var asked atomic.Int64
		run := func(store *streamDB) (q *listing) {
			inner, err := queue.NewDurable(store, queue.DurableConfig{})
			require.NoError(t, err)
			q = &listing{Queue: inner}
			os, err := firehose.New(firehose.Config{DB: store, Queue: q, ResourceFile: list, Transport: askedLasting{lasting{}, &asked}})
			require.NoError(t, err)
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- os.Serve(ctx) }()
			pass(time.Minute)
			require.NoError(t, os.Ready(ctx))
			stop()
			require.NoError(t, <-done)
			require.NoError(t, inner.Close())
			return q
		}
		store := func() *streamDB { return &streamDB{DB: memory, scanned: map[string]int{}} }
		run(store())
		require.EqualValues(t, n, asked.Load(), "each was polled before the restart")

		same := store()
		q := run(same)
		require.Equal(t, n, same.scanned["queue"], "records read, each once")
		require.LessOrEqual(t, same.most, 8, "records held at once")
		require.Zero(t, q.messages.Load(), "messages listed where nothing has changed")
		require.EqualValues(t, n, asked.Load(), "a restart asks for nothing that rests")

		write(uris[:n-1])
		fewer := store()
		q = run(fewer)
		require.LessOrEqual(t, fewer.most, 8, "records held at once")
		require.LessOrEqual(t, q.pages.Load(), int64(64), "looks at everything")
		require.Equal(t, n-1, recordsOf(t, memory, "queue"), "what is no longer listed is out")
	})
}

// askedLasting counts requests.
type askedLasting struct {
	lasting
	n *atomic.Int64
}

func (c askedLasting) RoundTrip(req *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return c.lasting.RoundTrip(req)
}

func recordsOf(t *testing.T, store db.DB, space string) (n int) {
	for _, err := range store.Scan(t.Context(), space) {
		require.NoError(t, err)
		n++
	}
	return n
}
