package dbtest

import (
	"bytes"
	"context"
	"iter"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/cannedos/cannedos/db"
)

// faulty is a healthy store with one promise broken: by a function that stands
// in for a method.
type faulty struct {
	db.DB
	get   func(ctx context.Context, space string, ids []string) ([]db.Record, error)
	write func(ctx context.Context, writes []db.Write) ([]db.Result, error)
	scan  func(ctx context.Context, space string, yield func(db.Record, error) bool)
	close func() error
}

func (f *faulty) Get(ctx context.Context, space string, ids ...string) ([]db.Record, error) {
	if f.get == nil {
		return f.DB.Get(ctx, space, ids...)
	}
	return f.get(ctx, space, ids)
}

func (f *faulty) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	if f.write == nil {
		return f.DB.Write(ctx, writes...)
	}
	return f.write(ctx, writes)
}

func (f *faulty) Scan(ctx context.Context, space string) iter.Seq2[db.Record, error] {
	if f.scan == nil {
		return f.DB.Scan(ctx, space)
	}
	return func(yield func(db.Record, error) bool) { f.scan(ctx, space, yield) }
}

func (f *faulty) Close() error {
	if f.close == nil {
		return f.DB.Close()
	}
	return f.close()
}

// durable makes a faulty store say that it is.
type durable struct{ faulty }

func (*durable) Durable() bool { return true }

// one applies a change to each write on its way, one by one.
func one(healthy db.DB, change func(ctx context.Context, w db.Write) (db.Result, error)) func(context.Context, []db.Write) ([]db.Result, error) {
	return func(ctx context.Context, writes []db.Write) ([]db.Result, error) {
		if err := db.CheckWrites(writes...); err != nil || ctx.Err() != nil {
			return healthy.Write(ctx, writes...) // the error of a healthy one
		}
		results := []db.Result{}
		for _, w := range writes {
			r, err := change(ctx, w)
			if err != nil {
				return nil, err
			}
			results = append(results, r)
		}
		return results, nil
	}
}

func first(results []db.Result, err error) (db.Result, error) {
	if err != nil {
		return db.Result{}, err
	}
	return results[0], nil
}

// current is what a healthy store holds under the name of a write.
func current(healthy db.DB, w db.Write) db.Record {
	records, _ := healthy.Get(context.Background(), w.Record.Space, w.Record.ID)
	if len(records) == 0 {
		return db.Record{}
	}
	return records[0]
}

// force writes whatever is stored.
func force(ctx context.Context, healthy db.DB, w db.Write) (db.Result, error) {
	old := current(healthy, w)
	if old.Version != 0 {
		gone := db.Write{If: old.Version, Record: db.Record{Space: old.Space, ID: old.ID}}
		if r, err := first(healthy.Write(ctx, gone)); err != nil || w.Record.Version == 0 {
			return r, err
		}
	}
	w.If = 0
	return first(healthy.Write(ctx, w))
}

func overwriting(f *faulty, healthy db.DB) {
	f.write = one(healthy, func(ctx context.Context, w db.Write) (db.Result, error) {
		if w.If == 0 {
			return force(ctx, healthy, w)
		}
		return first(healthy.Write(ctx, w))
	})
}

func merging(f *faulty, healthy db.DB) {
	f.write = one(healthy, func(ctx context.Context, w db.Write) (db.Result, error) {
		if w.Record.Version != 0 && len(w.Record.Value) == 0 {
			w.Record.Value = current(healthy, w).Value
		}
		return first(healthy.Write(ctx, w))
	})
}

func ignoringIf(f *faulty, healthy db.DB) {
	f.write = one(healthy, func(ctx context.Context, w db.Write) (db.Result, error) {
		if w.If != 0 && w.Record.Version != 0 {
			return force(ctx, healthy, w)
		}
		return first(healthy.Write(ctx, w))
	})
}

func withoutWinner(f *faulty, healthy db.DB) {
	f.write = one(healthy, func(ctx context.Context, w db.Write) (db.Result, error) {
		r, err := first(healthy.Write(ctx, w))
		return db.Result{OK: r.OK}, err
	})
}

// winningTwice takes its own equal for the version that was expected.
func winningTwice(f *faulty, healthy db.DB) {
	f.write = one(healthy, func(ctx context.Context, w db.Write) (db.Result, error) {
		r, err := first(healthy.Write(ctx, w))
		if r.Current.Version != 0 && r.Current.Equal(w.Record) {
			r = db.Result{OK: true}
		}
		return r, err
	})
}

func losingDeletes(f *faulty, healthy db.DB) {
	f.write = one(healthy, func(ctx context.Context, w db.Write) (db.Result, error) {
		if w.Record.Version == 0 && current(healthy, w).Version == w.If {
			return db.Result{OK: true}, nil
		}
		return first(healthy.Write(ctx, w))
	})
}

func stoppingAtLoser(f *faulty, healthy db.DB) {
	f.write = func(ctx context.Context, writes []db.Write) ([]db.Result, error) {
		results, err := healthy.Write(ctx, writes[:min(1, len(writes))]...)
		for i := 1; i < len(writes) && err == nil; i++ {
			r := db.Result{Current: current(healthy, writes[i])}
			if results[i-1].OK {
				r, err = first(healthy.Write(ctx, writes[i]))
			}
			results = append(results, r)
		}
		return results, err
	}
}

// halving says yes to all of a large batch and does only its first half.
func halving(f *faulty, healthy db.DB) {
	f.write = func(ctx context.Context, writes []db.Write) ([]db.Result, error) {
		if len(writes) < 2 || db.CheckWrites(writes...) != nil || ctx.Err() != nil {
			return healthy.Write(ctx, writes...)
		}
		half := len(writes) - len(writes)/4
		results, err := healthy.Write(ctx, writes[:half]...)
		for range writes[half:] {
			results = append(results, db.Result{OK: true})
		}
		return results, err
	}
}

func roundingUntil(f *faulty, healthy db.DB) {
	f.write = one(healthy, func(ctx context.Context, w db.Write) (db.Result, error) {
		w.Record.Until = w.Record.Until.Truncate(time.Millisecond)
		return first(healthy.Write(ctx, w))
	})
}

func forgettingOwners(f *faulty, healthy db.DB) {
	f.write = one(healthy, func(ctx context.Context, w db.Write) (db.Result, error) {
		w.Record.Owner = db.Owner{}
		return first(healthy.Write(ctx, w))
	})
}

// aliasing shares slices with its callers: it is a store of its own, since a
// healthy one below would copy.
type aliasing struct {
	db.DB
	in, out bool
	mu      sync.Mutex
	values  map[[2]string][]byte
}

func newAliasing(in, out bool) *aliasing {
	return &aliasing{DB: db.NewMemory(), in: in, out: out, values: make(map[[2]string][]byte)}
}

func (a *aliasing) Write(ctx context.Context, writes ...db.Write) ([]db.Result, error) {
	results, err := a.DB.Write(ctx, writes...)
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, r := range results {
		if r.OK {
			w := writes[i].Record
			if !a.in {
				w.Value = bytes.Clone(w.Value)
			}
			a.values[[2]string{w.Space, w.ID}] = w.Value
		} else {
			results[i].Current = a.shared(r.Current)
		}
	}
	return results, err
}

func (a *aliasing) Get(ctx context.Context, space string, ids ...string) ([]db.Record, error) {
	records, err := a.DB.Get(ctx, space, ids...)
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range records {
		records[i] = a.shared(records[i])
	}
	return records, err
}

func (a *aliasing) shared(r db.Record) db.Record {
	if r.Version != 0 {
		r.Value = a.values[[2]string{r.Space, r.ID}]
		if !a.out {
			r.Value = bytes.Clone(r.Value)
		}
	}
	return r
}

func reordering(f *faulty, healthy db.DB) {
	f.get = func(ctx context.Context, space string, ids []string) ([]db.Record, error) {
		ids = slices.Clone(ids)
		slices.Sort(ids)
		return healthy.Get(ctx, space, ids...)
	}
}

func inventing(f *faulty, healthy db.DB) {
	f.get = func(ctx context.Context, space string, ids []string) ([]db.Record, error) {
		found, err := healthy.Get(ctx, space, ids...)
		if err != nil || len(ids) < 2 {
			return found, err
		}
		all := make([]db.Record, 0, len(ids))
		for _, id := range ids {
			if len(found) > 0 && found[0].ID == id {
				all, found = append(all, found[0]), found[1:]
			} else {
				all = append(all, db.Record{Space: space, ID: id})
			}
		}
		return all, nil
	}
}

// mixingSpaces glues the names together without telling them apart, by a slash.
func mixingSpaces(f *faulty, healthy db.DB) { gluing(f, healthy, "/") }

// mixingNUL takes it that there is no zero byte in a name.
func mixingNUL(f *faulty, healthy db.DB) { gluing(f, healthy, "\x00") }

func gluing(f *faulty, healthy db.DB, between string) {
	name := func(space, id string) string { return space + between + id }
	f.write = one(healthy, func(ctx context.Context, w db.Write) (db.Result, error) {
		if len(w.Record.ID) > db.MaxID/2 {
			return first(healthy.Write(ctx, w))
		}
		space, id := w.Record.Space, w.Record.ID
		w.Record.ID = name(space, id)
		w.Record.Space = "all"
		r, err := first(healthy.Write(ctx, w))
		if r.Current.Version != 0 {
			r.Current.Space, r.Current.ID = space, id
		}
		return r, err
	})
	f.get = func(ctx context.Context, space string, ids []string) ([]db.Record, error) {
		var records []db.Record
		for _, id := range ids {
			found, err := healthy.Get(ctx, "all", name(space, id))
			if err != nil {
				return nil, err
			}
			for _, r := range found {
				r.Space, r.ID = space, id
				records = append(records, r)
			}
		}
		return records, nil
	}
}

func takingInvalid(f *faulty, healthy db.DB) {
	f.write = func(ctx context.Context, writes []db.Write) ([]db.Result, error) {
		valid := slices.DeleteFunc(slices.Clone(writes), func(w db.Write) bool { return db.CheckWrites(w) != nil })
		return healthy.Write(ctx, valid...)
	}
}

func cutting(f *faulty, healthy db.DB) {
	f.write = func(ctx context.Context, writes []db.Write) ([]db.Result, error) {
		writes = slices.Clone(writes)
		for i := range writes {
			writes[i].Record.Value = writes[i].Record.Value[:min(len(writes[i].Record.Value), 64<<10)]
		}
		return healthy.Write(ctx, writes...)
	}
}

// splitting halves a batch that is large, and forgets the second half.
func splitting(f *faulty, healthy db.DB) {
	f.write = func(ctx context.Context, writes []db.Write) ([]db.Result, error) {
		size := 0
		for _, w := range writes {
			size += len(w.Record.Value)
		}
		results, err := healthy.Write(ctx, writes...)
		if err != nil || size < db.MaxBatchBytes*3/4 {
			return results, err
		}
		for _, w := range writes[len(writes)/2:] {
			if _, err := force(ctx, healthy, db.Write{If: w.Record.Version, Record: db.Record{Space: w.Record.Space, ID: w.Record.ID}}); err != nil {
				return nil, err
			}
		}
		return results, nil
	}
}

func missingOne(f *faulty, healthy db.DB) {
	f.scan = func(ctx context.Context, space string, yield func(db.Record, error) bool) {
		n := 0
		for r, err := range healthy.Scan(ctx, space) {
			if n++; n == 1001 && err == nil {
				continue
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

func repeatingOne(f *faulty, healthy db.DB) {
	f.scan = func(ctx context.Context, space string, yield func(db.Record, error) bool) {
		n := 0
		for r, err := range healthy.Scan(ctx, space) {
			if n++; n%1001 == 0 && !yield(r, err) || !yield(r, err) {
				return
			}
		}
	}
}

// pagingByNumber asks for page after page of a sorted list, as one does with
// LIMIT and OFFSET.
func pagingByNumber(f *faulty, healthy db.DB) {
	f.scan = func(ctx context.Context, space string, yield func(db.Record, error) bool) {
		const page = 500
		for offset := 0; ; offset += page {
			var all []db.Record
			for r, err := range healthy.Scan(ctx, space) {
				if err != nil {
					yield(r, err)
					return
				}
				all = append(all, r)
			}
			slices.SortFunc(all, func(a, b db.Record) int { return bytes.Compare([]byte(a.ID), []byte(b.ID)) })
			if offset >= len(all) {
				return
			}
			for _, r := range all[offset:min(offset+page, len(all))] {
				if ctx.Err() != nil {
					yield(db.Record{}, ctx.Err())
					return
				}
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

func endingQuietly(f *faulty, healthy db.DB) {
	f.scan = func(ctx context.Context, space string, yield func(db.Record, error) bool) {
		n := 0
		for r, err := range healthy.Scan(ctx, space) {
			if err != nil && n > 0 || !yield(r, err) {
				return
			}
			n++
		}
	}
}

func deaf(f *faulty, healthy db.DB) {
	f.write = func(_ context.Context, writes []db.Write) ([]db.Result, error) {
		return healthy.Write(context.Background(), writes...)
	}
	f.get = func(_ context.Context, space string, ids []string) ([]db.Record, error) {
		return healthy.Get(context.Background(), space, ids...)
	}
}

func immortal(f *faulty, _ db.DB) { f.close = func() error { return nil } }

// racing compares and acts in two steps, with everyone's turn in between.
func racing(f *faulty, healthy db.DB) {
	f.write = one(healthy, func(ctx context.Context, w db.Write) (db.Result, error) {
		if old := current(healthy, w); old.Version != w.If {
			return first(healthy.Write(ctx, w))
		}
		runtime.Gosched()
		return force(ctx, healthy, w)
	})
}

// answeringOld answers every other Get of one id with what the last one found.
func answeringOld(f *faulty, healthy db.DB) {
	var mu sync.Mutex
	old := make(map[string][]db.Record)
	n := 0
	f.get = func(ctx context.Context, space string, ids []string) ([]db.Record, error) {
		found, err := healthy.Get(ctx, space, ids...)
		if err != nil || len(ids) != 1 {
			return found, err
		}
		mu.Lock()
		defer mu.Unlock()
		n++
		if was, ok := old[ids[0]]; ok && n%2 == 0 {
			return was, nil
		}
		old[ids[0]] = found
		return found, nil
	}
}

func keepingUntil(f *faulty, healthy db.DB) {
	f.write = one(healthy, func(ctx context.Context, w db.Write) (db.Result, error) {
		if old := current(healthy, w); w.Record.Version != 0 && !old.Until.IsZero() {
			w.Record.Until = old.Until
		}
		return first(healthy.Write(ctx, w))
	})
}

// flattering tells the second of two claimants that it has won too.
func flattering(f *faulty, healthy db.DB) {
	f.write = one(healthy, func(ctx context.Context, w db.Write) (db.Result, error) {
		if !w.Record.Owner.IsZero() {
			for range 100 { // time for others between a claimant's Get and its Write
				runtime.Gosched()
			}
		}
		r, err := first(healthy.Write(ctx, w))
		if w.If > 0 && !r.Current.Owner.IsZero() && r.Current.Version == w.Record.Version {
			r = db.Result{OK: true}
		}
		return r, err
	})
}
