package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// Outcomes of a [Durable].
var (
	// ErrFenced says that the queue is no longer this process's: its lease
	// was lost, or another process has written to its journal. It is for good,
	// and errors.Is(err, ErrClosed) holds as well. What was committed is in the
	// journal; make a new Durable to stand by for it.
	ErrFenced = fmt.Errorf("%w: fenced, the lease was lost or another process has taken over", ErrClosed)

	// ErrStandby is the answer of Find, Depths and List as long as no session
	// was opened: nothing is known yet.
	ErrStandby = errors.New("queue: standing by, no session was opened yet")

	// ErrDamaged is a journal record that doesn't hold what it should. The text
	// names it. Nothing is skipped: Open fails until it is mended or removed.
	ErrDamaged = errors.New("queue: damaged journal record")

	// ErrNewer is a journal record of a newer version of this program.
	ErrNewer = errors.New("queue: journal record of a newer version")
)

// DurableConfig is what NewDurable needs to know beside the store. The zero
// value is good.
type DurableConfig struct {
	// Memory bounds what the queue holds. What the journal has beyond it is
	// held all the same; only admissions wait.
	Memory MemoryConfig

	// Space is the space of the journal in the store, which must be used for
	// nothing else, and the ID of its lease in the space "lease". Empty means
	// "queue". Two queues in one store need two.
	Space string

	// TTL is how long the lease lasts without renewal: how long a second process
	// stands by after the first has crashed. Zero means [db.DefaultTTL].
	TTL time.Duration

	// Skew is by how much the clocks of processes may differ. The lease is given
	// up that much before its end. Zero means a tenth of TTL.
	Skew time.Duration

	// Batch is the most records in one write to the store. Zero means 1024; at
	// most [db.MaxBatch].
	Batch int
}

const (
	durableSpace = "queue"
	durableBatch = 1024
	leaseSpace   = "lease"
)

// Durable is a [Queue] that outlives its process: a [Memory] with a journal in a
// store. It is a [Finder], a [Depther], a [Lister] and a [Stater], and its
// sessions are [Taker]s.
//
// The journal holds one record for each resource, which a Commit writes before
// it returns, and before anybody sees what it moved, if and only if
//
//   - it admits the resource, or retires it,
//   - it sets, changes or clears its Cause: it buries it or digs it out,
//   - it sets, changes or clears the Owner of the resource, or the instant of its
//     claim: it claims it, or brings a result, or both at once.
//
// All other moves touch memory only. So a poll costs two records, whatever way
// the resource takes between, and this after a crash: a resource comes back where
// and as its last record says. One with an Owner is a claim whose request may
// have left; it comes back at once, with [Delivery.Redelivered] set, so that its
// next holder counts it as sent. The others come back when they were due.
// Messages of equal Due may come back in another order. A Response is never
// written.
//
// Concurrent Commits share the writes to the store. After an error of the store
// the outcome of a Commit is unknown: its deliveries stay with the session, and
// the same Commit again is safe, and so is any other one for the same resources.
// A Commit of several resources is all or nothing for those who look at the
// queue; a crash while it is being written may leave the admissions and moves of
// some of them, or all of them without the retirements.
//
// One process at a time owns the queue, by a lease, and only it reads the
// journal, once. The first Open waits for the lease. A process that loses its
// lease, or meets a record that another one has written, is fenced: all its
// sessions end, and every call returns [ErrFenced].
//
// A store that only one process can have open ([db.Exclusive], as [db.File] is)
// needs no patience after a crash: a lease from before it was opened is dead, and
// the next Durable takes it at once.
type Durable struct {
	store  db.DB
	config DurableConfig
	owner  db.Owner

	mu   sync.Mutex
	over error       // why it has ended: ErrClosed or ErrFenced; nil while it lives
	run  *durableRun // nil: nobody has opened it, or nobody waits any more

	runs sync.WaitGroup // their goroutines
}

// durableRun is one attempt to own the queue, and the ownership that follows. It
// has one goroutine, which belongs to the Durable: Close waits for it.
type durableRun struct {
	cancel context.CancelCauseFunc
	ready  chan struct{} // closed when memory and journal are there, or err is

	// Guarded by the lock of the Durable until ready is closed, then fixed.
	memory  *Memory
	journal *journal
	err     error

	opening int // Opens that wait; guarded by the lock of the Durable
}

// errUnwanted ends an attempt when the last Open that waited for it has gone.
var errUnwanted = errors.New("queue: nobody waits for the lease any more")

// NewDurable returns a queue over its journal in store, which stays the caller's
// to close, after the queue. It starts nothing and reads nothing: the first Open
// does. The error says which field of the configuration is out of its bounds.
func NewDurable(store db.DB, config DurableConfig) (*Durable, error) {
	if store == nil {
		return nil, errors.New("queue: NewDurable: store: nil: want a db.DB")
	}
	if config.Space == "" {
		config.Space = durableSpace
	}
	if config.TTL == 0 {
		config.TTL = db.DefaultTTL
	}
	if config.Skew == 0 {
		config.Skew = config.TTL / 10
	}
	if config.Batch == 0 {
		config.Batch = durableBatch
	}
	bad := func(field string, value any, want string) (*Durable, error) {
		return nil, fmt.Errorf("queue: DurableConfig.%s: %v: want %s", field, value, want)
	}
	switch err := db.CheckKeys(config.Space); {
	case err != nil:
		return nil, fmt.Errorf("queue: DurableConfig.Space: %w", err)
	case config.Space == leaseSpace:
		return bad("Space", config.Space, "another one: leases are kept there")
	case config.TTL < time.Millisecond:
		return bad("TTL", config.TTL, "1ms or more, or 0 for "+db.DefaultTTL.String())
	case config.Skew < 0 || config.Skew > config.TTL/2:
		return bad("Skew", config.Skew, "0 to half of TTL")
	case config.Batch < 1 || config.Batch > db.MaxBatch:
		return bad("Batch", config.Batch, fmt.Sprintf("1 to %d, or 0 for %d", db.MaxBatch, durableBatch))
	}
	if _, err := NewMemory(config.Memory); err != nil {
		return nil, err
	}
	return &Durable{store: store, config: config, owner: newRunOwner(store)}, nil
}

// Owner names this run in the lease and in the journal. A new Durable has a new
// one.
func (d *Durable) Owner() db.Owner { return d.owner }

// Open begins a session; see [Queue]. The first one waits until the lease is
// free and reads the journal. Besides those of every queue it returns the errors
// of the store, after which it may be called again, and ErrDamaged or ErrNewer.
func (d *Durable) Open(ctx context.Context) (Session, error) {
	for {
		r, err := d.join(ctx)
		if err != nil {
			return nil, err
		}
		select {
		case <-r.ready:
		case <-ctx.Done():
		}
		if err := d.leave(ctx, r); err == errUnwanted {
			continue // another one's attempt that was given up just as we came
		} else if err != nil {
			return nil, err
		}
		s, err := r.memory.open(ctx)
		if err != nil {
			return nil, d.explain(err)
		}
		return &durableSession{d: d, s: s, journal: r.journal}, nil
	}
}

// join finds the run, or begins one, and is counted as waiting for it.
func (d *Durable) join(ctx context.Context) (*durableRun, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over != nil {
		return nil, d.over
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if d.run == nil {
		r := &durableRun{ready: make(chan struct{})}
		run, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
		r.cancel = cancel
		d.run = r
		d.runs.Go(func() { d.own(run, r) })
	}
	d.run.opening++
	return d.run, nil
}

// leave ends the wait for a run, with its error or the end of ctx. Without
// anybody who waits for it the attempt is given up.
func (d *Durable) leave(ctx context.Context, r *durableRun) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	r.opening--
	select {
	case <-r.ready:
		if r.err != nil && d.over != nil {
			return d.over
		}
		return r.err
	default:
	}
	if r.opening == 0 {
		r.cancel(errUnwanted)
	}
	return context.Cause(ctx)
}

// Close ends all sessions, waits for the writes under way and gives the lease
// back, so that another process need not wait; see [Queue]. Each of the two may
// take as long as TTL where the store doesn't answer. The store is left open.
func (d *Durable) Close() error {
	d.end(ErrClosed)
	d.mu.Lock()
	r := d.run
	var j *journal
	if r != nil {
		j = r.journal
	}
	d.mu.Unlock()
	if j != nil {
		j.drain()
	}
	if r != nil {
		r.cancel(ErrClosed)
	}
	d.runs.Wait()
	return nil
}

// end makes why the answer to everything, unless it has ended before. The lease
// goes at once, except by Close, which first waits for the journal.
func (d *Durable) end(why error) {
	d.mu.Lock()
	if d.over == nil {
		d.over = why
	}
	r := d.run
	var memory *Memory
	if r != nil {
		memory = r.memory
	}
	d.mu.Unlock()
	if memory == nil {
		return
	}
	memory.Close()
	if why != ErrClosed {
		r.cancel(why)
	}
}

// explain returns err, or why the queue has ended where err says that it has.
func (d *Durable) explain(err error) error {
	if err != ErrClosed {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over != nil {
		return d.over
	}
	return err
}

// loaded returns the memory that the powers look into.
func (d *Durable) loaded() (*Memory, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.over != nil:
		return nil, d.over
	case d.run == nil || d.run.memory == nil:
		return nil, ErrStandby
	}
	return d.run.memory, nil
}

// Find returns the message of a resource; see [Finder]. ErrStandby before the
// first Open.
func (d *Durable) Find(ctx context.Context, id resource.ID) (Message, bool, error) {
	m, err := d.loaded()
	if err != nil {
		return Message{}, false, err
	}
	msg, held, err := m.Find(ctx, id)
	return msg, held, d.explain(err)
}

// Depths returns the sizes of all names; see [Depther]. ErrStandby before the
// first Open.
func (d *Durable) Depths(ctx context.Context) ([]Depth, error) {
	m, err := d.loaded()
	if err != nil {
		return nil, err
	}
	depths, err := m.Depths(ctx)
	return depths, d.explain(err)
}

// States counts resources by state; see [Stater]. ErrStandby before the first
// Open.
func (d *Durable) States(ctx context.Context) (map[resource.State]int, error) {
	m, err := d.loaded()
	if err != nil {
		return nil, err
	}
	states, err := m.States(ctx)
	return states, d.explain(err)
}

// List returns messages of a name in the order of their ids; see [Lister].
// ErrStandby before the first Open.
func (d *Durable) List(ctx context.Context, name string, after resource.ID, limit int) ([]Message, error) {
	m, err := d.loaded()
	if err != nil {
		return nil, err
	}
	ms, err := m.List(ctx, name, after, limit)
	return ms, d.explain(err)
}
