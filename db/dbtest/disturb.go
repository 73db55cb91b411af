package dbtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

// Disturbed is what a call of [Disturb] saw, so that a test can require that
// its faults had an effect and that the store did something beside them.
type Disturbed struct {
	Acknowledged int // writes that won or lost
	Unknown      int // writes that ended with an error
	Claims       int // leases that were claimed
}

// Disturb lets clients work while faults disturbs their store, and checks what
// a store promises whatever happens: that the outcome of each write is the one
// it told, or either one if it told none; that all operations on a record are
// linearizable, so that nothing acknowledged is missing and nothing is seen
// that was not written; and that no lease is held by two. When faults has
// returned, each client must be served again within two minutes.
//
// Clients are stores that were opened on the same data, such as by several
// processes; one is enough. They keep what Disturb writes, and are not closed.
// Faults runs on the goroutine of the caller and should return soon when ctx
// ends; nothing else ends the work, so it should take some seconds.
//
// Errors of the clients are what is expected, but for those that a fault can't
// cause: db.ErrInvalid, db.ErrTooLarge, db.ErrClosed, db.ErrDamaged.
func Disturb(t testing.TB, clients []db.DB, faults func(ctx context.Context)) Disturbed {
	t.Helper()
	require.NotEmpty(t, clients, "Disturb needs a client")
	d := &disturbance{clients: clients, space: newName("disturb"), over: make(chan struct{}), errs: make(chan error, 3*len(clients))}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	d.start(ctx, seed(t))
	var patience *time.Timer
	func() { // also if faults ends the test
		defer d.workers.Wait()
		defer func() {
			close(d.over)
			patience = time.AfterFunc(limit, func() { cancel(fmt.Errorf("not served for %s after the faults", limit)) })
		}()
		faults(ctx)
	}()
	defer patience.Stop()
	close(d.errs)
	for err := range d.errs {
		require.NoError(t, err, "an error that no fault can cause")
	}
	require.NoError(t, d.recover(ctx))
	t.Logf("%d operations, %d writes told, %d not, %d claims", d.h.len(), d.told.Load(), d.untold.Load(), len(d.beliefs))
	d.h.ops = certain(d.h.ops)
	d.h.require(t, recordModel())
	requireExclusive(t, d.beliefs)
	return Disturbed{int(d.told.Load()), int(d.untold.Load()), len(d.beliefs)}
}

// disturbance is the state of one Disturb.
type disturbance struct {
	clients      []db.DB
	space        string
	over         chan struct{} // closed when the workers should stop
	workers      sync.WaitGroup
	errs         chan error // that no fault can cause; room for one from each worker
	h            history
	begun        atomic.Int64 // operations on records
	versions     atomic.Int64 // each write has a version of its own
	told, untold atomic.Int64

	mu      sync.Mutex
	beliefs []belief
}

// start lets three workers use each client: one fights for a lease, two write.
func (d *disturbance) start(ctx context.Context, seed uint64) {
	for i := range cap(d.errs) {
		w := disturbedWorker{
			disturbance: d, number: i, store: d.clients[i%len(d.clients)],
			random: rand.New(rand.NewPCG(seed, uint64(i))), known: make(map[string]int64),
		}
		work := w.write
		if i < len(d.clients) {
			work = w.hold
		}
		d.workers.Go(func() {
			if err := work(ctx); err != nil {
				d.errs <- err
			}
		})
	}
}

// shortHistory is after how many operations the workers go on to other
// records: a checker takes the longer, the longer the history of one record.
const shortHistory = 60

// record names the records that are worked on at present.
func (d *disturbance) record(n int64, which int) string {
	return fmt.Sprintf("r%d.%d", n/(2*shortHistory), which)
}

// recover waits until every client is served again, and reads every record by
// Get and by Scan, as part of the history.
func (d *disturbance) recover(ctx context.Context) error {
	var ids []string
	for n := int64(0); n <= d.begun.Load(); n += 2 * shortHistory {
		ids = append(ids, d.record(n, 0), d.record(n, 1))
	}
	reader := d.clients[len(d.clients)-1]
	for i, store := range d.clients {
		err := insist(ctx, func() error {
			_, err := store.Write(ctx, db.Write{Record: db.Record{Space: d.space + "-after", ID: fmt.Sprint(i), Version: 1}})
			return err
		})
		if err != nil {
			return fmt.Errorf("write of client %d: %w", i, err)
		}
	}
	for first := 0; first < len(ids); first += db.MaxBatch {
		some := ids[first:min(first+db.MaxBatch, len(ids))]
		err := d.readAll(ctx, some, func() ([]db.Record, error) { return reader.Get(ctx, d.space, some...) })
		if err != nil {
			return fmt.Errorf("get: %w", err)
		}
	}
	err := d.readAll(ctx, ids, func() (records []db.Record, err error) {
		for r, err := range d.clients[0].Scan(ctx, d.space) {
			if err != nil {
				return nil, err
			}
			records = append(records, r)
		}
		return records, nil
	})
	if err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	return nil
}

// readAll notes what a reading of many records shows: those that it does not
// are not there.
func (d *disturbance) readAll(ctx context.Context, ids []string, read func() ([]db.Record, error)) error {
	return insist(ctx, func() error {
		from := d.h.now.Add(1)
		records, err := read()
		to := d.h.now.Add(1)
		if err != nil {
			return err
		}
		found := make(map[string]cell, len(records))
		for _, r := range records {
			found[r.ID] = cellOf(r)
		}
		for _, id := range ids {
			d.h.add(0, recordInput{id: id, get: true}, recordOutput{current: found[id]}, from, to)
		}
		return nil
	})
}

// insist repeats do until it succeeds.
func insist(ctx context.Context, do func() error) error {
	tick := time.NewTicker(4 * afterError)
	defer tick.Stop()
	for {
		err := do()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}
