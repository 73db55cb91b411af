package db

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var errOutage = errors.New("outage")

func leaseSpec(owner byte) LeaseSpec {
	return LeaseSpec{Space: "lease", ID: "x", Owner: Owner{owner}, TTL: 30 * time.Second, Skew: 3 * time.Second}
}

func claimed(t *testing.T, store DB, spec LeaseSpec) *Lease {
	t.Helper()
	l, err := Claim(t.Context(), store, spec)
	require.NoError(t, err)
	return l
}

// TestClaimTimeline: instants, calls, outcomes.
func TestClaimTimeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		begin := time.Now()
		var a, b *Lease
		for _, step := range []struct {
			at   time.Duration
			what string
			do   func() error
			want error
		}{
			{0, "a claims", func() (err error) { a, err = Claim(t.Context(), store, leaseSpec(1)); return }, nil},
			{0, "b claims", func() (err error) { _, err = Claim(t.Context(), store, leaseSpec(2)); return }, ErrHeld},
			{20 * time.Second, "a renews", func() error { return a.Renew(t.Context()) }, nil},
			{30 * time.Second, "b claims at the first end", func() (err error) { _, err = Claim(t.Context(), store, leaseSpec(2)); return }, ErrHeld},
			{47*time.Second - 1, "a may still work", func() error { return a.Err() }, nil},
			{47 * time.Second, "a may not work", func() error { return a.Err() }, ErrLost},
			{47 * time.Second, "a renews too late", func() error { return a.Renew(t.Context()) }, ErrLost},
			{50*time.Second - 1, "b claims before the end", func() (err error) { _, err = Claim(t.Context(), store, leaseSpec(2)); return }, ErrHeld},
			{50 * time.Second, "b claims at the end", func() (err error) { b, err = Claim(t.Context(), store, leaseSpec(2)); return }, nil},
			{50 * time.Second, "a releases what it lost", func() error { return a.Release(t.Context()) }, nil},
			{51 * time.Second, "b still has it", func() error { return b.Renew(t.Context()) }, nil},
			{51 * time.Second, "b releases", func() error { return b.Release(t.Context()) }, nil},
			{51 * time.Second, "b releases again", func() error { return b.Release(t.Context()) }, nil},
			{51 * time.Second, "b renews what it released", func() error { return b.Renew(t.Context()) }, ErrReleased},
			{51 * time.Second, "a claims again", func() error { l, err := Claim(t.Context(), store, leaseSpec(1)); a = l; return err }, nil},
		} {
			time.Sleep(time.Until(begin.Add(step.at)))
			err := step.do()
			if !errors.Is(err, step.want) || (err == nil) != (step.want == nil) {
				t.Fatalf("at %s, %s: %v, want %v", step.at, step.what, err, step.want)
			}
		}
		require.Greater(t, a.Token(), b.Token(), "tokens rise")
		require.True(t, a.Until().Equal(begin.Add(81*time.Second)))
	})
}

func TestLeaseSpecChecks(t *testing.T) {
	for name, change := range map[string]func(*LeaseSpec){
		"space":    func(s *LeaseSpec) { s.Space = "" },
		"id":       func(s *LeaseSpec) { s.ID = "" },
		"owner":    func(s *LeaseSpec) { s.Owner = Owner{} },
		"ttl":      func(s *LeaseSpec) { s.TTL = -1 },
		"skew -1s": func(s *LeaseSpec) { s.Skew = -time.Second },
		"skew":     func(s *LeaseSpec) { s.Skew = s.TTL/2 + 1 },
	} {
		spec := leaseSpec(1)
		change(&spec)
		_, err := Claim(t.Context(), NewMemory(), spec)
		require.ErrorIs(t, err, ErrInvalid, name)
		require.ErrorContains(t, err, name)
	}
	spec, err := LeaseSpec{Space: "s", ID: "i", Owner: Owner{1}}.withDefaults()
	require.NoError(t, err)
	require.Equal(t, 30*time.Second, spec.TTL)
	require.Equal(t, 3*time.Second, spec.Skew)
}

func TestLeaseContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		l := claimed(t, store, leaseSpec(1))
		begin := time.Now()

		ctx, cancel := l.Context(t.Context())
		defer cancel()
		time.Sleep(20 * time.Second)
		require.NoError(t, l.Renew(t.Context()))
		<-ctx.Done()
		require.Equal(t, 47*time.Second, time.Since(begin), "skew before the end of the renewal")
		require.ErrorIs(t, context.Cause(ctx), ErrLost)

		late, cancelLate := l.Context(t.Context())
		defer cancelLate()
		require.ErrorIs(t, context.Cause(late), ErrLost, "a context of a lease that is over")

		time.Sleep(time.Minute)
		l = claimed(t, store, leaseSpec(2))
		ctx, cancel = l.Context(t.Context())
		other, cancelOther := l.Context(t.Context())
		cancelOther()
		require.ErrorIs(t, context.Cause(other), context.Canceled, "its own cancel")
		require.NoError(t, ctx.Err(), "the other's cancel")
		parent, stop := context.WithCancel(t.Context())
		child, cancelChild := l.Context(parent)
		stop()
		require.ErrorIs(t, child.Err(), context.Canceled, "its parent's end")
		require.NoError(t, l.Release(t.Context()))
		require.ErrorIs(t, context.Cause(ctx), ErrReleased)
		cancelChild()
		cancel()
		require.Nil(t, l.timer, "no timer stays behind")
	})
}

// TestLeaseFenced: the same owner claims again, and the earlier lease is lost.
func TestLeaseFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		first := claimed(t, store, leaseSpec(1))
		ctx, cancel := first.Context(t.Context())
		defer cancel()
		second := claimed(t, store, leaseSpec(1))
		require.Greater(t, second.Token(), first.Token())
		require.ErrorIs(t, first.Renew(t.Context()), ErrLost)
		require.ErrorIs(t, context.Cause(ctx), ErrLost)
		require.NoError(t, first.Release(t.Context()))
		require.NoError(t, second.Renew(t.Context()), "the first one's release did not touch it")
	})
}

// slow delays the answers of a store, so that writes are old when they arrive.
type slow struct {
	DB
	before, after time.Duration
}

func (s *slow) Write(ctx context.Context, writes ...Write) ([]Result, error) {
	time.Sleep(s.before)
	results, err := s.DB.Write(ctx, writes...)
	time.Sleep(s.after)
	return results, err
}

// TestLeaseSlowStore: a lease lasts from before its write was sent.
func TestLeaseSlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{DB: NewMemory(), before: 10 * time.Second, after: 10 * time.Second}
		begin := time.Now()
		l := claimed(t, store, leaseSpec(1))
		require.True(t, l.Until().Equal(begin.Add(30*time.Second)), "20 of 30 seconds are gone")
		require.NoError(t, l.Err())
		store.before, store.after = time.Second, time.Second
		require.NoError(t, l.Renew(t.Context()))
		require.True(t, l.Until().Equal(begin.Add(50*time.Second)), "a renewal lasts from before its write, too")
		time.Sleep(time.Until(begin.Add(40 * time.Second)))
		store.before, store.after = 10*time.Second, 10*time.Second
		// The renewal wins in the store at 50 s, after the work had to end.
		require.ErrorIs(t, l.Renew(t.Context()), ErrLost)
		require.Equal(t, 60*time.Second, time.Since(begin))
		require.NoError(t, l.Release(t.Context()), "what the late renewal wrote can still be given back")
		store.before, store.after = 0, 0
		claimed(t, store, leaseSpec(2))

		store.before = 40 * time.Second
		spec := leaseSpec(2)
		l = claimed(t, store, spec)
		require.ErrorIs(t, l.Err(), ErrLost, "a lease that was over when it came")
		ctx, cancel := l.Context(t.Context())
		defer cancel()
		require.ErrorIs(t, context.Cause(ctx), ErrLost)
	})
}

// TestLeaseUnknownOutcome: answers are lost, and the same call works again.
func TestLeaseUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &flaky{DB: NewMemory(), write: errOutage, done: true}
		_, err := Claim(t.Context(), store, leaseSpec(1))
		require.ErrorIs(t, err, errOutage)
		store.write = nil
		l := claimed(t, store, leaseSpec(1))
		token := l.Token()

		for range 3 {
			time.Sleep(5 * time.Second)
			store.write = errOutage
			require.ErrorIs(t, l.Renew(t.Context()), errOutage)
			require.ErrorIs(t, l.Renew(t.Context()), errOutage, "again, with another Until")
			store.write = nil
			begin := time.Now()
			require.NoError(t, l.Renew(t.Context()))
			require.True(t, l.Until().Equal(begin.Add(30*time.Second)))
			records, err := store.Get(t.Context(), "lease", "x")
			require.NoError(t, err)
			require.True(t, records[0].Until.Equal(l.Until()))
		}
		require.Equal(t, token, l.Token(), "renewals keep the token")

		store.write = errOutage
		require.ErrorIs(t, l.Release(t.Context()), errOutage)
		store.write = nil
		require.NoError(t, l.Release(t.Context()))
		b := claimed(t, store, leaseSpec(2))
		require.NoError(t, l.Release(t.Context()))
		require.NoError(t, b.Renew(t.Context()), "a late release does not touch the next holder")

		store.get = errOutage
		_, err = Claim(t.Context(), store, leaseSpec(1))
		require.ErrorIs(t, err, errOutage)
	})
}

// TestRenewAndReleaseTogether: many at once on one lease, and none is lost.
func TestRenewAndReleaseTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{DB: NewMemory(), before: time.Millisecond}
		l := claimed(t, store, leaseSpec(1))
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { require.NoError(t, l.Renew(t.Context())) })
		}
		wg.Wait()
		require.NoError(t, l.Err())
		impatient, cancel := context.WithTimeout(t.Context(), time.Microsecond)
		defer cancel()
		wg.Go(func() { require.NoError(t, l.Renew(t.Context())) })
		synctest.Wait()
		require.ErrorIs(t, l.Renew(impatient), context.DeadlineExceeded, "waiting for the other renewal")
		wg.Wait()
		require.NoError(t, l.Release(t.Context()))
	})
}

func TestElapsed(t *testing.T) {
	const hour = time.Hour
	for _, c := range []struct{ monotonic, wall, want time.Duration }{
		{5, 5, 5},
		{5, 5 + hour, 5 + hour}, // the machine slept
		{5, 5 - hour, 5},        // the clock was set back
	} {
		require.Equal(t, c.want, elapsed(c.monotonic, c.wall))
	}
}

// TestClaimContended: others claim and release all the time.
func TestClaimContended(t *testing.T) {
	store := &contended{DB: NewMemory()}
	_, err := Claim(t.Context(), store, leaseSpec(1))
	require.ErrorContains(t, err, "changed 64 times")
}

// contended is a store where somebody else was always faster, and is gone.
type contended struct{ DB }

func (c *contended) Write(ctx context.Context, writes ...Write) ([]Result, error) {
	w := writes[0]
	w.Record.Owner, w.Record.Until = Owner{}, time.Time{}
	if _, err := c.DB.Write(ctx, w); err != nil {
		return nil, err
	}
	return c.DB.Write(ctx, writes...)
}
