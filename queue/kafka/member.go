package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cannedos/cannedos/queue"
)

// A Partition is one share of the work, in the hands of one member of the group
// at a time.
type Partition struct {
	// Number counts from 0, and Count is how many there are in all.
	Number, Count int

	// Queue is what the partition holds: a queue.Durable. The first Open reads the
	// partition. The Member closes it when the function that got it has returned, or
	// the partition is lost: then every call returns queue.ErrClosed, or
	// queue.ErrFenced, which is one.
	Queue queue.Queue
}

// A Member is one process in the group of those that share the partitions of a
// topic. It is a service: Serve joins the group, and runs a function of the user's
// for each partition that the group assigns, as long as it does.
//
//	assigned ──► serve(ctx, partition) runs ──► revoked: ctx ends, serve finishes,
//	                    │    ▲                  then the next owner gets it
//	                    │    └── after an error, or a panic, again, later and later
//	                    └──► lost, after a silence: ctx ends, and nothing that is
//	                         written from here on counts
//
// The function is called on a goroutine of its own for each partition, and never
// twice at once for the same partition in this process. If it returns nil while
// its context lives, it isn't called again until the partition is assigned anew.
type Member struct {
	config Config
	serve  func(ctx context.Context, p *Partition) error
	served atomic.Bool

	count   int           // partitions of the topic; fixed before the group is joined
	writer  *writer       // likewise
	reading chan struct{} // has room for those that read a partition at a time

	ctx  context.Context // of Serve: what runs ends with it
	stop context.CancelCauseFunc

	mu      sync.Mutex
	fence   fence
	holding map[int32]*holding
	ending  map[int32]*holding // given away last, and their functions still run
	closing bool
}

// holding is a partition from its assignment until it is given away.
type holding struct {
	member *Member
	number int32
	ctx    context.Context // of its function
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when its function has returned for good

	// held ends when nothing more may be written to the partition, or read for it.
	held context.Context
	lose context.CancelCauseFunc
}

func (m *Member) newHolding(n int32) *holding {
	h := &holding{member: m, number: n, done: make(chan struct{})}
	h.ctx, h.cancel = context.WithCancelCause(context.WithoutCancel(m.ctx))
	h.held, h.lose = context.WithCancelCause(context.Background())
	return h
}

// lost reports whether the group has given the partition away.
func (h *holding) lost() bool { return h.held.Err() != nil }

// Why the context of a partition has ended: see context.Cause.
var (
	// ErrRevoked: the group gives the partition to another member, or this one
	// stops. What is in flight may be finished within Config.StopTimeout.
	ErrRevoked = errors.New("kafka: the partition is being handed over")

	// ErrLost: the group took this member for dead. What it writes no longer counts.
	ErrLost = fmt.Errorf("kafka: the partition was lost: %w", queue.ErrFenced)
)

// ErrServing says that a [Member] or [Relay] serves already: each serves once.
var ErrServing = errors.New("kafka: it serves, or has served, already")

// readers is how many partitions are read at a time.
const readers = 4

// NewMember makes a Member. It starts nothing. The error joins a [*FieldError] for
// each field that is out of its bounds.
func NewMember(config Config, serve func(ctx context.Context, p *Partition) error) (*Member, error) {
	c, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	if serve == nil {
		return nil, errors.New("kafka: NewMember: serve: nil: want a function")
	}
	return &Member{
		config: c, serve: serve, reading: make(chan struct{}, readers),
		holding: map[int32]*holding{}, ending: map[int32]*holding{},
	}, nil
}

// String names the service.
func (m *Member) String() string { return "kafka" }

// Partitions returns the numbers of the partitions that this member holds, in
// order.
func (m *Member) Partitions() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]int, 0, len(m.holding))
	for n := range m.holding {
		all = append(all, int(n))
	}
	slices.Sort(all)
	return all
}

// Serve joins the group and returns when ctx has ended, after it has handed over
// what it holds. It fails if the topic is not what [CheckTopic] wants, if another
// process has the same Config.Instance, or if a function doesn't end within
// Config.StopTimeout. A broker that doesn't answer is waited for, once the topic
// was seen.
func (m *Member) Serve(ctx context.Context) error {
	if !m.served.CompareAndSwap(false, true) {
		return ErrServing
	}
	count, err := m.awaitTopic(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	m.count = count
	m.ctx, m.stop = context.WithCancelCause(ctx)
	defer m.stop(nil)
	m.writer = newWriter(m.config, m.present, m.stop)
	var writing sync.WaitGroup
	writing.Go(m.writer.run)
	defer writing.Wait()
	defer m.writer.close()

	group, err := kgo.NewClient(m.config.options(
		kgo.ConsumerGroup(m.config.Group),
		kgo.ConsumeTopics(m.config.Topic),
		kgo.Balancers(&balancer{GroupBalancer: kgo.CooperativeStickyBalancer(), member: m}),
		kgo.SessionTimeout(m.config.SessionTimeout),
		kgo.HeartbeatInterval(m.config.SessionTimeout/5),
		kgo.RebalanceTimeout(m.config.StopTimeout+10*time.Second),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(m.assigned),
		kgo.OnPartitionsRevoked(m.revoked),
		kgo.OnPartitionsLost(m.lost),
	)...)
	if err != nil {
		return fmt.Errorf("kafka: client of the group: %w", err)
	}
	group.PauseFetchTopics(m.config.Topic) // a partition is read by its queue, when it is opened
	<-m.ctx.Done()
	err = m.handOver()
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	if gone := group.LeaveGroupContext(leaving); gone != nil {
		m.config.Logger.Warn("the group was not left: it waits for the session timeout", "err", gone)
	}
	closed := make(chan struct{})
	go func() { // it may have to wait for an answer that doesn't come
		defer close(closed)
		group.Close()
	}()
	select {
	case <-closed:
	case <-leaving.Done():
	}
	if why := context.Cause(m.ctx); ctx.Err() == nil {
		err = errors.Join(why, err)
	}
	return err
}

// awaitTopic checks the topic, and gives brokers that have just started a while.
func (m *Member) awaitTopic(ctx context.Context) (count int, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.config.SessionTimeout)
	defer cancel()
	for {
		if count, err = checkTopic(ctx, &m.config); err == nil || errors.Is(err, ErrUnfit) {
			return count, err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return 0, err
		}
	}
}

// leaveTimeout is how long the group is told that we leave.
const leaveTimeout = 5 * time.Second

// present returns what a transaction proves that it may be written by.
func (m *Member) present() fence {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fence
}

// balancer claims what this member holds, in the generation in which it was told so.
// The client alone would claim what it had in the generation of its last attempt to
// join: one that was expelled, and joins at a time when others join too, could claim
// with the same right as the owner what it has lost, and be given it while that one
// still writes.
type balancer struct {
	kgo.GroupBalancer
	member *Member
}

// JoinGroupMetadata implements [kgo.GroupBalancer].
func (b *balancer) JoinGroupMetadata(topics []string, _ map[string][]int32, _ int32) []byte {
	claims, generation := b.member.claims()
	return b.GroupBalancer.JoinGroupMetadata(topics, claims, generation)
}

// claims returns what this member holds, and since which generation.
func (m *Member) claims() (topics map[string][]int32, generation int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var held []int32
	for _, all := range []map[int32]*holding{m.holding, m.ending} { // never in both, unless it is lost
		for n, h := range all {
			if !h.lost() {
				held = append(held, n)
			}
		}
	}
	if len(held) == 0 {
		return nil, noGeneration
	}
	slices.Sort(held)
	return map[string][]int32{m.config.Topic: held}, m.fence.generation
}

// noGeneration is that of a member that has been in none.
const noGeneration = -1

// capture notes the generation in which the group has told us what we hold. It is
// called from the callbacks of the group alone, which come one after the other: so
// the generation is never newer than what we know of our partitions.
//
// A member that was silent for too long may be told so only when it joins again,
// which the client then does as another member: it may get a partition back, and take
// it for kept, that others have had meanwhile. So whoever has a new name has lost
// everything before. Under the same one nothing is missed: the group expels whom it
// rebalances without.
func (m *Member) capture(client *kgo.Client) {
	member, generation := client.GroupMetadata()
	m.mu.Lock()
	defer m.mu.Unlock()
	if member != m.fence.member {
		m.loseLocked()
	}
	m.fence = fence{member: member, generation: generation}
}

// loseLocked lets nothing more be written to any partition, those included that are
// being handed over.
func (m *Member) loseLocked() {
	for _, all := range []map[int32]*holding{m.holding, m.ending} {
		for _, h := range all {
			h.lose(errFenced)
		}
	}
}

// assigned is called in each generation, with the partitions that are new.
func (m *Member) assigned(_ context.Context, client *kgo.Client, topics map[string][]int32) {
	m.capture(client)
	m.mu.Lock()
	defer m.mu.Unlock()
	numbers := topics[m.config.Topic]
	for n, h := range m.holding {
		if h.lost() { // and given to us again
			h.cancel(ErrLost)
			m.ending[n] = h
			delete(m.holding, n)
			numbers = append(numbers, n)
		}
	}
	for _, n := range numbers {
		if int(n) >= m.count {
			m.stop(fmt.Errorf("%w: %d when this process started, and there is a partition %d", ErrPartitions, m.count, n))
		}
		if m.closing || m.holding[n] != nil || int(n) >= m.count {
			continue
		}
		h := m.newHolding(n)
		m.holding[n] = h
		go h.run(m.ending[n])
	}
}

// revoked is called before partitions go to others, and the group waits for it.
func (m *Member) revoked(_ context.Context, client *kgo.Client, topics map[string][]int32) {
	m.capture(client)
	m.release(topics[m.config.Topic], ErrRevoked)
}

// lost is called when the group has taken this member for dead, before it joins
// anew.
func (m *Member) lost(context.Context, *kgo.Client, map[string][]int32) {
	m.mu.Lock()
	m.fence = fence{}
	m.loseLocked()
	all := slices.Collect(maps.Keys(m.holding))
	m.mu.Unlock()
	m.release(all, ErrLost)
}

// handOver ends everything at the end of Serve, while the group still knows us.
func (m *Member) handOver() error {
	m.mu.Lock()
	m.closing = true
	var all []int32
	for n := range m.holding {
		all = append(all, n)
	}
	earlier := slices.Collect(maps.Values(m.ending))
	m.mu.Unlock()
	late := append(m.release(all, ErrRevoked), m.await(earlier)...)
	if len(late) > 0 {
		slices.Sort(late)
		return fmt.Errorf("kafka: partitions %v have not stopped within %v", late, m.config.StopTimeout)
	}
	return nil
}

// release ends what runs over partitions, waits for it, unless they are lost
// already, and lets nothing more be written to them. It returns the numbers of those
// that have not stopped in time.
func (m *Member) release(numbers []int32, why error) (late []int32) {
	m.mu.Lock()
	var all []*holding
	for _, n := range numbers {
		h := m.holding[n]
		if h == nil && m.ending[n] != nil && !m.ending[n].lost() { // Serve is handing it over
			h = m.ending[n]
		}
		if h == nil {
			continue
		}
		delete(m.holding, n)
		m.ending[n] = h
		h.cancel(why)
		all = append(all, h)
	}
	m.mu.Unlock()
	if why != ErrLost {
		late = m.await(slices.DeleteFunc(slices.Clone(all), (*holding).lost))
	}
	for _, h := range all {
		h.lose(errFenced)
	}
	return late
}

// await waits until functions have returned, for StopTimeout in all.
func (m *Member) await(all []*holding) (late []int32) {
	timeout, cancel := context.WithTimeout(context.Background(), m.config.StopTimeout)
	defer cancel()
	for _, h := range all {
		select {
		case <-h.done:
			continue
		default:
		}
		select {
		case <-h.done:
		case <-timeout.Done():
			m.config.Logger.Error("partition has not stopped in time", "partition", h.number, "timeout", m.config.StopTimeout)
			late = append(late, h.number)
		}
	}
	return late
}

// run calls the function, again and again as long as it fails, once that of an
// earlier holding of the partition has ended.
func (h *holding) run(before *holding) {
	m := h.member
	defer func() {
		m.mu.Lock()
		if m.ending[h.number] == h {
			delete(m.ending, h.number)
		}
		m.mu.Unlock()
		close(h.done)
	}()
	log := m.config.Logger.With("partition", h.number)
	if before != nil {
		select {
		case <-before.done:
		default:
			log.Warn("partition waits for what ran over it before")
			<-before.done
		}
	}
	log.Info("partition assigned")
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		begun := time.Now()
		err := h.once()
		if h.ctx.Err() != nil {
			log.Info("partition given away", "why", context.Cause(h.ctx), "err", err)
			return
		}
		if err == nil {
			log.Info("partition is done with")
			<-h.ctx.Done()
			return
		}
		if time.Since(begun) > 5*time.Minute {
			wait = time.Second
		}
		log.Error("partition failed", "err", err, "again", wait)
		select {
		case <-time.After(wait):
		case <-h.ctx.Done():
			return
		}
	}
}

// once calls the function with a queue of its own.
func (h *holding) once() (err error) {
	m := h.member
	q, err := queue.NewDurable(newStore(h, m.writer, m.count), queue.DurableConfig{Memory: m.config.Memory, Space: journalSpace})
	if err != nil {
		return err
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("kafka: partition %d: panic: %v\n%s", h.number, v, debug.Stack())
		}
		err = errors.Join(err, q.Close())
	}()
	// Whoever looks at it after it is lost would see what it was.
	defer context.AfterFunc(h.held, func() { _ = q.Close() })()
	return m.serve(h.ctx, &Partition{Number: int(h.number), Count: m.count, Queue: q})
}
