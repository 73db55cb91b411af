package firehose

import (
	"context"
	"sync"

	"github.com/cannedos/cannedos/resource"
)

// credits bounds what waits for the sink. A credit is taken before a resource
// is received that is to be polled, so that a slow sink slows polling, and
// nobody holds a claim that grows old meanwhile. It is kept by the response, if
// there is one to publish, and given back when that has been taken or dropped.
//
// A response whose next page has to wait for its bucket has no credit meanwhile:
// whoever is to go on with it needs one, and would wait for itself. What waits so
// has a bound of its own, half as large.
type credits struct {
	mu         sync.Mutex
	count, top int
	idle       int // of count: those that wait for a resource
	bytes, cap int64
	held       map[*resource.Response]holding
	free       chan struct{} // closed and replaced when credit is given back while somebody waits
	queued     int           // those who wait for that

	waiting      int // responses without a credit
	waitingBytes int64
}

// holding is what a response counts for.
type holding struct {
	size    int64
	waiting bool // for its next page, without a credit
}

func newCredits(count int, bytes int64) *credits {
	return &credits{top: count, cap: bytes, held: map[*resource.Response]holding{}, free: make(chan struct{})}
}

// credit is the right to bring one response. It belongs to one goroutine, and
// is idle until it is used.
type credit struct {
	c           *credits
	used, ended bool
}

// take waits for a credit, until ctx ends.
func (c *credits) take(ctx context.Context) (*credit, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.count >= c.top || c.bytes >= c.cap {
		free := c.free
		c.queued++
		c.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-free:
		}
		c.mu.Lock()
		c.queued--
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	c.count++
	c.idle++
	return &credit{c: c}, nil
}

// use says that the credit has its resource.
func (k *credit) use() {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	k.useLocked()
}

func (k *credit) useLocked() {
	if !k.used {
		k.used = true
		k.c.idle--
	}
}

// give returns a credit that no response needs. After keep, or twice, it does
// nothing.
func (k *credit) give() {
	c := k.c
	c.mu.Lock()
	defer c.mu.Unlock()
	k.useLocked()
	if k.ended {
		return
	}
	k.ended = true
	c.count--
	c.freedLocked()
}

// keep ties the credit to a response that waits to be published, or goes on after
// it has waited for its next page.
func (k *credit) keep(r *resource.Response) {
	c := k.c
	c.mu.Lock()
	defer c.mu.Unlock()
	k.useLocked()
	k.ended = true
	c.dropLocked(r)
	size := r.Size()
	c.held[r] = holding{size: size}
	c.bytes += size
}

// wait gives the credit of a response back, whose next page has to wait. It
// reports whether there is room for what waits so; for one response there always
// is.
func (c *credits) wait(r *resource.Response) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, ok := c.held[r]
	switch {
	case !ok, h.waiting:
		return ok
	case c.waiting > 0 && (c.waiting >= c.top/2 || c.waitingBytes+h.size > c.cap/2):
		return false
	}
	c.dropLocked(r)
	c.held[r] = holding{h.size, true}
	c.waiting, c.waitingBytes = c.waiting+1, c.waitingBytes+h.size
	c.count--
	c.freedLocked()
	return true
}

// resize counts anew what a response holds, to which pages were added.
func (c *credits) resize(r *resource.Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.held[r]; ok && !old.waiting {
		size := r.Size()
		c.held[r] = holding{size: size}
		c.bytes += size - old.size
	}
}

// done returns the credit of a response, if it has one, and forgets it. Twice, or
// for nil, it does nothing.
func (c *credits) done(r *resource.Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h, ok := c.held[r]; ok && !h.waiting {
		c.count--
	}
	c.dropLocked(r)
	c.freedLocked()
}

// dropLocked takes out what a response holds, but for its credit.
func (c *credits) dropLocked(r *resource.Response) {
	h, ok := c.held[r]
	switch {
	case !ok:
	case h.waiting:
		c.waiting, c.waitingBytes = c.waiting-1, c.waitingBytes-h.size
	default:
		c.bytes -= h.size
	}
	delete(c.held, r)
}

func (c *credits) freedLocked() {
	if c.queued > 0 {
		close(c.free)
		c.free = make(chan struct{})
	}
}

// level says how much is in use.
func (c *credits) level() (count int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count - c.idle + c.waiting, c.bytes + c.waitingBytes
}

// full reports whether what waits for the sink is at its bound.
func (c *credits) full() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count-c.idle >= c.top || c.bytes >= c.cap
}
