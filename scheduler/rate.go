package scheduler

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// rateTick is how often rates are computed, as for the load average of UNIX.
const rateTick = 5 * time.Second

// Rates says how many operations ended per second, averaged with weights that
// decay exponentially with age over one, five and fifteen minutes.
//
// They are computed as the load average of UNIX is (kernel/sched/loadavg.c of
// Linux): each five seconds, with n operations since the time before,
//
//	rate = rate*e + n/5*(1-e), where e = exp(-5s/1min) for One, and so on.
//
// As there, all begin at zero: after a steady minute One shows 63 % of the true
// rate, and Fifteen does after a quarter of an hour. Rejected: to begin at the
// first five seconds, since then a burst at the start is seen for an hour.
type Rates struct {
	One, Five, Fifteen float64
}

// plus returns the rates of two services together.
func (r Rates) plus(other Rates) Rates {
	return Rates{One: r.One + other.One, Five: r.Five + other.Five, Fifteen: r.Fifteen + other.Fifteen}
}

// rate computes Rates of a counter that only grows. It has no goroutine and no
// timer: whoever is about to count, or to read, after a tick was due carries it
// out. It takes the time as an offset that never goes back, and the zero value
// is ready to use; its ticks are at multiples of rateTick, and therefore at the
// same time for all that share the origin of the offset.
type rate struct {
	due atomic.Int64 // when the next tick is, read by each who counts

	mu      sync.Mutex // of a tick, and of a reader
	counted uint64     // of the counter, at the latest tick
	rates   Rates
}

// ripe reports whether a tick is due.
func (r *rate) ripe(now time.Duration) bool { return int64(now) >= r.due.Load() }

// tick carries out the ticks that are due, for a counter that has reached
// total. It must be called before what ends now is counted: what was counted
// since the latest tick then belongs to the first that is due, and all others
// found nothing, however many they are.
func (r *rate) tick(now time.Duration, total uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	due := time.Duration(r.due.Load())
	if now < due {
		return // somebody else did, with a total that may be later
	}
	missed := (now - due) / rateTick
	perSecond := float64(max(total, r.counted)-r.counted) / rateTick.Seconds()
	r.counted = max(total, r.counted)
	r.rates = Rates{
		One:     decay(r.rates.One, perSecond, time.Minute, missed),
		Five:    decay(r.rates.Five, perSecond, 5*time.Minute, missed),
		Fifteen: decay(r.rates.Fifteen, perSecond, 15*time.Minute, missed),
	}
	r.due.Store(int64((now/rateTick + 1) * rateTick))
}

// read returns the rates as of the latest tick.
func (r *rate) read() Rates {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rates
}

// decay is one tick with an observation, and then some without one.
func decay(before, observed float64, span time.Duration, missed time.Duration) float64 {
	ticks := float64(rateTick) / float64(span)
	e := math.Exp(-ticks)
	return (before*e + observed*(1-e)) * math.Exp(-ticks*float64(missed))
}
