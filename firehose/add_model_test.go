package firehose_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// addWorld is one fleet with a life of adding, removing, pausing and restarts, which
// its seed decides.
type addWorld struct {
	t        *testing.T
	rng      *rand.Rand
	oneByOne bool
	restarts bool // then no Spec changes: whether a start finds one that is due in time to change it is open
	all      []resource.Spec
	net      *script
	config   firehose.Config
	r        *rig
	log      []string // what was answered, and how things stood after it
}

// What an Add of many brings about, and what it answers, is what one Add for each
// of them does, one after the other.
func TestAddAsOneByOne(t *testing.T) {
	for seed := range uint64(lighter(12, 4)) {
		var logs [2][]string
		for i := range logs {
			bubble(t, func(t *testing.T) { logs[i] = liveOfAdds(t, seed, i == 1) })
		}
		require.Equal(t, logs[1], logs[0], "seed %d", seed)
	}
}

func liveOfAdds(t *testing.T, seed uint64, oneByOne bool) []string {
	w := &addWorld{
		t: t, rng: rand.New(rand.NewPCG(seed, 7)), oneByOne: oneByOne, restarts: seed%2 == 0,
		all: apart([]int{6, 40, 400}[seed%3]),
	}
	for i := range w.all {
		w.all[i].Interval = time.Duration(i%3) * 25 * time.Second
	}
	w.net = newScript(func(c call) reply {
		return reply{body: "x", slow: 3 * time.Second, header: map[string]string{"X-Poll-Interval": "20"}}
	})
	w.config = firehose.Config{Workers: 1024, Publishers: 64, Resources: w.all[:3]}
	if seed%4 < 3 {
		w.config.DB = db.NewMemory()
	}
	w.start()
	for step := range 14 {
		pass(time.Duration(w.rng.IntN(12_000)) * time.Millisecond)
		w.log = append(w.log, fmt.Sprintf("step %d", step))
		w.step()
		w.look()
	}
	pass(2 * time.Minute)
	w.look()
	require.NoError(t, w.r.stop())
	return w.log
}

func (w *addWorld) start() {
	w.r = start(w.t, w.net, w.config)
	require.NoError(w.t, w.r.Ready(w.t.Context()))
	synctest.Wait()
}

func (w *addWorld) step() {
	ctx, one := w.t.Context(), func() resource.ID { return id(w.t, w.all[w.rng.IntN(len(w.all))]) }
	answer := func(err error) { w.log = append(w.log, fmt.Sprint(err)) }
	switch n := w.rng.IntN(12); {
	case n < 6:
		w.add()
	case n < 8: // some are added again before they are out
		for range 1 + len(w.all)/4 {
			answer(w.r.Remove(ctx, one()))
		}
		if n == 6 {
			w.add()
		}
	case n < 9:
		answer(w.r.Pause(ctx, one()))
	case n < 10:
		answer(w.r.Resume(ctx, one()))
	case w.restarts:
		require.NoError(w.t, w.r.stop())
		w.start()
	}
}

// add adds some, of which a few are named twice, and otherwise each time.
func (w *addWorld) add() {
	var specs []resource.Spec
	for range 1 + w.rng.IntN(2*len(w.all)) {
		spec := w.all[w.rng.IntN(len(w.all))]
		if !w.restarts {
			spec.Interval, spec.Priority = time.Duration(w.rng.IntN(3))*25*time.Second, int8(w.rng.IntN(2))
		}
		specs = append(specs, spec)
	}
	if !w.oneByOne {
		if err := w.r.Add(w.t.Context(), specs...); err != nil {
			w.log = append(w.log, err.Error())
		}
		return
	}
	var text strings.Builder
	for _, spec := range specs {
		if err := w.r.Add(w.t.Context(), spec); err != nil {
			require.ErrorIs(w.t, err, queue.ErrExists)
			text.WriteString("\n" + err.Error())
		}
	}
	if text.String() != "" {
		w.log = append(w.log, text.String()[1:])
	}
}

// look writes down how all resources stand, what the registry says, and when each
// was asked.
func (w *addWorld) look() {
	synctest.Wait()
	for _, spec := range w.all {
		e, err := w.r.Explain(w.t.Context(), id(w.t, spec))
		w.log = append(w.log, fmt.Sprint(spec.URI, " ", err, " ", e.Queue, " ", e.State, " ", e.Until, " ", w.net.times(spec.URI)))
	}
	if w.config.DB == nil {
		return
	}
	for _, spec := range w.all {
		found, err := w.config.DB.Get(w.t.Context(), "registry", id(w.t, spec).String())
		require.NoError(w.t, err)
		for _, rec := range found {
			w.log = append(w.log, fmt.Sprintf("%s wished: %s", spec.URI, rec.Value))
		}
	}
}
