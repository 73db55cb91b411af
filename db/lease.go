package db

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Defaults of a LeaseSpec.
const (
	DefaultTTL = 30 * time.Second
	// claimTries bounds how often a claim starts over because others changed
	// the record under it without holding it in the end.
	claimTries = 64
)

// errContended is a claim that others beat again and again without holding the
// lease in the end.
var errContended = fmt.Errorf("the record changed %d times under the claim", claimTries)

// LeaseSpec says which lease is wanted and by whom.
//
// A lease is one record. It is free if the record does not exist, has no
// Owner, or its Until has passed by the claimant's clock; the holder, in turn,
// stops Skew before Until by its own. So two never work at the same time as
// long as their clocks differ by at most Skew. Where that is not good enough,
// pass [Lease.Token] along and refuse lower ones.
type LeaseSpec struct {
	// Space and ID name the record, which must be used for nothing else. It
	// is never deleted, so that tokens never fall.
	Space, ID string
	// Owner claims. An Owner that claims what it holds already gets it again
	// with a higher token and the earlier Lease is lost: so a claim can be
	// repeated after an error, or after a crash of the part that held it. Two
	// claimants in one process that shall exclude each other need two Owners.
	Owner Owner
	// TTL is how long a claim or a renewal lasts; zero means DefaultTTL.
	TTL time.Duration
	// Skew is by how much clocks may differ, and how long before its end work
	// under the lease is cancelled; zero means a tenth of TTL. At most half of
	// TTL.
	Skew time.Duration
	// Wait makes Hold stand by until the lease is free. Claim ignores it.
	Wait bool
}

// withDefaults returns the spec with zero values replaced, or ErrInvalid.
func (s LeaseSpec) withDefaults() (LeaseSpec, error) {
	if err := CheckKeys(s.Space, s.ID); err != nil {
		return s, err
	}
	if s.Owner.IsZero() {
		return s, fmt.Errorf("%w: owner is zero, want one from NewOwner", ErrInvalid)
	}
	if s.TTL == 0 {
		s.TTL = DefaultTTL
	}
	if s.TTL < time.Microsecond {
		return s, fmt.Errorf("%w: ttl %s, want 0 (%s) or at least 1µs", ErrInvalid, s.TTL, DefaultTTL)
	}
	if s.Skew == 0 {
		s.Skew = s.TTL / 10
	}
	if s.Skew < 0 || s.Skew > s.TTL/2 {
		return s, fmt.Errorf("%w: skew %s, want 0 (a tenth of ttl) up to half of ttl %s", ErrInvalid, s.Skew, s.TTL)
	}
	return s, nil
}

// Lease is the right of one Owner to one thing for a while. It is safe for
// concurrent use. Renew it before [Lease.Until], or let [Hold] do it.
type Lease struct {
	store DB
	spec  LeaseSpec
	token int64
	nonce [16]byte // in the record's Value: tells this claim from any other

	turn     chan struct{} // held by the Renew or Release that talks to the store
	released bool          // owned by the holder of the turn

	mu       sync.Mutex
	version  int64     // of the record, as last written by this lease
	since    time.Time // now of the last write that won
	over     error     // why it ended: ErrLost or ErrReleased
	contexts map[*leaseContext]struct{}
	timer    *time.Timer // ends the contexts; nil while there are none
}

// Claim takes the lease, or returns a [*HeldError] if another Owner holds it.
// The outcome of other errors, but ErrInvalid, ErrTooLarge and ErrClosed, is
// unknown; Claim may be called again.
func Claim(ctx context.Context, store DB, spec LeaseSpec) (*Lease, error) {
	spec, err := spec.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("db: claim: %w", err)
	}
	l := &Lease{store: store, spec: spec, turn: make(chan struct{}, 1), contexts: make(map[*leaseContext]struct{})}
	rand.Read(l.nonce[:])
	if err := l.claim(ctx); err != nil {
		return nil, fmt.Errorf("db: claim %s/%s: %w", spec.Space, spec.ID, err)
	}
	return l, nil
}

func (l *Lease) claim(ctx context.Context) error {
	found, err := l.store.Get(ctx, l.spec.Space, l.spec.ID)
	if err != nil {
		return err
	}
	var current Record
	if len(found) > 0 {
		current = found[0]
	}
	for range claimTries {
		// Taken before the write is sent: however long the store takes, this
		// side never believes in the lease for longer than others do.
		now := time.Now()
		if held := l.heldByOther(current, now); held != nil {
			return held
		}
		w := l.write(current.Version, now)
		results, err := l.store.Write(ctx, w)
		if err != nil {
			return err
		}
		if w.Won(results[0]) {
			l.token, l.version, l.since = w.Record.Version, w.Record.Version, now
			return nil
		}
		current = results[0].Current
	}
	return errContended
}

// heldByOther is the pure part of a claim.
func (l *Lease) heldByOther(r Record, now time.Time) error {
	if r.Version == 0 || r.Owner.IsZero() || r.Owner == l.spec.Owner || !now.Before(r.Until) {
		return nil
	}
	return &HeldError{Space: l.spec.Space, ID: l.spec.ID, Holder: r.Owner, Until: r.Until}
}

// write is the write that claims or renews from now on.
func (l *Lease) write(version int64, now time.Time) Write {
	return Write{If: version, Record: Record{
		Space: l.spec.Space, ID: l.spec.ID, Version: version + 1,
		Owner: l.spec.Owner, Until: now.Add(l.spec.TTL).Round(0).UTC(), Value: l.nonce[:],
	}}
}

// Token is the version of the record that the claim wrote. It stays the same
// through renewals, and every later claim, by whomever, has a higher one: a
// resource that remembers the highest token it saw can refuse work of a holder
// that has been replaced without knowing it.
func (l *Lease) Token() int64 { return l.token }

// Until is when the lease ends unless it is renewed. Work under it ends Skew
// earlier.
func (l *Lease) Until() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.since.Add(l.spec.TTL).Round(0).UTC()
}

// Err returns nil while the lease may be worked under, and ErrLost or
// ErrReleased afterwards.
func (l *Lease) Err() error {
	l.mu.Lock()
	ended := l.checkLocked(time.Now())
	err := l.over
	l.mu.Unlock()
	ended.cancel(err)
	return err
}

// Renew makes the lease last TTL from now. It returns ErrLost if the lease is
// over, which includes that Skew before Until has come; then it stays over. For
// other errors the outcome is unknown, and Renew may be called again while
// there is time.
func (l *Lease) Renew(ctx context.Context) error {
	if err := l.renew(ctx); err != nil {
		return fmt.Errorf("db: renew %s/%s: %w", l.spec.Space, l.spec.ID, err)
	}
	return nil
}

func (l *Lease) renew(ctx context.Context) error {
	if err := l.takeTurn(ctx); err != nil {
		return err
	}
	defer func() { <-l.turn }()
	if err := l.Err(); err != nil {
		return err
	}
	now, won, err := l.send(ctx, l.write)
	if err != nil {
		return err
	}
	l.mu.Lock()
	ended := l.checkLocked(time.Now()) // the answer may have come too late
	if !won && l.over == nil {
		ended = l.endLocked(ErrLost)
	}
	if err = l.over; err == nil {
		l.since = now
		if l.timer != nil {
			l.timer.Reset(l.remaining(time.Now()))
		}
	}
	l.mu.Unlock()
	ended.cancel(err)
	return err
}

// Release gives the lease back, so that others need not wait for its end, and
// ends its contexts with ErrReleased. Call it when the work has ended. After
// nil, this Lease does not hold the record, also if it had been lost before.
// For an error the outcome is unknown: call it again, or let the lease expire.
func (l *Lease) Release(ctx context.Context) error {
	l.mu.Lock()
	ended := l.endLocked(ErrReleased)
	l.mu.Unlock()
	ended.cancel(ErrReleased)
	if errors.Is(context.Cause(ctx), ErrReleased) {
		// Called with one of the lease's own contexts, as is natural inside
		// of Hold: it has ended just now, and by this.
		var cancel context.CancelFunc
		ctx, cancel = l.outlive(ctx)
		defer cancel()
	}
	err := l.takeTurn(ctx)
	if err == nil {
		defer func() { <-l.turn }()
		err = l.release(ctx)
	}
	if err != nil {
		return fmt.Errorf("db: release %s/%s: %w", l.spec.Space, l.spec.ID, err)
	}
	return nil
}

// outlive returns a context that does not end with ctx, but when the lease has
// expired anyway.
func (l *Lease) outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.WithoutCancel(ctx), l.spec.TTL, errors.New("releasing took longer than the ttl"))
}

// release empties the record, once. The turn is held.
func (l *Lease) release(ctx context.Context) error {
	if l.released {
		return nil
	}
	_, _, err := l.send(ctx, func(version int64, _ time.Time) Write {
		return Write{If: version, Record: Record{Space: l.spec.Space, ID: l.spec.ID, Version: version + 1}}
	})
	l.released = err == nil
	return err
}

// takeTurn lets one Renew or Release at a time talk to the store.
func (l *Lease) takeTurn(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return contextError(ctx, "wait for another renewal")
	}
}

// send writes the record on from this lease's version. If it loses to what an
// earlier send of this lease had written without learning so, which the nonce
// tells, it goes on from there. The turn is held.
func (l *Lease) send(ctx context.Context, next func(version int64, now time.Time) Write) (now time.Time, won bool, err error) {
	for range claimTries {
		l.mu.Lock()
		version := l.version
		l.mu.Unlock()
		now = time.Now()
		w := next(version, now)
		results, err := l.store.Write(ctx, w)
		if err != nil {
			return now, false, err
		}
		if w.Won(results[0]) {
			version = w.Record.Version
		} else if c := results[0].Current; c.Owner == l.spec.Owner && string(c.Value) == string(l.nonce[:]) {
			version = c.Version
		} else {
			return now, false, nil
		}
		l.mu.Lock()
		l.version = version
		l.mu.Unlock()
		if version == w.Record.Version && w.Won(results[0]) {
			return now, true, nil
		}
	}
	return now, false, errors.New("the store does not settle")
}
