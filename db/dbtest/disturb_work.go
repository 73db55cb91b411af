package dbtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cannedos/cannedos/db"
)

// disturbedWorker uses one client.
type disturbedWorker struct {
	*disturbance
	number int
	store  db.DB
	random *rand.Rand
	known  map[string]int64 // versions last seen, often outdated
}

// rest waits, and says whether to go on. A call that failed is followed by a
// longer rest: of a server that is away nothing is learnt by asking it often.
func (w *disturbedWorker) rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.over:
		return false
	case <-ctx.Done():
		return false
	}
}

const (
	betweenCalls = 2 * time.Millisecond
	afterError   = 50 * time.Millisecond
)

// write does random operations on records until it is over.
func (w *disturbedWorker) write(ctx context.Context) error {
	for {
		id := w.record(w.begun.Add(1), w.random.IntN(2))
		failed := false
		err := w.h.call(w.number, func() (any, any, error) {
			in, out, err := w.operation(ctx, id)
			if failed = err != nil; failed {
				if notAFault(err) {
					return nil, nil, err
				}
				if in.get {
					return nil, nil, errNotRecorded
				}
				out.unknown = true
			}
			return in, out, nil
		})
		if err != nil {
			return err
		}
		d := betweenCalls
		if failed {
			d = afterError
		}
		if !w.rest(ctx, d) {
			return nil
		}
	}
}

// notAFault is the error of a worker whose store said what no fault explains.
func notAFault(err error) bool {
	for _, bad := range []error{db.ErrInvalid, db.ErrTooLarge, db.ErrClosed, db.ErrDamaged} {
		if errors.Is(err, bad) {
			return true
		}
	}
	return false
}

// operation does one: a read, a write, sometimes a delete.
func (w *disturbedWorker) operation(ctx context.Context, id string) (recordInput, recordOutput, error) {
	kind := w.random.IntN(10)
	if kind < 3 {
		in := recordInput{id: id, get: true}
		records, err := w.store.Get(ctx, w.space, id)
		if err != nil {
			return in, recordOutput{}, err
		}
		var out recordOutput
		if len(records) > 0 {
			out.current = cellOf(records[0])
		}
		w.known[id] = out.current.version
		return in, out, nil
	}
	version := w.known[id]
	next := db.Record{Space: w.space, ID: id}
	if kind < 9 || version == 0 {
		next.Version = w.versions.Add(1)
		next.Value = fmt.Appendf(nil, "%d", next.Version)
	}
	in := recordInput{id: id, write: db.Write{If: version, Record: next}}
	out, err := w.send(ctx, in.write)
	if out.ok {
		w.known[id] = next.Version
	} else {
		w.known[id] = out.current.version
	}
	return in, out, err
}

// send sends a write. A replacement that failed is sometimes sent again, as the
// contract allows; a creation is not, since the first one may come late, when
// the second has been carried out and deleted by others.
func (w *disturbedWorker) send(ctx context.Context, write db.Write) (recordOutput, error) {
	again := write.If != 0 && write.Record.Version != 0 && w.random.IntN(2) == 0
	results, err := w.store.Write(ctx, write)
	unsure := err != nil
	for err != nil && again && !notAFault(err) && w.rest(ctx, afterError) {
		results, err = w.store.Write(ctx, write)
	}
	if err != nil {
		w.untold.Add(1)
		return recordOutput{}, err
	}
	w.told.Add(1)
	switch r := results[0]; {
	case r.OK:
		return recordOutput{ok: true}, nil
	case !unsure:
		return recordOutput{current: cellOf(r.Current)}, nil
	case write.Won(r):
		return recordOutput{ok: true}, nil
	default: // lost, or won and then replaced by others
		return recordOutput{unknown: true}, nil
	}
}

// disturbedTTL is long enough that calls fit in, and short enough that leases
// end while a server is away.
const disturbedTTL = 600 * time.Millisecond

// hold fights for a lease until it is over, and notes when it had it.
func (w *disturbedWorker) hold(ctx context.Context) error {
	spec := db.LeaseSpec{Space: w.space + "-lease", ID: "x", TTL: disturbedTTL, Skew: disturbedTTL / 10}
	for {
		spec.Owner = db.NewOwner()
		lease, err := db.Claim(ctx, w.store, spec)
		d := afterError / 2
		switch {
		case err == nil:
			w.believe(ctx, lease, spec)
		case notAFault(err):
			return err
		case !errors.Is(err, db.ErrHeld):
			d = afterError
		}
		if !w.rest(ctx, d) {
			return nil
		}
	}
}

// believe works under a lease for a while, and leaves it in one of the ways
// that there are.
func (w *disturbedWorker) believe(ctx context.Context, l *db.Lease, spec db.LeaseSpec) {
	b := belief{token: l.Token(), from: time.Now().Round(0)}
	for range w.random.IntN(6) {
		if !w.rest(ctx, spec.TTL/4) || errors.Is(l.Renew(ctx), db.ErrLost) {
			break
		}
	}
	b.to = l.Until().Add(-spec.Skew)
	release := w.random.IntN(2) == 0
	if now := time.Now().Round(0); (release || l.Err() != nil) && now.Before(b.to) {
		b.to = now
	}
	if b.from.Before(b.to) {
		w.mu.Lock()
		w.beliefs = append(w.beliefs, b)
		w.mu.Unlock()
	}
	if release { // else as a process that died
		_ = l.Release(ctx)
	}
}
