package db

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Hold claims the lease, calls work with a context that ends with the lease,
// renews it at a third of TTL while work runs, waits for work, and releases.
// work must return soon after its context ends; it runs on the goroutine of
// the caller, so that a panic is the caller's.
//
// If another Owner holds the lease, Hold returns a [*HeldError], or, with
// spec.Wait, stands by until the lease is free or ctx ends. An error of the
// store before work has begun is returned as it is. After work has begun,
// errors of renewals are retried until the lease is over. Hold returns what
// work returns; if the lease was lost meanwhile the error wraps ErrLost too,
// also if work returned nil. A failed release is not an error of the work: the
// lease expires.
func Hold(ctx context.Context, store DB, spec LeaseSpec, work func(ctx context.Context, l *Lease) error) error {
	l, err := claimOrWait(ctx, store, spec)
	if err != nil {
		return err
	}
	// Whatever ends work, also a panic or runtime.Goexit: first no more
	// renewals, then the release.
	defer l.releaseAfter(ctx)
	workCtx, cancel := l.Context(ctx)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		l.keep(workCtx)
	}()
	defer func() {
		cancel()
		<-renewed
	}()
	err = work(workCtx, l)
	if lost := l.Err(); lost != nil && !errors.Is(lost, ErrReleased) && !errors.Is(err, ErrLost) {
		lost = fmt.Errorf("db: hold %s/%s: %w", spec.Space, spec.ID, lost)
		return errors.Join(err, lost)
	}
	return err
}

// claimOrWait claims, and stands by if the spec wants that.
func claimOrWait(ctx context.Context, store DB, spec LeaseSpec) (*Lease, error) {
	for {
		l, err := Claim(ctx, store, spec)
		held, ok := errors.AsType[*HeldError](err)
		if !spec.Wait || !ok && !errors.Is(err, errContended) {
			return l, err
		}
		ttl := spec.TTL
		if ttl == 0 {
			ttl = DefaultTTL
		}
		// The end comes earlier by a release and later by a renewal, so ask
		// again within a third; and never all at once.
		pause := rand.N(ttl/20 + 1)
		if ok {
			pause += max(0, min(time.Until(held.Until), ttl/3))
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, fmt.Errorf("%w: %w", contextError(ctx, "stand by"), err)
		}
	}
}

// keep renews until ctx ends, which it does with the lease at the latest.
func (l *Lease) keep(ctx context.Context) {
	interval := l.spec.TTL / 3
	t := time.NewTimer(interval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		try, cancel := context.WithTimeoutCause(ctx, interval, errors.New("a renewal took longer than a third of its ttl"))
		err := l.Renew(try)
		cancel()
		if err == nil {
			t.Reset(interval)
		} else {
			t.Reset(interval / 4) // if it is lost, ctx has ended
		}
	}
}

// releaseAfter releases even if ctx has ended.
func (l *Lease) releaseAfter(ctx context.Context) {
	ctx, cancel := l.outlive(ctx)
	defer cancel()
	// An error leaves the lease to expire, which Hold documents.
	_ = l.Release(ctx)
}
