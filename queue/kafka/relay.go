package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cannedos/cannedos/resource"
)

// Taker takes responses: every firehose.Sink is one. Take returns nil when the
// response is safe with it. It is called from one goroutine for each partition,
// so never twice at once for the same resource by one [Relay].
type Taker interface {
	Take(ctx context.Context, r *resource.Response) error
}

// Defaults of a [RelayConfig].
const (
	DefaultTakeTimeout    = 30 * time.Second
	DefaultBufferBytes    = 64 << 20
	DefaultBufferRecords  = 10_000
	DefaultCommitInterval = time.Second
)

// RelayConfig says what a [Relay] reads, and how much at a time.
type RelayConfig struct {
	Cluster

	// Topic is what a [Sink] writes to. Empty: [DefaultResponses].
	Topic string

	// Group is the consumer group of the relays that share the work; each group
	// gets every response. What it has taken is forgotten when no relay of it runs for
	// longer than the brokers' offsets.retention.minutes, a week unless it was changed.
	// Empty: the Topic, and "/relay".
	Group string

	// SessionTimeout is how long a relay may be silent before its partitions are
	// given to others. Zero: [DefaultSessionTimeout].
	SessionTimeout time.Duration

	// StopTimeout is how long a Take that runs may go on when its partition is
	// given to another relay, or when this one stops. Zero: [DefaultStopTimeout].
	StopTimeout time.Duration

	// TakeTimeout is when the context of one call of Take ends. Zero:
	// [DefaultTakeTimeout].
	TakeTimeout time.Duration

	// CommitInterval is how often it is written how far the relay has come. What a
	// crash repeats is what was taken since. Zero: [DefaultCommitInterval].
	CommitInterval time.Duration

	// BufferBytes and BufferRecords bound what waits in memory for its Take. Each
	// partition has its share, and goes beyond it by what one fetch brings: about a
	// MiB, or one record. A response of which pages are still to come is held beside
	// that: at most one of each resource from each Sink, for the quarter of an hour
	// that they may take. Zero: [DefaultBufferBytes], [DefaultBufferRecords].
	BufferBytes, BufferRecords int

	// Undecodable gets each record that is no response, such as one of a newer
	// version, and why. It returns nil when the record may be left out, and is
	// called from the goroutine of its partition, which waits for it. Nil: Serve
	// ends with an error that names topic, partition and offset, so that nothing is
	// left out unless somebody has said so.
	Undecodable func(record *kgo.Record, err error) error
}

func (c RelayConfig) withDefaults() (RelayConfig, error) {
	w := complaints{in: "RelayConfig"}
	w.cluster(&c.Cluster)
	c.Topic = cmp.Or(c.Topic, DefaultResponses)
	c.Group = cmp.Or(c.Group, c.Topic+"/relay")
	c.SessionTimeout = cmp.Or(c.SessionTimeout, DefaultSessionTimeout)
	c.StopTimeout = cmp.Or(c.StopTimeout, DefaultStopTimeout)
	c.TakeTimeout = cmp.Or(c.TakeTimeout, DefaultTakeTimeout)
	c.CommitInterval = cmp.Or(c.CommitInterval, DefaultCommitInterval)
	c.BufferBytes = cmp.Or(c.BufferBytes, DefaultBufferBytes)
	c.BufferRecords = cmp.Or(c.BufferRecords, DefaultBufferRecords)
	w.topic(c.Topic)
	w.name("Group", c.Group)
	w.wait("SessionTimeout", c.SessionTimeout, time.Second, 15*time.Minute)
	w.wait("StopTimeout", c.StopTimeout, time.Second, 15*time.Minute)
	w.wait("TakeTimeout", c.TakeTimeout, time.Millisecond, time.Hour)
	w.wait("CommitInterval", c.CommitInterval, 10*time.Millisecond, time.Minute)
	w.number("BufferBytes", int64(c.BufferBytes), 1, 1<<40)
	w.number("BufferRecords", int64(c.BufferRecords), 1, 1<<30)
	return c, w.err()
}

// A Relay is the publisher in a process of its own: a service that reads the
// responses that a [Sink] has written, and gives each to a sink here.
//
//	topic ──► partition 0 ──► Take, again and again until it is nil ──► committed
//	     └──► partition 1 ──► ...
//
// Guaranteed: a response whose Take in the [Sink] returned nil is taken here, at
// least once, as long as the topic keeps it; responses of one resource are taken
// in order. How far a partition was read is committed after its Takes. When a
// partition is given to another relay the Take that runs is finished first, within
// StopTimeout, and committed.
//
// Not guaranteed: exactly once. A crash repeats what was taken since the last
// commit, and more after a sink crashed in the middle of a response with pages: to
// that the partition holds on for a quarter of an hour. A relay that is cut off from
// the brokers goes on with what it has until it notices, while others take it, too.
//
// The number of partitions must not be changed while a Sink writes: what it writes of
// one response would be spread over two of them.
//
// A Take that fails is repeated, later and later, up to every 30 seconds, and what
// comes after it in its partition waits: so a sink that refuses something for good
// has to say nil for it. Instants of what is taken have no monotonic reading.
type Relay struct {
	config RelayConfig
	sink   Taker
	served atomic.Bool
	stats  relayStats

	client    *kgo.Client
	stop      context.CancelCauseFunc
	committer chan struct{} // holds one; who has it commits

	mu      sync.Mutex
	parts   map[int32]*relayPart
	closing bool
}

// RelayStats are figures since the [Relay] was made.
type RelayStats struct {
	Taken       int64 // responses, with their pages
	Failed      int64 // Takes that returned an error
	Undecodable int64 // records that were left out because Undecodable said so
	Partial     int64 // responses left out because the Sink has not written all of their pages
	Missing     int64 // records that the topic had deleted before they were read
}

type relayStats struct{ taken, failed, undecodable, partial, missing atomic.Int64 }

// NewRelay makes a Relay. It starts nothing. The error joins a [*FieldError] for
// each field that is out of its bounds.
func NewRelay(config RelayConfig, sink Taker) (*Relay, error) {
	c, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	if sink == nil {
		return nil, errors.New("kafka: NewRelay: sink: nil: want a value")
	}
	return &Relay{config: c, sink: sink, committer: make(chan struct{}, 1), parts: map[int32]*relayPart{}}, nil
}

// String names the service.
func (r *Relay) String() string { return "kafka relay of " + r.config.Topic }

// Stats returns figures since the Relay was made.
func (r *Relay) Stats() RelayStats {
	return RelayStats{
		Taken: r.stats.taken.Load(), Failed: r.stats.failed.Load(), Undecodable: r.stats.undecodable.Load(),
		Partial: r.stats.partial.Load(), Missing: r.stats.missing.Load(),
	}
}

// Serve relays until ctx ends, and then finishes the Takes that run and commits.
// It fails if the topic is not there or unfit, if this process has no right to it,
// or by what Undecodable returns. A broker that doesn't answer is waited for, once
// the topic was seen. A Relay serves once: then [ErrServing].
func (r *Relay) Serve(ctx context.Context) error {
	if !r.served.CompareAndSwap(false, true) {
		return ErrServing
	}
	look, err := kgo.NewClient(r.config.options()...)
	if err != nil {
		return fmt.Errorf("kafka: client: %w", err)
	}
	_, err = lookUp(ctx, look, r.config.Topic, "delete")
	look.Close()
	if err != nil {
		return err
	}
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r.stop = stop
	r.client, err = kgo.NewClient(r.config.options(
		kgo.ConsumerGroup(r.config.Group),
		kgo.ConsumeTopics(r.config.Topic),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(r.config.SessionTimeout),
		kgo.HeartbeatInterval(r.config.SessionTimeout/5),
		kgo.RebalanceTimeout(r.config.StopTimeout+deafAfter+commitTimeout+5*time.Second),
		kgo.DisableAutoCommit(),
		kgo.MaxVersions(commitVersions()),
		// What was polled is in the hands of its partition before the group may give
		// that away: else it could be taken by the next holding of it, out of order.
		kgo.BlockRebalanceOnPoll(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(time.Second),
		kgo.FetchMaxPartitionBytes(1<<20),
		kgo.FetchMaxBytes(8<<20),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(r.assigned),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, t map[string][]int32) { r.release(t[r.config.Topic], ErrRevoked) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, t map[string][]int32) { r.release(t[r.config.Topic], ErrLost) }),
		kgo.AdjustFetchOffsetsFn(r.begin),
	)...)
	if err != nil {
		return fmt.Errorf("kafka: client of the group: %w", err)
	}
	var committing sync.WaitGroup
	committing.Go(func() { r.commitAlways(running) })
	r.poll(running)
	committing.Wait()
	r.client.AllowRebalance()
	r.release(r.close(), ErrRevoked)
	r.client.CloseAllowingRebalance() // leaves the group
	if ctx.Err() == nil {
		return context.Cause(running)
	}
	return nil
}

// poll hands what is fetched to its partitions.
func (r *Relay) poll(ctx context.Context) {
	for ctx.Err() == nil {
		fetches := r.client.PollRecords(ctx, r.config.BufferRecords)
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if part := r.part(p.Partition); part != nil && len(p.Records) > 0 {
				part.add(p.Records)
			}
		})
		r.client.AllowRebalance()
		failed := false
		fetches.EachError(func(_ string, partition int32, err error) {
			if ctx.Err() != nil {
				return
			}
			failed = true
			if forbidden(err) {
				r.stop(fmt.Errorf("kafka: read %s: %w", r.config.Topic, err))
				return
			}
			r.config.Logger.Warn("relay: fetch", "topic", r.config.Topic, "partition", partition, "err", err)
		})
		if failed {
			pause(ctx, time.Second)
		}
	}
}

// forbidden reports whether an error will come again until somebody changes the
// rights of this process.
func forbidden(err error) bool {
	for _, e := range []error{kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.SaslAuthenticationFailed, kerr.ClusterAuthorizationFailed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (r *Relay) part(n int32) *relayPart {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.parts[n]
}

// close lets nothing more be assigned, and returns what is.
func (r *Relay) close() []int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closing = true
	var all []int32
	for n := range r.parts {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

// share is what one partition may have waiting.
func (r *Relay) share() (records, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := max(1, len(r.parts))
	return max(1, r.config.BufferRecords/n), max(1, r.config.BufferBytes/n)
}

func (r *Relay) assigned(_ context.Context, client *kgo.Client, topics map[string][]int32) {
	r.mu.Lock()
	var fresh []*relayPart
	for _, n := range topics[r.config.Topic] {
		if r.parts[n] == nil && !r.closing {
			p := newRelayPart(r, n)
			r.parts[n] = p
			fresh = append(fresh, p)
		}
	}
	r.mu.Unlock()
	for _, p := range fresh {
		client.ResumeFetchPartitions(map[string][]int32{r.config.Topic: {p.number}})
		go p.run()
	}
}

// begin notes where partitions are read from, to see what is missing.
func (r *Relay) begin(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	for n, o := range offsets[r.config.Topic] {
		if p := r.part(n); p != nil && o.EpochOffset().Offset >= 0 {
			p.expect(o.EpochOffset().Offset)
		}
	}
	return offsets, nil
}
