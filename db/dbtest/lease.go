package dbtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

// checkLease walks one lease through its life on the store.
func checkLease(t testing.TB, open Open) {
	f := start(t, open)
	a := db.LeaseSpec{Space: "lease", ID: "x", Owner: db.NewOwner(), TTL: time.Hour}
	b := a
	b.Owner = db.NewOwner()

	first, err := db.Claim(f.ctx, f, a)
	require.NoError(t, err)
	stored := f.get("lease", "x")
	require.Equal(t, a.Owner, stored.Owner, "the record's Owner")
	require.True(t, stored.Until.Equal(first.Until()), "the record's Until")
	require.Equal(t, first.Token(), stored.Version, "the token")

	_, err = db.Claim(f.ctx, f, b)
	require.ErrorIs(t, err, db.ErrHeld)
	held, _ := errors.AsType[*db.HeldError](err)
	require.Equal(t, a.Owner, held.Holder, "the holder")
	require.True(t, held.Until.Equal(first.Until()), "until when it is held")

	require.NoError(t, first.Renew(f.ctx))
	stored = f.get("lease", "x")
	require.Greater(t, stored.Version, first.Token(), "a renewal is a version of its own")
	require.True(t, stored.Until.Equal(first.Until()), "the record's Until after a renewal")
	require.NoError(t, first.Release(f.ctx))
	second, err := db.Claim(f.ctx, f, b)
	require.NoError(t, err, "claim of what was released")
	require.Greater(t, second.Token(), first.Token(), "tokens rise")
	require.ErrorIs(t, first.Renew(f.ctx), db.ErrReleased)

	// An expired one is free.
	short := a
	short.ID, short.TTL = "y", time.Microsecond
	_, err = db.Claim(f.ctx, f, short)
	require.NoError(t, err)
	b.ID = "y"
	for {
		taken, err := db.Claim(f.ctx, f, b)
		if err == nil {
			require.ErrorIs(t, taken.Err(), nil)
			break
		}
		require.ErrorIs(t, err, db.ErrHeld, "claim until the other has expired")
	}
}

// The model of a lease, as porcupine wants it. Instants are of the wall clock
// in nanoseconds; ends are those that the store was told.
type (
	leaseInput struct {
		kind  leaseKind
		owner db.Owner
		token int64 // of renew and release
		from  int64 // when it was called
		// ends is when the lease of a renewal ended for its holder.
		ends int64
	}
	leaseOutput struct {
		ok bool
		// wrote says that the store took a write, which for a renewal can be
		// so although it came too late to be ok.
		wrote  bool
		holder db.Owner // who it was held by
		token  int64
		now    int64 // of a claim that won: what it took as now
		until  int64 // what the store was told, or had been told
		to     int64 // when it returned
	}
	leaseState struct {
		owner db.Owner
		token int64 // of the claim in force, or of the last
		until int64
	}
	leaseKind int
)

const (
	claim leaseKind = iota
	renew
	release
)

func leaseModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return leaseState{} },
		Step: func(state, input, output any) (bool, any) {
			return stepLease(state.(leaseState), input.(leaseInput), output.(leaseOutput))
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	}
}

func stepLease(s leaseState, in leaseInput, out leaseOutput) (bool, any) {
	switch {
	case in.kind == claim && out.ok:
		free := s.owner.IsZero() || s.owner == in.owner || out.now >= s.until
		return free && out.token > s.token, leaseState{in.owner, out.token, out.until}
	case in.kind == claim:
		// It was held at some instant after the call began.
		return s.owner == out.holder && s.owner != in.owner && s.until == out.until && out.until > in.from, s
	case in.kind == renew:
		mine := s.token == in.token && s.owner == in.owner
		late := out.to >= in.ends-clockJitter
		if out.wrote {
			return mine && (out.ok || late), leaseState{s.owner, s.token, out.until}
		}
		return !out.ok && (!mine || late), s
	default:
		mine := s.token == in.token && s.owner == in.owner
		if out.wrote {
			return mine, leaseState{token: s.token}
		}
		return !mine, s
	}
}

// clockJitter is by how much, in nanoseconds, an elapsed time may differ
// between the wall clock and the monotonic one, which are not read at once.
const clockJitter = 5000

// checkLeaseLinearizable lets owners fight for one lease that is renewed,
// released, and left to expire, and checks that there is an order in which
// nobody got it while another had it.
func checkLeaseLinearizable(t testing.TB, open Open) {
	f := start(t, open)
	const workers, least, most = 4, 200, 2000
	// A few calls long, so that leases expire in the middle of others' calls.
	spec := db.LeaseSpec{Space: "lease", ID: "x", TTL: max(8*f.latency(), 200*time.Microsecond)}
	var h history
	var expired atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, workers)
	s := seed(t)
	for w := range workers {
		wg.Go(func() {
			fighter := leaseFighter{f: f, store: watched{DB: f}, h: &h, worker: w, spec: spec, random: rand.New(rand.NewPCG(s, uint64(w)))}
			fighter.spec.Owner = db.NewOwner()
			for n := 0; n < most && (n < least || expired.Load() < 5); n = h.len() {
				if err := fighter.step(&expired); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.Positive(t, expired.Load(), "no lease was left to expire in %d operations", h.len())
	h.require(t, leaseModel())
}

type leaseFighter struct {
	f      *fixture
	store  watched
	h      *history
	worker int
	spec   db.LeaseSpec
	random *rand.Rand
	lease  *db.Lease
	held   int // claims in a row that found it held
}

// heldSample is how many of such claims there are to one in the history: the
// others change nothing, and would fill it.
const heldSample = 32

// watched notes what became of the last write of one fighter.
type watched struct {
	db.DB
	wrote bool
	until int64
}

func (w *watched) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	results, err := w.DB.Write(ctx, writes...)
	if w.wrote = err == nil && results[0].OK; w.wrote {
		w.until = writes[0].Record.Until.UnixNano()
	}
	return results, err
}

// step does one operation.
func (l *leaseFighter) step(expired *atomic.Int64) error {
	return l.h.call(l.worker, func() (any, any, error) {
		l.store.wrote = false
		in := leaseInput{owner: l.spec.Owner, from: time.Now().UnixNano()}
		if l.lease == nil {
			return l.claim(in)
		}
		in.token = l.lease.Token()
		in.ends = l.lease.Until().Add(-l.spec.TTL / 10).UnixNano()
		switch l.random.IntN(4) {
		case 0:
			in.kind = release
			err := l.lease.Release(l.f.ctx)
			l.lease = nil
			return in, leaseOutput{ok: true, wrote: l.store.wrote}, err
		case 1:
			// As a process that died, and one that starts after it.
			l.lease, l.spec.Owner = nil, db.NewOwner()
			in.owner = l.spec.Owner
			expired.Add(1)
			return l.claim(in)
		default:
			in.kind = renew
			err := l.lease.Renew(l.f.ctx)
			out := leaseOutput{ok: err == nil, wrote: l.store.wrote, until: l.store.until, to: time.Now().UnixNano()}
			if errors.Is(err, db.ErrLost) {
				l.lease, err = nil, nil
			}
			return in, out, err
		}
	})
}

func (l *leaseFighter) claim(in leaseInput) (any, any, error) {
	in.kind = claim
	lease, err := db.Claim(l.f.ctx, &l.store, l.spec)
	if held, ok := errors.AsType[*db.HeldError](err); ok {
		if l.held++; l.held < heldSample || l.held&(l.held-1) != 0 {
			return in, nil, errNotRecorded
		}
		return in, leaseOutput{holder: held.Holder, until: held.Until.UnixNano()}, nil
	}
	l.held = 0
	if err != nil {
		return in, nil, err
	}
	l.lease = lease
	until := lease.Until()
	return in, leaseOutput{ok: true, token: lease.Token(), now: until.Add(-l.spec.TTL).UnixNano(), until: until.UnixNano()}, nil
}
