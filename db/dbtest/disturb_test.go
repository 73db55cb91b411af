package dbtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

var errFault = errors.New("the answer got lost")

// disturbing makes calls of a healthy store fail while it is on: reads, and
// writes before or after they have been carried out, or long before they are.
type disturbing struct {
	faulty
	mu   sync.Mutex
	on   bool
	late sync.WaitGroup
}

func newDisturbing() *disturbing {
	healthy := db.NewMemory()
	d := &disturbing{faulty: faulty{DB: healthy}}
	d.get = func(ctx context.Context, space string, ids []string) ([]db.Record, error) {
		if d.strikes() {
			return nil, errFault
		}
		return healthy.Get(ctx, space, ids...)
	}
	d.write = func(ctx context.Context, writes []db.Write) ([]db.Result, error) {
		if !d.strikes() {
			return healthy.Write(ctx, writes...)
		}
		switch rand.IntN(3) {
		case 0:
			_, _ = healthy.Write(ctx, writes...)
		case 1:
			d.late.Go(func() {
				time.Sleep(rand.N(time.Second))
				_, _ = healthy.Write(context.WithoutCancel(ctx), writes...)
			})
		}
		return nil, errFault
	}
	return d
}

func (d *disturbing) strikes() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.on && rand.IntN(5) == 0
}

func (d *disturbing) set(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.on = on
}

// faults strikes now and then for some seconds.
func (d *disturbing) faults(context.Context) {
	for range 5 {
		d.set(true)
		time.Sleep(time.Second)
		d.set(false)
		time.Sleep(time.Second)
	}
}

func TestDisturb(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newDisturbing()
		defer store.late.Wait()
		saw := Disturb(t, []db.DB{store, store}, store.faults)
		require.Greater(t, saw.Acknowledged, 100)
		require.Greater(t, saw.Unknown, 10)
		require.Greater(t, saw.Claims, 3)
	})
}

// TestDisturbCatches proves Disturb: each store breaks a promise only while it
// is disturbed.
func TestDisturbCatches(t *testing.T) {
	type writing = func(ctx context.Context, writes []db.Write) ([]db.Result, error)
	for name, broken := range map[string]func(d *disturbing, write writing) writing{
		"acknowledges what it drops": func(d *disturbing, write writing) writing {
			return func(ctx context.Context, writes []db.Write) ([]db.Result, error) {
				if d.strikes() {
					return []db.Result{{OK: true}}, nil
				}
				return write(ctx, writes)
			}
		},
		"does not compare": func(d *disturbing, write writing) writing {
			return func(ctx context.Context, writes []db.Write) ([]db.Result, error) {
				if d.strikes() {
					r, err := force(ctx, d.DB, writes[0])
					return []db.Result{r}, err
				}
				return write(ctx, writes)
			}
		},
		"repeats what it has carried out": func(d *disturbing, write writing) writing {
			return func(ctx context.Context, writes []db.Write) ([]db.Result, error) {
				results, err := write(ctx, writes)
				if err == nil && results[0].OK && writes[0].If != 0 && writes[0].Record.Version != 0 && d.strikes() {
					d.late.Go(func() {
						time.Sleep(20 * time.Millisecond)
						_, _ = force(context.WithoutCancel(ctx), d.DB, writes[0])
					})
				}
				return results, err
			}
		},
		"says that it lost": func(d *disturbing, write writing) writing {
			return func(ctx context.Context, writes []db.Write) ([]db.Result, error) {
				results, err := write(ctx, writes)
				if err == nil && results[0].OK && d.strikes() {
					return []db.Result{{}}, nil
				}
				return results, err
			}
		},
		"stays away": func(d *disturbing, write writing) writing {
			gone := false
			return func(ctx context.Context, writes []db.Write) ([]db.Result, error) {
				d.mu.Lock()
				gone = gone || d.on
				away := gone
				d.mu.Unlock()
				if away {
					return nil, errFault
				}
				return write(ctx, writes)
			}
		},
		"says what no fault can cause": func(d *disturbing, write writing) writing {
			return func(ctx context.Context, writes []db.Write) ([]db.Result, error) {
				if d.strikes() {
					return nil, db.ErrDamaged
				}
				return write(ctx, writes)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newDisturbing()
				defer store.late.Wait()
				store.write = broken(store, store.write)
				require.True(t, fails(t, check{run: func(t testing.TB, _ Open) {
					Disturb(t, []db.DB{store}, store.faults)
				}}, nil))
			})
		})
	}
}

// TestDisturbEnded ends the test in the middle: the bubble would tell of what
// goes on after it.
func TestDisturbEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newDisturbing()
		defer store.late.Wait()
		require.True(t, fails(t, check{run: func(t testing.TB, _ Open) {
			Disturb(t, []db.DB{store}, func(context.Context) { t.FailNow() })
		}}, nil))
	})
}

func TestExclusive(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(0, 0).Add(time.Duration(ms) * time.Millisecond) }
	for name, c := range map[string]struct {
		want    bool
		beliefs []belief
	}{
		"one after the other": {true, []belief{{2, at(10), at(20)}, {1, at(0), at(10)}}},
		"at the same time":    {false, []belief{{1, at(0), at(10)}, {2, at(9), at(20)}}},
		"the token fell":      {false, []belief{{2, at(0), at(10)}, {1, at(10), at(20)}}},
		"the token stayed":    {false, []belief{{1, at(0), at(10)}, {1, at(10), at(20)}}},
	} {
		require.Equal(t, c.want, !fails(t, check{run: func(t testing.TB, _ Open) { requireExclusive(t, c.beliefs) }}, nil), name)
	}
}
