package histories

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cannedos/cannedos/db"
)

// own claims leases and works under them until the round is over.
func (c *client) own(ctx context.Context) error {
	for c.rest(ctx, c.ttl/4) {
		n := c.random.IntN(leases)
		lease, err := c.claim(ctx, n)
		c.failed = err != nil && !errors.Is(err, db.ErrHeld)
		if err == nil {
			err = c.use(ctx, n, lease)
		}
		if notAFault(err) {
			return err
		}
		if c.random.IntN(6) == 0 {
			c.owner = db.NewOwner() // as a program that has been started again
		}
	}
	return nil
}

// use works under a lease for a while, and leaves it in one of the ways that
// there are.
func (c *client) use(ctx context.Context, n int, l *db.Lease) error {
	for range c.random.IntN(5) {
		if !c.rest(ctx, c.ttl/3) {
			break
		}
		if err := c.act(ctx, n, l); notAFault(err) {
			return err
		}
		if err := c.renew(ctx, n, l); errors.Is(err, db.ErrLost) || notAFault(err) {
			return err
		}
	}
	switch c.random.IntN(4) {
	case 0: // as a program that was killed
		return nil
	case 1: // as one that does not see that its time is up
		if wait(ctx, c.ttl+time.Duration(c.random.Int64N(int64(c.ttl)))) != nil {
			return nil
		}
		if err := c.act(ctx, n, l); notAFault(err) {
			return err
		}
		if err := c.renew(ctx, n, l); notAFault(err) {
			return err
		}
	}
	for range 3 {
		if err := c.release(ctx, n, l); err == nil || notAFault(err) {
			return err
		}
	}
	return nil
}

// begin enters an operation, of which the writes with the context are part.
func (c *client) begin(ctx context.Context, op operation) (context.Context, context.CancelFunc, *operation) {
	op.Client = c.number
	entered := c.log.begin(op)
	ctx, cancel := c.within(ctx)
	return context.WithValue(ctx, partOf{}, entered.ID), cancel, entered
}

func (c *client) spec(id string) db.LeaseSpec {
	return db.LeaseSpec{Space: c.space, ID: id, Owner: c.owner, TTL: c.ttl, Skew: c.ttl / 10}
}

// of describes a call on a lease.
func (c *client) of(kind string, n int, l *db.Lease) operation {
	op := operation{Kind: kind, Key: fmt.Sprint(c.space, "/lease-", n), Owner: c.owner.String(), TTL: int64(c.ttl), Skew: int64(c.ttl / 10)}
	if l != nil {
		op.Token = l.Token()
	}
	return op
}

func (c *client) claim(ctx context.Context, n int) (*db.Lease, error) {
	ctx, cancel, op := c.begin(ctx, c.of(claim, n, nil))
	defer cancel()
	l, err := db.Claim(ctx, c.store, c.spec(fmt.Sprint("lease-", n)))
	refusal, isHeld := errors.AsType[*db.HeldError](err)
	switch {
	case err == nil:
		op.Token, op.Until = l.Token(), l.Until().UnixNano()
		c.log.finish(op, ok)
	case isHeld:
		op.Holder, op.Until = refusal.Holder.String(), refusal.Until.UnixNano()
		c.log.finish(op, held)
	default:
		c.log.finish(op, unknown)
	}
	return l, err
}

func (c *client) renew(ctx context.Context, n int, l *db.Lease) error {
	ctx, cancel, op := c.begin(ctx, c.of(renew, n, l))
	defer cancel()
	err := l.Renew(ctx)
	switch {
	case err == nil:
		op.Until = l.Until().UnixNano()
		c.log.finish(op, ok)
	case errors.Is(err, db.ErrLost):
		c.log.finish(op, lost)
	default:
		c.log.finish(op, unknown)
	}
	return err
}

func (c *client) release(ctx context.Context, n int, l *db.Lease) error {
	ctx, cancel, op := c.begin(ctx, c.of(release, n, l))
	defer cancel()
	err := l.Release(ctx)
	if err == nil {
		c.log.finish(op, ok)
	} else {
		c.log.finish(op, unknown)
	}
	return err
}

// act does something under the token of a lease, to a resource that refuses
// lower tokens than it has seen. The resource is a record, whose Value begins
// with the highest token.
func (c *client) act(ctx context.Context, n int, l *db.Lease) error {
	op := c.of(act, n, l)
	id := fmt.Sprint("fence-", n)
	op.Key = c.space + "/" + id
	ctx, cancel, entered := c.begin(ctx, op)
	defer cancel()
	outcome, err := c.fence(ctx, id, l.Token(), fmt.Sprintf("%d act %d", l.Token(), entered.ID))
	entered.Believed = l.Err() == nil
	c.log.finish(entered, outcome)
	return err
}

func (c *client) fence(ctx context.Context, id string, token int64, value string) (string, error) {
	found, err := c.store.Get(ctx, c.space, id)
	if err != nil {
		return nothing, err
	}
	var current db.Record
	if len(found) > 0 {
		current = found[0]
	}
	for {
		if highest(current) > token {
			return refused, nil
		}
		w := db.Write{If: current.Version, Record: db.Record{Space: c.space, ID: id, Version: current.Version + 1, Value: []byte(value)}}
		results, err := c.store.Write(ctx, w)
		if err != nil {
			return unknown, err
		}
		if w.Won(results[0]) {
			return ok, nil
		}
		current = results[0].Current
	}
}

func highest(fence db.Record) int64 {
	text, _, _ := strings.Cut(string(fence.Value), " ")
	token, _ := strconv.ParseInt(text, 10, 64) // 0 while there is none
	return token
}

// hold works under db.Hold, time and again, until the round is over.
func (c *client) hold(ctx context.Context) error {
	for c.rest(ctx, c.ttl/4) {
		spec := c.spec("hold")
		spec.Wait = true
		ctx, cancel := context.WithTimeout(ctx, 5*c.ttl)
		err := db.Hold(ctx, c.store, spec, func(ctx context.Context, l *db.Lease) error {
			op := c.of(work, 0, l)
			op.Key = c.space + "/hold"
			op.Client, op.Until = c.number, l.Until().UnixNano()
			entered := c.log.begin(op)
			for range 5 {
				if !c.rest(ctx, c.ttl) || ctx.Err() != nil {
					break
				}
			}
			entered.Until = l.Until().UnixNano()
			c.log.finish(entered, ok)
			return nil
		})
		cancel()
		if notAFault(err) {
			return err
		}
		c.failed = err != nil && !errors.Is(err, db.ErrHeld) && !errors.Is(err, db.ErrLost)
	}
	return nil
}
