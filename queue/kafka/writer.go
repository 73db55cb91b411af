package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cannedos/cannedos/queue"
)

// A writer brings the records of all partitions of a process into the topic, in
// transactions that whoever waits at that time shares. It has one goroutine and
// one transaction at a time. Each transaction
//
//  1. appends its records, and waits for all replicas in sync to have them,
//  2. adds an offset to the group in the name of the member and generation that
//     hold the partitions, which the group's coordinator refuses from anybody else,
//  3. commits.
//
// The order is what fences: what a former owner has appended is in the log before
// its generation was found valid, so before that generation ended, so before the
// record by which the next owner marks the end of what it reads. Whether it counts
// is decided by then, or the next owner waits until it is.
type writer struct {
	config Config
	group  func() fence
	failed func(error) // ends the member

	mu      sync.Mutex
	waiting []*writeRequest
	closed  bool
	ctx     context.Context // of transactions; ends when it is closed
	cancel  context.CancelFunc
	wake    chan struct{} // holds one sign that something waits, or that it is closed

	session *session // with the brokers; the goroutine's. Nil: has to be made
	fenced  []time.Time

	transactions, records atomic.Int64 // committed
}

// fence is what a transaction proves that it may be written by.
type fence struct {
	member     string // empty: the group has not taken us yet, or has lost us
	generation int32
}

// writeRequest is what one call wants written, all or nothing.
type writeRequest struct {
	holding *holding
	records []*kgo.Record
	done    chan error // with room for one

	gone bool // nobody waits for it any more; guarded by the writer's lock
}

func newWriter(c Config, group func() fence, failed func(error)) *writer {
	w := &writer{config: c, group: group, failed: failed, wake: make(chan struct{}, 1)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

const (
	writerBytes   = 8 << 20 // in one transaction, unless one request alone is larger
	writerRecords = 1 << 14
)

// errOutdated says that a transaction was refused, and undone, since the group
// has a newer generation. Who still holds its partitions writes again.
var errOutdated = errors.New("kafka: the group is being rebalanced")

// write writes records of one partition. After an error the outcome is unknown,
// but for queue.ErrFenced: then the partition is not ours any more, and nothing
// was written, unless it had been before by the same call.
func (w *writer) write(ctx context.Context, h *holding, records []*kgo.Record) error {
	r := &writeRequest{holding: h, records: records, done: make(chan error, 1)}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return errFenced
	}
	w.waiting = append(w.waiting, r)
	w.mu.Unlock()
	w.signal()
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		w.mu.Lock()
		r.gone = true
		w.mu.Unlock()
		return fmt.Errorf("kafka: write: %w", context.Cause(ctx))
	}
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run writes until close, and what waits then is fenced.
func (w *writer) run() {
	for {
		batch, open := w.take()
		if len(batch) > 0 {
			w.commit(batch)
			continue
		}
		if !open {
			break
		}
		<-w.wake
	}
	if w.session != nil {
		w.session.close()
	}
}

// close lets run end. The transaction under way, if there is one, is of those that
// have not ended in time: it is cut off.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	rest := w.waiting
	w.waiting = nil
	w.mu.Unlock()
	for _, r := range rest {
		r.done <- errFenced
	}
	w.cancel()
	w.signal()
}

// take takes what goes into the next transaction.
func (w *writer) take() (batch []*writeRequest, open bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, size, count := 0, 0, 0
	for _, r := range w.waiting {
		for _, rec := range r.records {
			size += len(rec.Key) + len(rec.Value) + 16
		}
		count += len(r.records)
		if n > 0 && (size > writerBytes || count > writerRecords) {
			break
		}
		n++
		if !r.gone {
			batch = append(batch, r)
		}
	}
	w.waiting = append(w.waiting[:0], w.waiting[n:]...)
	return batch, !w.closed
}

// commit writes a batch, again as often as the group changes meanwhile.
func (w *writer) commit(batch []*writeRequest) {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		// In this order: a partition that is not lost yet was held in this
		// generation, or in a later one.
		f := w.group()
		if batch = w.held(batch); len(batch) == 0 {
			return
		}
		err := errOutdated
		if f.member != "" {
			err = w.transact(f, batch)
		}
		if errors.Is(err, errOutdated) {
			time.Sleep(wait)
			continue
		}
		if err != nil {
			err = fmt.Errorf("kafka: write to %s: %w", w.config.Topic, err)
		}
		for _, r := range batch {
			r.done <- err
		}
		return
	}
}

// held leaves out whom the group has taken the partition from, and who has gone.
func (w *writer) held(batch []*writeRequest) []*writeRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := batch[:0]
	for _, r := range batch {
		switch {
		case r.holding.lost() || w.closed:
			r.done <- errFenced
		case !r.gone:
			kept = append(kept, r)
		}
	}
	return kept
}

// errFenced is the answer to who writes to a partition that it has lost.
var errFenced = fmt.Errorf("%w: the group has given the partition away", queue.ErrFenced)

// transact writes a batch in one transaction.
func (w *writer) transact(f fence, batch []*writeRequest) error {
	// The brokers undo it after TransactionTimeout: nothing is won by waiting longer.
	ctx, cancel := context.WithTimeout(w.ctx, w.config.TransactionTimeout+5*time.Second)
	defer cancel()
	if w.session == nil {
		s, err := openSession(ctx, &w.config)
		if err != nil {
			return err
		}
		w.session = s
	}
	var records []*kgo.Record
	for _, r := range batch {
		for _, rec := range r.records {
			again := *rec // the client leaves in a record what it has done with it
			records = append(records, &again)
		}
	}
	err := w.session.transact(ctx, f, records)
	if err == nil {
		w.transactions.Add(1)
		w.records.Add(int64(len(records)))
		return nil
	}
	if errors.Is(err, errBroken) {
		w.session.close()
		w.session = nil
		w.judge(err)
	}
	return err
}

// ErrInstance says that another process writes under the same [Config.Instance].
var ErrInstance = errors.New("kafka: another process has the same Config.Instance")

// judge ends the member if its writes are fenced again and again by another
// process of its name. Once is what happens to one that was stopped for longer
// than TransactionTimeout.
func (w *writer) judge(err error) {
	if !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) {
		return
	}
	const times, within = 4, time.Minute
	now := time.Now()
	w.fenced = append(w.fenced, now)
	if n := len(w.fenced); n >= times {
		w.fenced = w.fenced[n-times:]
		if now.Sub(w.fenced[0]) < within {
			w.failed(fmt.Errorf("%w: %q", ErrInstance, w.config.Instance))
		}
	}
}
