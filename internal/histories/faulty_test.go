package histories

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cannedos/cannedos/db"
)

var errFault = errors.New("the answer got lost")

// faulty is what lies between a client and its store: calls take a while, so
// that they overtake each other; requests and answers get lost; and some that
// failed are carried out later. Which, is decided by the seed.
type faulty struct {
	db.DB
	slow   time.Duration  // how long each way takes, at most
	late   sync.WaitGroup // what is carried out later
	faults atomic.Int64   // how many calls were struck

	mu     sync.Mutex
	random *rand.Rand
}

func newFaulty(store db.DB, slow time.Duration, random *rand.Rand) *faulty {
	return &faulty{DB: store, slow: slow, random: random}
}

// dice returns a number below n, and how long a way takes. A few take much
// longer.
func (f *faulty) dice(n int) (int, time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := time.Duration(f.random.Int64N(int64(f.slow)))
	if f.random.IntN(12) == 0 {
		d *= 15
	}
	return f.random.IntN(n), d
}

func (f *faulty) Get(ctx context.Context, space string, ids ...string) ([]db.Record, error) {
	fate, there := f.dice(10)
	_, back := f.dice(1)
	if err := wait(ctx, there); err != nil {
		return nil, err
	}
	records, err := f.DB.Get(ctx, space, ids...)
	if waited := wait(ctx, back); err == nil {
		err = waited
	}
	if err == nil && fate == 0 {
		f.faults.Add(1)
		err = errFault
	}
	if err != nil {
		return nil, err
	}
	return records, nil
}

func (f *faulty) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	fate, there := f.dice(16)
	_, back := f.dice(1)
	switch fate {
	case 0: // the request gets lost
		f.faults.Add(1)
		if err := wait(ctx, there); err != nil {
			return nil, err
		}
		return nil, errFault
	case 1: // it comes after the client has given up, and after what it sends then
		f.faults.Add(1)
		f.carryOutLater(ctx, 20*there, writes)
		if err := wait(ctx, back); err != nil {
			return nil, err
		}
		return nil, errFault
	case 2: // nobody says anything until the client gives up
		f.faults.Add(1)
		f.carryOutLater(ctx, there, writes)
		if err := wait(ctx, 300*f.slow); err != nil {
			return nil, err
		}
		return nil, errFault
	}
	if err := wait(ctx, there); err != nil {
		f.carryOutLater(ctx, there, writes) // it has been sent
		return nil, err
	}
	results, err := f.DB.Write(ctx, writes...)
	if waited := wait(ctx, back); err == nil {
		err = waited
	}
	if err == nil && fate == 3 { // the answer gets lost
		f.faults.Add(1)
		err = errFault
	}
	if err != nil {
		return nil, err
	}
	return results, nil
}

func (f *faulty) carryOutLater(ctx context.Context, d time.Duration, writes []db.Write) {
	ctx = context.WithoutCancel(ctx)
	f.late.Go(func() {
		_ = wait(ctx, d)
		_, _ = f.DB.Write(ctx, writes...)
	})
}

// wait waits for d, or returns why ctx has ended earlier.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
