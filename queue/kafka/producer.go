package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cannedos/cannedos/queue"
)

// ErrTooLarge says that something doesn't fit into one record of the topic. The
// text says how large it is, and how large it may be. Repeating can't help, which
// the error says by wrapping [queue.ErrRefused], too.
var ErrTooLarge = fmt.Errorf("%w: larger than a record of the topic may be", queue.ErrRefused)

// producer writes records to a topic, acknowledged by all replicas in sync.
//
// Records are written in the name of the producer and not of who waits for them:
// the client gives up all that a partition has waiting when the context of the
// first of them ends, and so one that is impatient would take others with it. What
// bounds a record that nobody waits for any more is deliveryTimeout.
type producer struct {
	client *kgo.Client
	topic  string
	info   topicInfo
	limit  int // bytes of a record
	room   room
	closed chan struct{}
	once   sync.Once
}

const (
	deliveryTimeout = 2 * time.Minute // what is not under way by then fails
	producerLinger  = 5 * time.Millisecond
	producerBytes   = 64 << 20 // in memory at once, unless one alone is larger
	batchOverhead   = 70       // the header of a batch of one record: 61 bytes, and some
)

// openProducer looks at the topic, and makes a client. limit bounds a record
// further than the topic does; zero is as the topic does.
func openProducer(ctx context.Context, c *Cluster, topic string, limit int, more ...kgo.Opt) (*producer, error) {
	look, err := kgo.NewClient(c.options()...)
	if err != nil {
		return nil, fmt.Errorf("kafka: client: %w", err)
	}
	info, err := lookUp(ctx, look, topic, "delete")
	look.Close()
	if err != nil {
		return nil, err
	}
	most := min(info.messageBytes, mostMessageBytes)
	if limit > most {
		return nil, fmt.Errorf("%w: max.message.bytes of %s is %d: want %d at least, as was asked for", ErrUnfit, topic, info.messageBytes, limit)
	}
	if limit == 0 {
		limit = most
	}
	opts := append([]kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchMaxBytes(int32(max(limit, 1<<10))),
		kgo.ProducerLinger(producerLinger),
		kgo.RecordDeliveryTimeout(deliveryTimeout),
		kgo.MaxBufferedRecords(1 << 20), // room bounds them
	}, more...)
	client, err := kgo.NewClient(c.options(opts...)...)
	if err != nil {
		return nil, fmt.Errorf("kafka: client: %w", err)
	}
	return &producer{
		client: client, topic: topic, info: info, limit: limit,
		room: room{most: producerBytes}, closed: make(chan struct{}),
	}, nil
}

// A sending is a number of records on their way.
type sending struct {
	begun time.Time
	done  chan struct{} // closed when all have an outcome
	err   error         // of the first that failed; set before done is closed
}

// wait waits for the outcome. When ctx ends first the outcome is unknown.
func (s *sending) wait(ctx context.Context) error {
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// check returns an error that wraps ErrTooLarge for the first record that does
// not fit into a batch of its own.
func (p *producer) check(records []*kgo.Record) error {
	for _, r := range records {
		if n := recordSize(r); n > p.limit {
			return fmt.Errorf("%w: %d bytes with its headers, and %s takes %d", ErrTooLarge, n, p.topic, p.limit)
		}
	}
	return nil
}

// recordSize is what a record takes in a batch of its own, without compression.
func recordSize(r *kgo.Record) int {
	n := batchOverhead + len(r.Key) + len(r.Value) + 20
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value) + 10
	}
	return n
}

// send sends records in their order, as soon as there is room for them. Those of
// one key come into the topic in this order, or from some of them on not at all.
func (p *producer) send(ctx context.Context, records []*kgo.Record) (*sending, error) {
	if err := p.check(records); err != nil {
		return nil, err
	}
	size := 0
	for _, r := range records {
		size += recordSize(r)
	}
	if err := p.room.take(ctx, p.closed, size); err != nil {
		return nil, err
	}
	s := &sending{begun: time.Now(), done: make(chan struct{})}
	var mu sync.Mutex
	left := len(records)
	ended := func(_ *kgo.Record, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil && s.err == nil {
			s.err = p.explain(err)
		}
		if left--; left == 0 {
			p.room.give(size)
			close(s.done)
		}
	}
	for _, r := range records {
		r.Topic = p.topic
		p.client.Produce(context.Background(), r, ended)
	}
	return s, nil
}

func (p *producer) explain(err error) error {
	switch {
	case errors.Is(err, kgo.ErrClientClosed):
		return queue.ErrClosed
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return err
}

// write sends records, and waits for all of them.
func (p *producer) write(ctx context.Context, records []*kgo.Record) error {
	s, err := p.send(ctx, records)
	if err != nil {
		return err
	}
	return s.wait(ctx)
}

// close takes nothing more, waits until what was sent has an outcome, or ctx has
// ended, and gives up the rest.
func (p *producer) close(ctx context.Context) error {
	var err error
	p.once.Do(func() {
		close(p.closed)
		err = p.client.Flush(ctx)
		p.client.Close()
	})
	return err
}

// room bounds bytes in memory.
type room struct {
	most int

	mu    sync.Mutex
	taken int
	freed chan struct{} // closed when some was given back; nil: nobody waits
}

// take waits for room. One that is larger than all of it gets it when it is empty.
func (r *room) take(ctx context.Context, closed <-chan struct{}, n int) error {
	for {
		select {
		case <-closed:
			return queue.ErrClosed
		default:
		}
		r.mu.Lock()
		if r.taken == 0 || r.taken+n <= r.most {
			r.taken += n
			r.mu.Unlock()
			return nil
		}
		if r.freed == nil {
			r.freed = make(chan struct{})
		}
		freed := r.freed
		r.mu.Unlock()
		select {
		case <-freed:
		case <-closed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (r *room) give(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken -= n
	if r.freed != nil {
		close(r.freed)
		r.freed = nil
	}
}
