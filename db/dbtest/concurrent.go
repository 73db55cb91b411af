package dbtest

import (
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

// checkCounter increments counters from many goroutines: each increment that
// won must be in the sum.
func checkCounter(t testing.TB, open Open) {
	f := start(t, open)
	const workers, rounds = counters, increments
	var wg sync.WaitGroup
	errs := make(chan error, workers)
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				if err := f.increment(fmt.Sprint("counter", (w+i)%2)); err != nil {
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
	sum := f.get("s", "counter0").Version + f.get("s", "counter1").Version
	require.EqualValues(t, workers*rounds, sum, "increments that won, and that are there")
}

const counters, increments = 8, 25

// increment repeats compare-and-set until it wins. Whoever loses does so
// because another has won, so there are no more tries than increments.
func (f *fixture) increment(id string) error {
	var version int64
	for range counters*increments + 1 {
		results, err := f.Write(f.ctx, db.Write{If: version, Record: rec("s", id, version+1)})
		if err != nil {
			return err
		}
		if results[0].OK {
			return nil
		}
		version = results[0].Current.Version
	}
	return errors.New("an increment lost more often than others could have won")
}

// seed returns a new seed and logs it.
func seed(t testing.TB) uint64 {
	s := rand.Uint64()
	t.Logf("seed %d", s)
	return s
}

// The model of one record, as porcupine wants it.
type (
	recordInput struct {
		id    string
		get   bool
		write db.Write
	}
	recordOutput struct {
		ok      bool
		unknown bool // of a Write that may still be carried out
		current cell // what Get found, or what Write lost to
	}
	cell struct {
		version int64
		value   string
	}
)

func cellOf(r db.Record) cell { return cell{r.Version, string(r.Value)} }

func recordModel() porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			byID := make(map[string][]porcupine.Operation)
			for _, op := range history {
				id := op.Input.(recordInput).id
				byID[id] = append(byID[id], op)
			}
			var parts [][]porcupine.Operation
			for _, part := range byID {
				parts = append(parts, part)
			}
			return parts
		},
		Init: func() any { return cell{} },
		Step: func(state, input, output any) (bool, any) {
			s, in, out := state.(cell), input.(recordInput), output.(recordOutput)
			if out.unknown && s.version != in.write.If {
				return true, s
			}
			if in.get || !out.ok && !out.unknown {
				return out.current == s && (in.get || s.version != in.write.If), s
			}
			next := cell{}
			if in.write.Record.Version != 0 {
				next = cellOf(in.write.Record)
			}
			return s.version == in.write.If, next
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	}
}

// history collects operations of concurrent workers. Instants are counted, not
// measured, so that their order is the real one.
type history struct {
	now atomic.Int64
	mu  sync.Mutex
	ops []porcupine.Operation
}

// errNotRecorded keeps an operation that changed nothing out of the history.
var errNotRecorded = errors.New("not recorded")

func (h *history) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ops)
}

// call records one operation around do.
func (h *history) call(worker int, do func() (input, output any, err error)) error {
	from := h.now.Add(1)
	input, output, err := do()
	to := h.now.Add(1)
	if errors.Is(err, errNotRecorded) {
		return nil
	}
	if err != nil {
		return err
	}
	h.add(worker, input, output, from, to)
	return nil
}

func (h *history) add(worker int, input, output any, from, to int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: worker, Input: input, Output: output, Call: from, Return: to})
}

// require fails unless the history is linearizable.
func (h *history) require(t testing.TB, model porcupine.Model) {
	t.Helper()
	result := porcupine.CheckOperationsTimeout(model, h.ops, limit)
	require.NotEqual(t, porcupine.Unknown, result, "the checker did not come to an end over %d operations", len(h.ops))
	require.Equal(t, porcupine.Ok, result, "a history of %d operations is not linearizable", len(h.ops))
}

func checkLinearizable(t testing.TB, open Open) {
	f := start(t, open)
	const workers, rounds, records = 4, 75, 2
	var h history
	var wg sync.WaitGroup
	errs := make(chan error, workers)
	s := seed(t)
	for w := range workers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(s, uint64(w)))
			known := make(map[string]int64) // the version last seen, often outdated
			for i := range rounds {
				err := h.call(w, func() (any, any, error) {
					id := fmt.Sprint("r", random.IntN(records))
					return f.randomOp(random, id, fmt.Sprintf("%d.%d", w, i), known)
				})
				if err != nil {
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
	h.require(t, recordModel())
}

// randomOp does one random operation on a record, and notes the version.
func (f *fixture) randomOp(random *rand.Rand, id, value string, known map[string]int64) (any, any, error) {
	kind := random.IntN(10)
	if kind < 3 {
		records, err := f.Get(f.ctx, "s", id)
		if err != nil {
			return nil, nil, err
		}
		var out recordOutput
		if len(records) > 0 {
			out.current = cellOf(records[0])
		}
		known[id] = out.current.version
		return recordInput{id: id, get: true}, out, nil
	}
	version := known[id]
	w := db.Write{If: version, Record: db.Record{Space: "s", ID: id, Version: version + 1, Value: []byte(value)}}
	if kind == 9 && version != 0 {
		w.Record = db.Record{Space: "s", ID: id}
	}
	results, err := f.Write(f.ctx, w)
	if err != nil {
		return nil, nil, err
	}
	if len(results) != 1 {
		return nil, nil, errors.New("not one Result for one Write")
	}
	out := recordOutput{ok: results[0].OK, current: cellOf(results[0].Current)}
	if known[id] = out.current.version; out.ok {
		known[id] = w.Record.Version
	}
	return recordInput{id: id, write: w}, out, nil
}

// latency measures how long one write takes, as the scale for leases.
func (f *fixture) latency() time.Duration {
	f.Helper()
	const n = 10
	begin := time.Now()
	for i := range n {
		f.put(rec("latency", fmt.Sprint(i), 1))
	}
	return time.Since(begin) / n
}
