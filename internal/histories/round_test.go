package histories

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cannedos/cannedos/db"
)

// round is one history: clients that work on names of their own.
type round struct {
	log   *log
	seed  uint64
	space string
	first int64         // version from which on raw writes choose theirs
	ttl   time.Duration // of leases
	pause time.Duration // between calls of a client, at most

	over     chan struct{}
	errs     chan error // that no fault explains; room for one from each worker
	workers  sync.WaitGroup
	versions sync.Mutex
	written  int64
}

const (
	owners, holders, writers = 5, 2, 3
	leases, records          = 2, 3
)

// workers are how many clients a round has, each with a number of its own.
const workers = owners + holders + writers

// start lets the workers use their stores: one for each number.
func (r *round) start(ctx context.Context, store func(number int) db.DB) {
	r.over, r.errs = make(chan struct{}), make(chan error, workers)
	for n := range workers {
		c := &client{
			round: r, number: n, store: &recorder{DB: store(n), log: r.log, client: n},
			random: rand.New(rand.NewPCG(r.seed, uint64(n))), known: make(map[string]int64),
			owner: ownerOf(r.seed, n),
		}
		job := c.write
		switch {
		case n < owners:
			job = c.own
		case n < owners+holders:
			job = c.hold
		}
		r.workers.Go(func() {
			if err := job(ctx); err != nil {
				r.errs <- fmt.Errorf("client %d: %w", n, err)
			}
		})
	}
}

// stop ends the work and returns an error that no fault explains.
func (r *round) stop() error {
	close(r.over)
	r.workers.Wait()
	select {
	case err := <-r.errs:
		return err
	default:
		return nil
	}
}

// version returns one that no other raw write of the history has.
func (r *round) version() int64 {
	r.versions.Lock()
	defer r.versions.Unlock()
	r.written++
	return r.first + r.written
}

// names are all records of the round.
func (r *round) names() []string {
	ids := []string{"hold"}
	for n := range leases {
		ids = append(ids, fmt.Sprint("lease-", n), fmt.Sprint("fence-", n))
	}
	for n := range records {
		ids = append(ids, fmt.Sprint("record-", n))
	}
	return ids
}

// readAll reads all records in the end, by Get and by Scan, as part of the
// history, from a store that has to serve again within two minutes.
func (r *round) readAll(ctx context.Context, store db.DB) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("not served for two minutes after the faults"))
	defer cancel()
	plain := &recorder{DB: store, log: r.log, client: workers}
	_, err := plain.Get(ctx, r.space, r.names()...)
	for ; err != nil; _, err = plain.Get(ctx, r.space, r.names()...) {
		if wait(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
	var ops []*operation
	for _, id := range r.names() {
		ops = append(ops, r.log.begin(operation{Client: workers, Kind: get, Key: r.space + "/" + id}))
	}
	found := make(map[string]cell)
	for record, err := range store.Scan(ctx, r.space) {
		if err != nil {
			return fmt.Errorf("scan: %w", err)
		}
		found[r.space+"/"+record.ID] = cellOf(record)
	}
	for _, op := range ops {
		op.Found = found[op.Key]
		r.log.finish(op, ok)
	}
	return nil
}

// ownerOf is the same for the same seed and number.
func ownerOf(seed uint64, n int) db.Owner {
	random := rand.New(rand.NewPCG(seed, 1<<32+uint64(n)))
	var o db.Owner
	binary.BigEndian.PutUint64(o[:8], random.Uint64())
	binary.BigEndian.PutUint64(o[8:], random.Uint64())
	return o
}

// client is one worker of a round.
type client struct {
	*round
	number int
	store  db.DB
	random *rand.Rand
	owner  db.Owner
	known  map[string]int64 // versions last seen, often outdated
	failed bool             // the last call
}

// rest waits for up to d, and says whether to go on. After a call that failed
// it takes longer: of a server that is away nothing is learnt by asking often.
func (c *client) rest(ctx context.Context, d time.Duration) bool {
	if c.failed {
		d += c.ttl / 2
		c.failed = false
	}
	t := time.NewTimer(time.Duration(c.random.Int64N(int64(d))))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.over:
		return false
	case <-ctx.Done():
		return false
	}
}

// within returns a context for one call, which some give up early.
func (c *client) within(ctx context.Context) (context.Context, context.CancelFunc) {
	d := 2 * c.ttl
	if c.random.IntN(5) == 0 {
		d = c.ttl / time.Duration(4+c.random.IntN(30))
	}
	return context.WithTimeout(ctx, d)
}

// write reads records and compares-and-sets them until the round is over.
func (c *client) write(ctx context.Context) error {
	for c.rest(ctx, c.pause) {
		err := c.writeOnce(ctx)
		if notAFault(err) {
			return err
		}
		c.failed = err != nil
	}
	return nil
}

func (c *client) writeOnce(ctx context.Context) error {
	ctx, cancel := c.within(ctx)
	defer cancel()
	n := c.random.IntN(records)
	id := fmt.Sprint("record-", n)
	if c.random.IntN(10) < 3 {
		found, err := c.store.Get(ctx, c.space, id)
		if err == nil {
			c.known[id] = 0
		}
		for _, r := range found {
			c.known[id] = r.Version
		}
		return err
	}
	writes := []db.Write{c.next(id)}
	if c.random.IntN(4) == 0 { // two records at once
		writes = append(writes, c.next(fmt.Sprint("record-", (n+1)%records)))
	}
	results, err := c.store.Write(ctx, writes...)
	for i, result := range results {
		to := result.Current.Version
		if result.OK {
			to = writes[i].Record.Version
		}
		c.known[writes[i].Record.ID] = to
	}
	return err
}

// next is a write that goes on from what is known, now and then a delete.
func (c *client) next(id string) db.Write {
	w := db.Write{If: c.known[id], Record: db.Record{Space: c.space, ID: id}}
	if w.If == 0 || c.random.IntN(10) != 0 {
		w.Record.Version = c.version()
		w.Record.Value = fmt.Append(nil, w.Record.Version)
	}
	return w
}
