package queuetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

const (
	benchBatch    = 64
	benchResident = 16 << 10 // messages that are in while others move
)

// Bench measures the queues that open returns, which must have room for 20,000
// messages: admit, move and receive, in batches of 64 beside 16,384 others, and
// a poll: claim and result, each with its Commit. It reports nanoseconds for each
// message beside the figures of a batch.
func Bench(b *testing.B, open func(b *testing.B) queue.Queue) {
	b.Run("admit", func(b *testing.B) { newBench(b, open).admit() })
	b.Run("move", func(b *testing.B) { newBench(b, open).move() })
	b.Run("receive", func(b *testing.B) { newBench(b, open).receive() })
	b.Run("poll", func(b *testing.B) { newBench(b, open).poll() })
}

// bench is a queue with resident messages, due in some hours.
type bench struct {
	*testing.B
	s    queue.Session
	made int
}

func newBench(b *testing.B, open func(b *testing.B) queue.Queue) *bench {
	q := open(b)
	b.Cleanup(func() { q.Close() })
	s, err := q.Open(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	w := &bench{B: b, s: s}
	far := time.Now().Add(3 * time.Hour)
	for range benchResident / benchBatch {
		ms := w.messages(benchBatch)
		for i := range ms {
			ms[i].Queue, ms[i].Due = "frozen-1000", far.Add(time.Duration(w.made+i)*time.Millisecond)
		}
		w.commit(nil, ms)
	}
	b.ReportAllocs()
	return w
}

func (w *bench) messages(n int) []queue.Message {
	ms := make([]queue.Message, n)
	for i := range ms {
		w.made++
		ms[i] = queue.Message{Queue: "a", Resource: resource.Resource{
			Spec: resource.Spec{
				ID:       resource.DeriveID(resource.ID{}, fmt.Sprint(w.made)),
				URI:      fmt.Sprintf("https://api.example/repos/%d/events", w.made),
				Interval: time.Minute,
				Profile:  "events",
			},
			Origin:     "https://api.example",
			Credential: "token",
			Bucket:     "core",
			Validators: resource.Validators{ETag: fmt.Sprintf(`W/"%064d"`, w.made)},
		}}
	}
	return ms
}

func (w *bench) commit(done []queue.Delivery, next []queue.Message) {
	if err := w.s.Commit(context.Background(), done, next...); err != nil {
		w.Fatal(err)
	}
}

// next receives a full batch.
func (w *bench) next(name string) []queue.Delivery {
	var all []queue.Delivery
	for len(all) < benchBatch {
		ds, err := w.s.Receive(context.Background(), name, benchBatch-len(all))
		if err != nil {
			w.Fatal(err)
		}
		if all == nil {
			all = ds
			continue
		}
		all = append(all, ds...)
	}
	return all
}

func (w *bench) perMessage(n int) {
	w.ReportMetric(float64(w.Elapsed().Nanoseconds())/float64(n), "ns/message")
}

func (w *bench) admit() {
	const rounds = 32 // batches between two emptyings, which are not measured
	batches := make([][]queue.Message, rounds)
	n := 0
	for i := range batches {
		batches[i] = w.messages(benchBatch)
	}
	for w.Loop() {
		if n%rounds == 0 && n > 0 {
			w.StopTimer()
			for range rounds {
				w.commit(w.next("a"), nil)
			}
			w.StartTimer()
		}
		w.commit(nil, batches[n%rounds])
		n++
	}
	w.perMessage(n * benchBatch)
}

func (w *bench) move() {
	w.commit(nil, w.messages(benchBatch))
	names := [2]string{"a", "b"}
	next := make([]queue.Message, benchBatch)
	n := 0
	for w.Loop() {
		got := w.next(names[n%2])
		for i := range got {
			next[i] = got[i].To(names[(n+1)%2], time.Time{})
		}
		w.commit(got, next)
		n++
	}
	w.perMessage(n * benchBatch)
}

func (w *bench) receive() {
	const rounds = 32
	for range rounds {
		w.commit(nil, w.messages(benchBatch))
	}
	var held [rounds][]queue.Delivery
	next := make([]queue.Message, benchBatch)
	n := 0
	for w.Loop() {
		if n%rounds == 0 && n > 0 {
			w.StopTimer()
			for _, got := range held {
				for i := range got {
					next[i] = got[i].To("a", time.Time{})
				}
				w.commit(got, next)
			}
			w.StartTimer()
		}
		held[n%rounds] = w.next("a")
		n++
	}
	w.perMessage(n * benchBatch)
}

// poll is what one poll costs: a claim before the request and a result after it.
func (w *bench) poll() {
	ms := w.messages(benchBatch)
	for i := range ms {
		ms[i].Queue = "requests"
	}
	w.commit(nil, ms)
	owner := resource.NewOwner()
	next := make([]queue.Message, benchBatch)
	n := 0
	for w.Loop() {
		now := time.Now()
		got := w.next("requests")
		for i := range got {
			next[i] = got[i].To("claimed", time.Time{})
			next[i].Resource.Claim(owner, now, now.Add(time.Minute))
		}
		w.commit(got, next)
		got = w.next("claimed")
		for i := range got {
			next[i] = got[i].To("requests", time.Time{})
			next[i].Resource.Unclaim()
		}
		w.commit(got, next)
		n++
	}
	w.perMessage(n * benchBatch)
}
