package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/queue"
)

// store is a partition as [queue.NewDurable] wants it: as much of a [db.DB] as the
// only writer of a journal needs. It is one opening of the partition by one run
// over it.
//
// It compares nothing, since only the owner of the partition writes, and what
// would be refused as another one's is fenced. The lease is in memory: the group
// gives the partition to one member at a time.
type store struct {
	holding *holding
	writer  *writer
	config  *Config
	count   int // partitions of the topic
	opening db.Owner
	leases  db.DB
}

func newStore(h *holding, w *writer, count int) *store {
	return &store{holding: h, writer: w, config: &w.config, count: count, opening: db.NewOwner(), leases: db.NewMemory()}
}

const leaseSpace = "lease"

// Opening implements [db.Exclusive].
func (s *store) Opening() db.Owner { return s.opening }

// Durable implements [db.Durable].
func (s *store) Durable() bool { return true }

// Close implements [db.DB].
func (s *store) Close() error { return s.leases.Close() }

var errNoRecords = errors.New("kafka: a journal is read by Scan alone")

// Get returns the lease.
func (s *store) Get(ctx context.Context, space string, ids ...string) ([]db.Record, error) {
	if space != leaseSpace {
		return nil, errNoRecords
	}
	return s.leases.Get(ctx, space, ids...)
}

// Write writes all or nothing. Its error is unknown outcome or queue.ErrFenced.
func (s *store) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	if len(writes) > 0 && writes[0].Record.Space == leaseSpace {
		return s.leases.Write(ctx, writes...)
	}
	records := make([]*kgo.Record, len(writes))
	for i := range writes {
		r := &writes[i].Record
		records[i] = s.record(r.ID)
		if r.Version != 0 {
			records[i].Value = appendValue(nil, r)
		}
	}
	if err := s.writer.write(ctx, s.holding, records); err != nil {
		return nil, err
	}
	results := make([]db.Result, len(writes))
	for i := range results {
		results[i].OK = true
	}
	return results, nil
}

func (s *store) record(key string) *kgo.Record {
	return &kgo.Record{Topic: s.config.Topic, Partition: s.holding.number, Key: []byte(key)}
}

// ErrPartitions says that the topic has another number of partitions than when
// its resources were spread over them: they would be looked for in the wrong one.
var ErrPartitions = errors.New("kafka: the number of partitions has changed")

// Scan yields the newest state of each resource of the partition. It reads all of
// it first: up to a record that it writes before, so that whatever was there is
// decided.
func (s *store) Scan(ctx context.Context, _ string) iter.Seq2[db.Record, error] {
	return func(yield func(db.Record, error) bool) {
		fail := func(err error) {
			yield(db.Record{}, fmt.Errorf("kafka: read partition %d of %s: %w", s.holding.number, s.config.Topic, err))
		}
		mark := ownerMark{
			Instance: s.config.Instance, Opening: db.NewOwner().String(),
			Generation: s.writer.group().generation, Partitions: s.count, At: time.Now().UTC(),
		}
		rec := s.record(ownerKey)
		rec.Value = mark.encode()
		if err := s.writer.write(ctx, s.holding, []*kgo.Record{rec}); err != nil {
			fail(err)
			return
		}
		select { // few at a time: each holds a partition in memory twice
		case s.holding.member.reading <- struct{}{}:
			defer func() { <-s.holding.member.reading }()
		case <-ctx.Done():
			fail(context.Cause(ctx))
			return
		}
		all, err := s.read(ctx, mark.Opening)
		if errors.Is(err, ErrPartitions) {
			s.holding.member.stop(err)
		}
		if err != nil {
			fail(err)
			return
		}
		for id, v := range all {
			r, err := readValue(v)
			if err != nil {
				fail(fmt.Errorf("record %q: %w", id, err))
				return
			}
			r.Space, r.ID = journalSpace, id
			delete(all, id) // its content is the reader's from here on
			if !yield(r, nil) {
				return
			}
		}
	}
}

// read returns what the partition holds before the mark of this opening.
func (s *store) read(ctx context.Context, opening string) (map[string][]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.holding.held, func() { cancel(errFenced) })()
	client, err := kgo.NewClient(s.config.options(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.config.Topic: {s.holding.number: kgo.NewOffset().AtStart()}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(time.Second),
		kgo.FetchMaxPartitionBytes(8<<20),
	)...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	all := make(map[string][]byte)
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		for _, f := range fetches.Errors() {
			return nil, f.Err
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			switch key := string(r.Key); {
			case key == ownerKey:
				mark, err := readOwnerMark(r.Value)
				if err != nil {
					return nil, fmt.Errorf("record %q at offset %d: %w", key, r.Offset, err)
				}
				if mark.Partitions != s.count {
					return nil, fmt.Errorf("%w: it has %d, and %d were counted at %s by %q", ErrPartitions,
						s.count, mark.Partitions, mark.At.Format(time.RFC3339), mark.Instance)
				}
				if mark.Opening == opening {
					return all, nil
				}
			case r.Value == nil:
				delete(all, key)
			default:
				all[key] = bytes.Clone(r.Value) // it is a part of a much larger batch
			}
		}
	}
}

// journalSpace is the space that records of the topic are in.
const journalSpace = "queue"

var (
	_ db.DB        = (*store)(nil)
	_ db.Exclusive = (*store)(nil)
	_ queue.Queue  = (*queue.Durable)(nil)
)
