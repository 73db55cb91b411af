package db

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		begin := time.Now()
		err := Hold(t.Context(), store, leaseSpec(1), func(ctx context.Context, l *Lease) error {
			for range 100 {
				time.Sleep(10 * time.Second)
				require.NoError(t, ctx.Err(), "after %s", time.Since(begin))
				_, err := Claim(ctx, store, leaseSpec(2))
				require.ErrorIs(t, err, ErrHeld)
			}
			return nil
		})
		require.NoError(t, err)
		claimed(t, store, leaseSpec(2)) // it was released

		err = Hold(t.Context(), store, leaseSpec(1), func(context.Context, *Lease) error { return nil })
		require.ErrorIs(t, err, ErrHeld)
		err = Hold(t.Context(), store, LeaseSpec{}, func(context.Context, *Lease) error { return nil })
		require.ErrorIs(t, err, ErrInvalid)
	})
}

func TestHoldReturnsWhatWorkReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		ctx, cancel := context.WithCancel(t.Context())
		err := Hold(ctx, store, leaseSpec(1), func(ctx context.Context, _ *Lease) error {
			cancel()
			<-ctx.Done()
			return errOutage
		})
		require.Equal(t, errOutage, err)
		claimed(t, store, leaseSpec(2)) // released, though ctx has ended
	})
}

// TestHoldEnds: whatever ends the work, the lease is released and the renewals
// have ended (a bubble does not end with a goroutine in it).
func TestHoldEnds(t *testing.T) {
	for name, end := range map[string]func(){
		"panic":  func() { panic("work") },
		"Goexit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := NewMemory()
				done := make(chan any)
				go func() {
					defer close(done)
					defer func() { _ = recover() }()
					_ = Hold(t.Context(), store, leaseSpec(1), func(context.Context, *Lease) error {
						end()
						return nil
					})
				}()
				<-done
				claimed(t, store, leaseSpec(2))
			})
		})
	}
}

func TestHoldLosesItsStore(t *testing.T) {
	for name, workErr := range map[string]error{"work returns nil": nil, "work returns an error": errors.New("interrupted")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &switched{DB: NewMemory()}
				begin := time.Now()
				err := Hold(t.Context(), store, leaseSpec(1), func(ctx context.Context, _ *Lease) error {
					time.Sleep(15 * time.Second) // renewed at 10 s
					store.out.Store(true)
					<-ctx.Done()
					require.ErrorIs(t, context.Cause(ctx), ErrLost)
					require.Equal(t, 37*time.Second, time.Since(begin))
					return workErr
				})
				require.ErrorIs(t, err, ErrLost)
				if workErr != nil {
					require.ErrorIs(t, err, workErr)
				}
			})
		})
	}
}

// switched is a store that can be cut off.
type switched struct {
	DB
	out   atomic.Bool
	hangs bool
}

func (s *switched) Write(ctx context.Context, writes ...Write) ([]Result, error) {
	if s.out.Load() {
		if s.hangs {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, errOutage
	}
	return s.DB.Write(ctx, writes...)
}

// TestHoldSurvivesOutage: renewals are tried again in time, also if the store
// hangs.
func TestHoldSurvivesOutage(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			store := &switched{DB: NewMemory(), hangs: hangs}
			err := Hold(t.Context(), store, leaseSpec(1), func(ctx context.Context, _ *Lease) error {
				time.Sleep(5 * time.Second)
				store.out.Store(true)
				time.Sleep(15 * time.Second)
				store.out.Store(false)
				time.Sleep(time.Minute)
				return ctx.Err()
			})
			require.NoError(t, err, "hangs: %t", hangs)
		})
	}
}

// TestHoldWorkReleases: work gives the lease back before it ends, with the
// context that this ends.
func TestHoldWorkReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		err := Hold(t.Context(), store, leaseSpec(1), func(ctx context.Context, l *Lease) error {
			require.NoError(t, l.Release(ctx))
			require.ErrorIs(t, context.Cause(ctx), ErrReleased)
			claimed(t, store, leaseSpec(2))
			return nil
		})
		require.NoError(t, err, "work may give it back early")
		_, err = Claim(t.Context(), store, leaseSpec(1))
		require.ErrorIs(t, err, ErrHeld, "and the next holder keeps it")
	})
}

func TestHoldStandsBy(t *testing.T) {
	for _, c := range []struct {
		name     string
		end      func(t *testing.T, l *Lease)
		min, max time.Duration
	}{
		{"released", func(t *testing.T, l *Lease) { require.NoError(t, l.Release(t.Context())) }, 5 * time.Second, 17 * time.Second},
		{"expired", func(*testing.T, *Lease) {}, 30 * time.Second, 32 * time.Second},
		{"renewed, then expired", func(t *testing.T, l *Lease) { require.NoError(t, l.Renew(t.Context())) }, 35 * time.Second, 37 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := NewMemory()
				l := claimed(t, store, leaseSpec(1))
				begin := time.Now()
				var wg sync.WaitGroup
				wg.Go(func() {
					time.Sleep(5 * time.Second)
					c.end(t, l)
				})
				spec := leaseSpec(2)
				spec.Wait = true
				err := Hold(t.Context(), store, spec, func(context.Context, *Lease) error {
					waited := time.Since(begin)
					require.GreaterOrEqual(t, waited, c.min)
					require.LessOrEqual(t, waited, c.max)
					return nil
				})
				require.NoError(t, err)
				wg.Wait()
			})
		})
	}
	t.Run("until ctx ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := NewMemory()
			claimed(t, store, leaseSpec(1))
			spec := leaseSpec(2)
			spec.Wait, spec.TTL = true, 0
			spec.Skew = 0
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			err := Hold(ctx, store, spec, func(context.Context, *Lease) error { return nil })
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, ErrHeld, "why it waited")
		})
	})
}

// TestHoldExcludes: eight owners, one lease, outages at random. Nobody works
// while another does, and the tokens rise.
func TestHoldExcludes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		shared := NewMemory()
		var inside atomic.Int32
		var mu sync.Mutex
		var tokens []int64
		var lost atomic.Int32
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Hour)
		defer cancel()
		var wg sync.WaitGroup
		for n := range 8 {
			random := rand.New(rand.NewPCG(seed, uint64(n)))
			store := &switched{DB: shared, hangs: n%2 == 0}
			wg.Go(func() { // outages, of one owner at a time
				for ctx.Err() == nil {
					time.Sleep(time.Duration(random.IntN(600)+1) * time.Second)
					store.out.Store(!store.out.Load())
				}
			})
			work := func(ctx context.Context, l *Lease) error {
				if now := inside.Add(1); now != 1 {
					return fmt.Errorf("%d work at the same time", now)
				}
				defer inside.Add(-1)
				mu.Lock()
				tokens = append(tokens, l.Token())
				mu.Unlock()
				t := time.NewTimer(time.Duration(n*30+5) * time.Second)
				defer t.Stop()
				select {
				case <-ctx.Done():
				case <-t.C:
				}
				return nil
			}
			wg.Go(func() {
				for ctx.Err() == nil {
					spec := leaseSpec(byte(n + 1))
					spec.Wait = true
					err := Hold(ctx, store, spec, work)
					if errors.Is(err, ErrLost) {
						lost.Add(1)
					}
					if err != nil && strings.Contains(err.Error(), "at the same time") {
						t.Error(err)
					}
					time.Sleep(time.Second)
				}
			})
		}
		wg.Wait()
		require.IsIncreasing(t, tokens)
		require.Greater(t, len(tokens), 100, "leases held")
		require.Positive(t, lost.Load(), "leases lost to outages")
	})
}
