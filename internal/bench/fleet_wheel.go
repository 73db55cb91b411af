package main

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// slotWidth is that of a slot of the wheel.
const slotWidth = time.Millisecond

// slots is a timing wheel whose turn is longer than any wait: URLs that are due
// in the same millisecond are linked by their numbers. It has no pointers.
type slots struct {
	birth time.Time

	mu   sync.Mutex
	head []int32 // by slot; -1: none
	next []int32 // by URL
	done int64   // the slot up to which all were taken
}

func newSlots(n int, longest time.Duration) *slots {
	s := &slots{birth: time.Now(), head: make([]int32, 2*longest/slotWidth+1024), next: make([]int32, n)}
	for i := range s.head {
		s.head[i] = -1
	}
	return s
}

// put lets a URL wait until it is due, and never less.
func (s *slots) put(i int32, due time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := max(s.done+1, int64((due.Sub(s.birth)+slotWidth-1)/slotWidth))
	at := &s.head[slot%int64(len(s.head))]
	s.next[i], *at = *at, i
}

// take appends those that are due to list.
func (s *slots) take(now time.Time, list []int32) []int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for upTo := int64(now.Sub(s.birth) / slotWidth); s.done < upTo; {
		s.done++
		at := &s.head[s.done%int64(len(s.head))]
		for i := *at; i >= 0; i = s.next[i] {
			list = append(list, i)
		}
		*at = -1
	}
	return list
}

// wheelAndWorkers is the floor: a wheel, a worker for each connection, and
// net/http. A URL is asked again one interval after its answer. It knows no
// limits, keeps nothing and tells nobody.
func wheelAndWorkers(t *tour) (func() error, error) {
	client := &http.Client{Transport: t.transport()}
	pages := t.pages()
	wheel := newSlots(t.n, t.every)
	t.start = time.Now().Add(t.every / 100)
	for i := range pages {
		wheel.put(int32(i), t.at(i))
	}
	ctx, cancel := context.WithCancel(context.Background())
	due := make(chan int32, t.n)
	var group sync.WaitGroup
	group.Go(func() {
		defer close(due)
		ticker := time.NewTicker(slotWidth)
		defer ticker.Stop()
		var list []int32
		for {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
			list = wheel.take(time.Now(), list[:0])
			for _, i := range list {
				due <- i
			}
		}
	})
	var failed failures
	for range t.conns {
		group.Go(func() {
			for i := range due {
				if ctx.Err() != nil {
					return
				}
				failed.note(pages[i].ask(client, time.Time{}))
				wheel.put(i, time.Now().Add(t.every))
			}
		})
	}
	return func() error {
		cancel()
		group.Wait()
		client.CloseIdleConnections()
		return failed.err()
	}, nil
}
