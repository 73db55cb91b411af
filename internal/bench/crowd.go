package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// errBroken is what services fail with.
var errBroken = errors.New("broken on purpose")

// Ways to fail.
const (
	byError = "error"
	byPanic = "panic"
)

// failing returns how services end that fail.
func failing(way string) func() error {
	if way == byPanic {
		return func() error { panic(errBroken) }
	}
	return func() error { return errBroken }
}

// crowd is n services that are entered, wait at a gate, fail together, are
// entered again and wait for their stop. Those that only idle have no gate.
type crowd struct {
	members []member
	gate    chan struct{} // nil: nobody fails
	fail    func() error
	entered atomic.Int64
	ended   atomic.Int64  // by a stop
	first   chan struct{} // closed when all were entered
	again   chan struct{} // closed when all were entered twice
}

// member is one service. It counts its own runs, so that one that was entered
// twice can't hide one that was not entered.
type member struct {
	crowd *crowd
	name  string
	runs  atomic.Int32
	live  atomic.Int32
}

func newCrowd(n int, fail func() error) *crowd {
	c := &crowd{members: make([]member, n), fail: fail, first: make(chan struct{}), again: make(chan struct{})}
	if fail != nil {
		c.gate = make(chan struct{})
	}
	for i := range c.members {
		c.members[i].crowd, c.members[i].name = c, strconv.Itoa(i)
	}
	return c
}

func (c *crowd) services() []service {
	list := make([]service, len(c.members))
	for i := range c.members {
		list[i] = &c.members[i]
	}
	return list
}

func (m *member) String() string { return m.name }

func (m *member) Serve(ctx context.Context) error {
	c, gate := m.crowd, m.crowd.gate
	m.live.Add(1)
	if m.runs.Add(1) > 1 {
		gate = nil // it fails once
	}
	switch n := int64(len(c.members)); c.entered.Add(1) {
	case n:
		close(c.first)
	case 2 * n:
		close(c.again)
	}
	if gate == nil {
		<-ctx.Done()
	} else {
		select {
		case <-gate:
			m.live.Add(-1)
			return c.fail()
		case <-ctx.Done():
		}
	}
	m.live.Add(-1)
	c.ended.Add(1)
	return nil
}

// check is called while all shall wait for their stop, in their given run.
func (c *crowd) check(run int32) error {
	for i := range c.members {
		if m := &c.members[i]; m.runs.Load() != run || m.live.Load() != 1 {
			return fmt.Errorf("service %s: entered %d times instead of %d, and %d runs of it are live instead of 1",
				m.name, m.runs.Load(), run, m.live.Load())
		}
	}
	return nil
}

// checkEnded is called when the system says that all have ended.
func (c *crowd) checkEnded(run int32) error {
	if n := int64(len(c.members)); c.ended.Load() != n {
		return fmt.Errorf("%d of %d services have ended when the system says all have", c.ended.Load(), n)
	}
	for i := range c.members {
		if m := &c.members[i]; m.runs.Load() != run || m.live.Load() != 0 {
			return fmt.Errorf("service %s: entered %d times instead of %d, and %d runs of it are live after the stop",
				m.name, m.runs.Load(), run, m.live.Load())
		}
	}
	return nil
}

// patience bounds every wait of a sample: beyond it, what is waited for is taken
// to be lost.
const patience = 2 * time.Minute

func await(what string, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s: not within %v", what, patience)
	}
}
