package scheduler

import (
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// each applies f to the three rates and their spans.
func each(r Rates, f func(got float64, span time.Duration)) {
	f(r.One, time.Minute)
	f(r.Five, 5*time.Minute)
	f(r.Fifteen, 15*time.Minute)
}

// marker counts as a gauge does: it ticks before it counts.
type marker struct {
	rate  rate
	total uint64
}

func (m *marker) mark(now time.Duration, n uint64) {
	if m.rate.ripe(now) {
		m.rate.tick(now, m.total)
	}
	m.total += n
}

func (m *marker) read(now time.Duration) Rates {
	m.mark(now, 0)
	return m.rate.read()
}

// A steady rate is approached as 1-exp(-t/span).
func TestRateOfASteadyService(t *testing.T) {
	var m marker
	for tick := range 1000 {
		now := time.Duration(tick) * rateTick
		each(m.read(now), func(got float64, span time.Duration) {
			require.InDelta(t, 20*(1-math.Exp(-float64(now)/float64(span))), got, 1e-9, "%v after %v", span, now)
		})
		for i := range 100 { // 20 a second
			m.mark(now+time.Duration(i)*50*time.Millisecond, 1)
		}
	}
}

// What is between two ticks is seen at the second one.
func TestRateMovesAtTicks(t *testing.T) {
	var m marker
	m.mark(7*time.Second, 60)
	require.Zero(t, m.read(10*time.Second-1))
	each(m.read(10*time.Second), func(got float64, span time.Duration) {
		require.InDelta(t, 12*(1-math.Exp(-float64(rateTick)/float64(span))), got, 1e-12)
	})
	before := m.rate.read()
	require.Equal(t, before, m.read(15*time.Second-1))
	require.Less(t, m.read(15*time.Second).One, before.One)
}

// However long nobody looked, the answer is as if each tick had been made when
// it was due, and it takes no longer.
func TestRateAfterIdling(t *testing.T) {
	for _, idle := range []time.Duration{0, 1, rateTick - 1, rateTick, 3 * rateTick, time.Minute, time.Hour, 24 * time.Hour} {
		var lazy, eager marker
		lazy.mark(time.Second, 1000)
		eager.mark(time.Second, 1000)
		for now := time.Second; now < rateTick+idle; now += time.Second {
			eager.mark(now, 0)
		}
		one, other := lazy.read(rateTick+idle), eager.read(rateTick+idle)
		ticks := math.Floor(float64(idle) / float64(rateTick))
		each(one, func(got float64, span time.Duration) {
			e := math.Exp(-float64(rateTick) / float64(span))
			require.InDelta(t, 200*(1-e)*math.Pow(e, ticks), got, 1e-9, "%v after %v", span, idle)
		})
		require.InDelta(t, other.One, one.One, 1e-9)
		require.InDelta(t, other.Five, one.Five, 1e-9)
		require.InDelta(t, other.Fifteen, one.Fifteen, 1e-9)
	}
	var m marker
	m.mark(time.Second, 1_000_000)
	each(m.read(math.MaxInt64), func(got float64, _ time.Duration) { require.Zero(t, got) })
}

// A counter that began long after the origin has missed nothing.
func TestRateThatBeginsLate(t *testing.T) {
	var m marker
	m.mark(1000*time.Hour+time.Second, 50)
	require.Zero(t, m.rate.read())
	require.InDelta(t, 10*(1-math.Exp(-1.0/12)), m.read(1000*time.Hour+rateTick).One, 1e-9)
}

// Of two who tick, the one that is late, or whose total is older, does no harm.
func TestRateOfRivals(t *testing.T) {
	var r rate
	r.tick(0, 0)
	r.tick(rateTick, 100)
	want := r.read()
	r.tick(rateTick, 90)
	r.tick(rateTick/2, 200)
	require.Equal(t, want, r.read())
	r.tick(2*rateTick, 90)
	require.InDelta(t, want.One*math.Exp(-1.0/12), r.read().One, 1e-12)
	r.tick(3*rateTick, 110)
	require.InDelta(t, want.One*math.Exp(-2.0/12)+2*(1-math.Exp(-1.0/12)), r.read().One, 1e-12)

	var contended rate
	contended.tick(0, 0)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for now := range 1000 * time.Second / time.Millisecond {
				if at := now * time.Millisecond; contended.ripe(at) {
					contended.tick(at, uint64(at/rateTick)*50)
				}
				if now%100 == 0 {
					contended.read()
				}
			}
		})
	}
	all.Wait()
	// A rival that lags behind ticks nothing twice: this is the rate of 199 ticks.
	require.InDelta(t, 10*(1-math.Exp(-199.0/12)), contended.read().One, 1e-6)
}
