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
type credits struct {
	mu         sync.Mutex
	count, top int
	idle       int // of count: those that wait for a resource
	bytes, cap int64
	held       map[*resource.Response]int64
	free       chan struct{} // closed and replaced when credit is given back
}

func newCredits(count int, bytes int64) *credits {
	return &credits{top: count, cap: bytes, held: map[*resource.Response]int64{}, free: make(chan struct{})}
}

// credit is the right to bring one response. It belongs to one goroutine, and
// is idle until it is used.
type credit struct {
	c           *credits
	used, ended bool
}

// take waits for a credit, until ctx ends.
func (c *credits) take(ctx context.Context) (*credit, error) {
	for {
		c.mu.Lock()
		if c.count < c.top && c.bytes < c.cap {
			c.count++
			c.idle++
			c.mu.Unlock()
			return &credit{c: c}, nil
		}
		free := c.free
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-free:
		}
	}
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

// keep ties the credit to a response that waits to be published.
func (k *credit) keep(r *resource.Response) {
	c := k.c
	c.mu.Lock()
	defer c.mu.Unlock()
	k.useLocked()
	k.ended = true
	size := r.Size()
	c.held[r] = size
	c.bytes += size
}

// done returns the credit of a response. Twice, or for nil, it does nothing.
func (c *credits) done(r *resource.Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	size, ok := c.held[r]
	if !ok {
		return
	}
	delete(c.held, r)
	c.bytes -= size
	c.count--
	c.freedLocked()
}

func (c *credits) freedLocked() {
	close(c.free)
	c.free = make(chan struct{})
}

// level says how much is in use.
func (c *credits) level() (count int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count - c.idle, c.bytes
}
