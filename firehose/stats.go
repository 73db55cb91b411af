package firehose

import (
	"encoding/json"
	"math"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// Stats are figures of one OS since it was made, drawn from counters.
type Stats struct {
	At         time.Time              `json:"at"`
	Polls      int64                  `json:"polls"`       // that were sent, redirects counted with them
	Requests   int64                  `json:"requests"`    // that were sent, each redirect and each further page for itself
	Outcomes   map[string]int64       `json:"outcomes"`    // polls by resource.Outcome
	Published  int64                  `json:"published"`   // responses that the sink took
	SinkErrors int64                  `json:"sink_errors"` // offers that it refused
	Bytes      int64                  `json:"bytes"`       // of bodies
	Events     map[string]int64       `json:"events"`      // by EventKind
	Late       Quantiles              `json:"late"`        // from the permitted instant, jitter included, to the sending
	Queues     []queue.Depth          `json:"queues"`      // nil where the queue can't tell
	States     map[resource.State]int `json:"states"`      // nil where the queue can't tell
	Publishing int                    `json:"publishing"`  // credits in use
	Holding    int64                  `json:"holding"`     // bytes of bodies that wait for the sink
	Buckets    []BucketStats          `json:"buckets"`     // at most MaxBucketStats
}

// MaxBucketStats bounds the buckets of one [Stats].
const MaxBucketStats = 1000

// NotModifiedShare is the share of the polls that changed nothing, from 0 to 1.
func (s *Stats) NotModifiedShare() float64 {
	if s.Polls == 0 {
		return 0
	}
	return float64(s.Outcomes[resource.NotModified.String()]) / float64(s.Polls)
}

// BucketStats is the level of one bucket.
type BucketStats struct {
	Key       resource.BucketKey `json:"key"`   // no name: the scope as a whole
	Known     bool               `json:"known"` // Limit, Remaining and Reset were told
	Limit     int64              `json:"limit,omitempty"`
	Remaining int64              `json:"remaining,omitempty"`
	Reset     time.Time          `json:"reset,omitzero"`
	Park      time.Time          `json:"park,omitzero"`
	Why       string             `json:"why,omitempty"` // of the park
	InFlight  int                `json:"in_flight"`     // requests that were sent and have not ended
	Line      int                `json:"line"`          // resources that wait for it
}

// Quantiles are those of a duration, exact to about 3 percent.
type Quantiles struct {
	Count              int64         // of what was measured
	P50, P95, P99, Max time.Duration // so many percent were no longer
}

// MarshalJSON writes milliseconds.
func (q Quantiles) MarshalJSON() ([]byte, error) {
	ms := func(d time.Duration) float64 { return math.Round(float64(d)/1e3) / 1e3 }
	return json.Marshal(struct {
		Count int64   `json:"count"`
		P50   float64 `json:"p50_ms"`
		P95   float64 `json:"p95_ms"`
		P99   float64 `json:"p99_ms"`
		Max   float64 `json:"max_ms"`
	}{q.Count, ms(q.P50), ms(q.P95), ms(q.P99), ms(q.Max)})
}

// stats are the counters behind Stats.
type stats struct {
	polls, requests, bytes, published, sinkErrors atomic.Int64

	deaf     atomic.Int64 // calls of the sink beyond the end of their context
	outcomes [16]atomic.Int64
	events   [eventKinds]atomic.Int64
	lateness histogram
}

func (s *stats) polled(o resource.Outcome, hops int, bytes int64) {
	s.polls.Add(int64(min(hops, 1))) // none for want of a token
	s.requests.Add(int64(hops))
	s.bytes.Add(bytes)
	s.outcomes[int(o)%len(s.outcomes)].Add(1)
}

// page counts a further page of a poll.
func (s *stats) page(hops int, bytes int64) {
	s.requests.Add(int64(hops))
	s.bytes.Add(bytes)
}

func (s *stats) event(k EventKind) { s.events[k].Add(1) }

func (s *stats) late(sent, permitted time.Time) {
	if !sent.IsZero() && !permitted.IsZero() {
		s.lateness.add(sent.Sub(permitted))
	}
}

func (s *stats) read(now time.Time) Stats {
	v := Stats{
		At: now.Round(0).UTC(), Polls: s.polls.Load(), Requests: s.requests.Load(), Bytes: s.bytes.Load(),
		Published: s.published.Load(), SinkErrors: s.sinkErrors.Load(),
		Outcomes: map[string]int64{}, Events: map[string]int64{}, Late: s.lateness.quantiles(),
	}
	for _, o := range resource.Outcomes() {
		if n := s.outcomes[o].Load(); n > 0 {
			v.Outcomes[o.String()] = n
		}
	}
	for k := range eventKinds {
		if n := s.events[k].Load(); n > 0 {
			v.Events[k.String()] = n
		}
	}
	return v
}

// histogram counts durations in cells that grow with them: 32 to each power of
// two, so that a cell is 3 percent wide. Adding costs two atomic operations.
type histogram struct {
	cells [cellCount]atomic.Int64
	max   atomic.Int64
}

const (
	subBits   = 5
	cellCount = (64 - subBits) << subBits
)

func (h *histogram) add(d time.Duration) {
	v := uint64(max(0, d))
	h.cells[cell(v)].Add(1)
	for {
		old := h.max.Load()
		if int64(v) <= old || h.max.CompareAndSwap(old, int64(v)) {
			return
		}
	}
}

// cell is the index of the cell that counts v: the value itself below 32, then
// the exponent and the five bits below the first.
func cell(v uint64) int {
	if v < 1<<subBits {
		return int(v)
	}
	exponent := bits.Len64(v) - 1 - subBits
	return exponent<<subBits + int(v>>exponent)
}

// cellTop is the largest value of a cell.
func cellTop(i int) uint64 {
	if i < 1<<subBits {
		return uint64(i)
	}
	exponent := i>>subBits - 1
	return (uint64(i&(1<<subBits-1)|1<<subBits)+1)<<exponent - 1
}

func (h *histogram) quantiles() Quantiles {
	var counts [cellCount]int64
	q := Quantiles{Max: time.Duration(h.max.Load())}
	for i := range h.cells {
		counts[i] = h.cells[i].Load()
		q.Count += counts[i]
	}
	at := func(share float64) time.Duration {
		rank, seen := int64(math.Ceil(share*float64(q.Count))), int64(0)
		for i, n := range counts {
			if seen += n; seen >= rank && n > 0 {
				return min(time.Duration(cellTop(i)), q.Max)
			}
		}
		return 0
	}
	q.P50, q.P95, q.P99 = at(0.50), at(0.95), at(0.99)
	return q
}
