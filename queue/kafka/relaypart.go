package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cannedos/cannedos/resource"
)

// relayPart is a partition from its assignment until it is given away. Its
// goroutine alone decodes, and calls Take.
type relayPart struct {
	relay  *Relay
	number int32
	log    *slog.Logger

	taking context.Context // ends when nothing new may be taken
	quit   context.CancelCauseFunc
	work   context.Context // ends when a Take must end
	abort  context.CancelCauseFunc
	done   chan struct{} // closed when the goroutine has ended
	ending sync.Once
	timer  *time.Timer // set by ending: calls abort

	mu        sync.Mutex
	waiting   []*kgo.Record
	bytes     int
	paused    bool
	wake      chan struct{} // holds one sign that something waits
	next      int64         // the offset that is expected; notYet: any
	epoch     int32         // of the leader of the last record
	ready     int64         // may be committed; notYet: nothing
	committed int64

	partial map[string]*partial // by sink and key: what has not all its pages yet; the goroutine's
}

// notYet is an offset that isn't known.
const notYet = -1

// partial is a response of which pages are still to come.
type partial struct {
	piece
	offset int64     // of its first record
	begun  time.Time // by that record
	read   time.Time // when it came here
}

func newRelayPart(r *Relay, n int32) *relayPart {
	p := &relayPart{
		relay: r, number: n, log: r.config.Logger.With("topic", r.config.Topic, "partition", n),
		done: make(chan struct{}), wake: make(chan struct{}, 1),
		next: notYet, ready: notYet, committed: notYet, partial: map[string]*partial{},
	}
	p.work, p.abort = context.WithCancelCause(context.Background())
	p.taking, p.quit = context.WithCancelCause(p.work)
	return p
}

// expect says where the partition is read from.
func (p *relayPart) expect(offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == notYet {
		p.next = offset
	}
}

// end lets nothing new be taken, and ends a Take that runs within a time, or at
// once when the partition is lost.
func (p *relayPart) end(why error, within time.Duration) {
	p.quit(why)
	if why == ErrLost {
		within = 0
	}
	p.ending.Do(func() { p.timer = time.AfterFunc(within, func() { p.abort(why) }) })
}

// deafAfter is how long after the end of its context a Take is waited for.
const deafAfter = time.Second

// ended waits until the goroutine has ended, and reports whether it has.
func (p *relayPart) ended(by time.Time) bool {
	late := time.NewTimer(time.Until(by))
	defer late.Stop()
	select {
	case <-p.done:
		p.timer.Stop()
		p.abort(nil)
		return true
	case <-late.C:
		return false
	}
}

// add appends what was fetched, and pauses the partition when it has its share.
func (p *relayPart) add(records []*kgo.Record) {
	most, mostBytes := p.relay.share()
	p.mu.Lock()
	p.waiting = append(p.waiting, records...)
	for _, rec := range records {
		p.bytes += recordSize(rec)
	}
	// The client is told under the lock, so that it hears of a pause and its end in
	// their order. It only notes them.
	if !p.paused && (len(p.waiting) >= most || p.bytes >= mostBytes) {
		p.paused = true
		p.relay.client.PauseFetchPartitions(p.alone())
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *relayPart) alone() map[string][]int32 {
	return map[string][]int32{p.relay.config.Topic: {p.number}}
}

// take returns the next record, or nil when nothing may be taken any more.
func (p *relayPart) take() *kgo.Record {
	for {
		if p.taking.Err() != nil {
			return nil
		}
		most, mostBytes := p.relay.share()
		p.mu.Lock()
		var rec *kgo.Record
		if len(p.waiting) > 0 {
			rec, p.waiting[0] = p.waiting[0], nil
			p.waiting = p.waiting[1:]
			p.bytes -= recordSize(rec)
		}
		if p.paused && len(p.waiting) <= most/2 && p.bytes <= mostBytes/2 {
			p.paused = false
			p.relay.client.ResumeFetchPartitions(p.alone())
		}
		p.mu.Unlock()
		if rec != nil {
			return rec
		}
		select {
		case <-p.wake:
		case <-p.taking.Done():
		}
	}
}

// run takes records until the partition is given away, or something is wrong for
// good, which ends the Relay.
func (p *relayPart) run() {
	defer close(p.done)
	for {
		rec := p.take()
		if rec == nil {
			return
		}
		if err := p.handle(rec); err != nil {
			if p.taking.Err() == nil {
				p.relay.stop(err)
			}
			return
		}
	}
}

// handle sees to one record. After an error the record counts as not read.
func (p *relayPart) handle(rec *kgo.Record) error {
	p.missing(rec)
	response, err := p.assemble(rec)
	if err != nil {
		err = fmt.Errorf("kafka: relay: topic %s, partition %d, offset %d: no response: %w", rec.Topic, rec.Partition, rec.Offset, err)
		if p.relay.config.Undecodable == nil {
			return err
		}
		if err := p.relay.config.Undecodable(rec, err); err != nil {
			return err
		}
		p.relay.stats.undecodable.Add(1)
	}
	if response != nil {
		if err := p.offer(response); err != nil {
			return err
		}
		p.relay.stats.taken.Add(1)
	}
	p.come(rec)
	return nil
}

// missing counts what the topic has deleted before it was read.
func (p *relayPart) missing(rec *kgo.Record) {
	p.mu.Lock()
	n := rec.Offset - p.next
	if p.next == notYet {
		n = 0
	}
	p.mu.Unlock()
	if n > 0 {
		p.relay.stats.missing.Add(n)
		p.log.Error("relay: records are gone before they were read", "count", n, "before", rec.Offset)
	}
}

// come notes that a record is done with. What may be committed ends before the
// first record of what is not whole yet.
func (p *relayPart) come(rec *kgo.Record) {
	ready := rec.Offset + 1
	for id, part := range p.partial {
		if rec.Timestamp.Sub(part.begun) > partialTimeout && time.Since(part.read) > maxTake {
			p.leaveOut(id)
			continue
		}
		ready = min(ready, part.offset)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next, p.epoch, p.ready = rec.Offset+1, rec.LeaderEpoch, ready
}

// partialTimeout is how long after the first record of a response its last one can
// come, by the clocks of those who write. A Take that takes longer than maxTake has
// failed; the rest is for clocks that differ. One that is quite wrong doesn't count
// before maxTake has passed here, too.
const partialTimeout = 3 * maxTake

// assemble decodes a record, and returns a response if it is whole by that.
func (p *relayPart) assemble(rec *kgo.Record) (*resource.Response, error) {
	got, err := decodeResponse(rec)
	if err != nil {
		return nil, err
	}
	id := sinkOf(got.take) + " " + string(rec.Key)
	before := p.partial[id]
	if before != nil && before.take != got.take {
		p.leaveOut(id) // its Take has failed, since the sink was offered another one
		before = nil
	}
	switch {
	case got.page == 0 && got.pages == 0:
		return got.response, nil
	case got.page == 0:
		p.partial[id] = &partial{piece: *got, offset: rec.Offset, begun: rec.Timestamp, read: time.Now()}
		return nil, nil
	case before == nil:
		p.log.Info("relay: a page of a response that was left out", "key", string(rec.Key), "offset", rec.Offset)
		return nil, nil
	case got.page != len(before.response.Pages)+1: // what is missing has failed, and so its Take
		p.leaveOut(id)
		return nil, nil
	}
	before.response.Pages = append(before.response.Pages, got.response)
	if got.page < before.pages {
		return nil, nil
	}
	delete(p.partial, id)
	return before.response, nil
}

func (p *relayPart) leaveOut(id string) {
	part := p.partial[id]
	delete(p.partial, id)
	p.relay.stats.partial.Add(1)
	p.log.Info("relay: a response without all of its pages was never acknowledged", "id", part.response.Resource.ID,
		"offset", part.offset, "pages", len(part.response.Pages), "of", part.pages)
}

// offer calls Take until it returns nil. Its error is that nothing new may be
// taken.
func (p *relayPart) offer(response *resource.Response) error {
	const longest = 30 * time.Second
	for wait, tries := 100*time.Millisecond, 1; ; wait, tries = min(2*wait, longest), tries+1 {
		err := p.once(response)
		if err == nil {
			return nil
		}
		p.relay.stats.failed.Add(1)
		p.log.Warn("relay: take", "id", response.Resource.ID, "tries", tries, "again", wait, "err", err)
		if !pause(p.taking, wait) {
			return context.Cause(p.taking)
		}
	}
}

// once calls Take. A panic of it is its error.
func (p *relayPart) once(response *resource.Response) (err error) {
	ctx, cancel := context.WithTimeoutCause(p.work, p.relay.config.TakeTimeout, errTakeTimeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return p.relay.sink.Take(ctx, response)
}

var errTakeTimeout = fmt.Errorf("kafka: RelayConfig.TakeTimeout is over: %w", context.DeadlineExceeded)

// sinkOf returns which sink a take is of.
func sinkOf(take string) string {
	sink, _, _ := strings.Cut(take, "/")
	return sink
}

// dirty returns what may be committed and is not.
func (p *relayPart) dirty() (offset kgo.EpochOffset, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return kgo.EpochOffset{Epoch: p.epoch, Offset: p.ready}, p.ready > p.committed
}

// wrote notes that an offset is committed.
func (p *relayPart) wrote(offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.committed = max(p.committed, offset)
}
