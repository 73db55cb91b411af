package resource

import "time"

// Waits of a bucket that the origin does not name itself.
const (
	AfterReset     = time.Second      // added to every reset: an origin may still refuse at the very second (rule G-12)
	LimitFallback  = time.Minute      // a limit without any instant: at least this, growing (rules G-13, S-429)
	CredentialWait = time.Hour        // a credential that was not accepted is tried again only after this, growing (rule S-401)
	EdgeWait       = time.Minute      // the first wait of an EdgeError, then doubling (rule S-edge)
	MaxLimitWait   = 24 * time.Hour   // the longest wait of our own making; the origin's own are not cut
	MaxLimitJitter = 30 * time.Second // most that is added to a wait for a limit (rule S-backoff)

	windowSlack = 2 * time.Second // resets this near belong to the same window: seconds and latency blur them
	believed    = 3               // answers in a row that make us believe what contradicts what is known
	farFuture   = 100 * 365 * 24 * time.Hour
)

// Bucket is a quota inside a scope, as far as answers have taught it: a plain
// value. One registry in the process owns the living one under a lock; what
// everybody else holds is a snapshot and advisory.
//
// A request passes it like this: Admit says Ready, Take counts it as in flight,
// and exactly one of Settle (an answer came), Lose (it left, and none came) and
// Release (it never left) ends it. From whatever state there is an instant, or
// an answer in flight, after which Admit says Ready.
//
// The zero Bucket has never had an answer: it admits one request alone, which
// finds out how things stand.
type Bucket struct {
	// Known says that an answer has told Limit, Remaining and Reset.
	Known     bool
	Limit     int64         // requests in a window
	Remaining int64         // least that any answer of this window told
	Reset     time.Time     // end of the window, on the clock of this process
	window    time.Time     // Reset as the origin's clock has it: what tells windows apart
	since     time.Time     // when this window was first heard of; zero: in a former run
	lag       time.Duration // added to the reset, so that not everybody comes back at once
	older     uint8         // answers in a row that told an older window, though asked for since

	// Unsaid counts the requests of this window whose answers never told what
	// they cost: they count as spent until the answer to a later request tells.
	Unsaid   int64
	unsaidAt time.Time // when the last of them ended

	// Reserve is what the user keeps for other programs: requests that this
	// bucket hands out in no window that it knows. The one request that asks
	// after the reset is exempt, or nothing would ever be known again.
	Reserve int64
	// ReservePercent is the same as a share of Limit, rounded up. The larger of
	// the two counts.
	ReservePercent uint8

	// Park is the instant before which nothing may be sent, because of Why.
	Park    time.Time
	Why     Reason // the limit behind Park
	Strikes uint8  // limits in a row; they make the fallback wait grow

	Cap      int // how many requests may be in flight together; 0: no bound
	InFlight int // requests taken and not ended

	// Answered says that any answer has come. Until then, after a takeover,
	// after a limit that named no instant, and after a reset, requests go one at
	// a time.
	Answered bool
	// ProbeFrom is the instant before which not even the single request may go.
	ProbeFrom time.Time
	probeWhy  Reason
	edges     uint8 // requests after the reset, in a row, that brought no word

	// Slot is the first instant that the declared rate allows; zero: no rate.
	Slot time.Time
}

// Snapshot is what deciding needs to know of the buckets of one resource. For a
// resource whose bucket has no name, Quota is the zero value with Answered set.
type Snapshot struct {
	Scope Bucket // the scope as a whole
	Quota Bucket // the named quota inside it
	Host  Host   // the server behind both
}

// Admit says whether the bucket lets one more request go at the instant now:
// Ready, or Line with the first instant that can change that (zero when only
// an answer in flight can).
func (b *Bucket) Admit(now time.Time) (d Decision) {
	b.admit(now, &d)
	return d
}

// admit writes into d, which is zero, what Admit says. (Handed up by value
// through three functions, the decision cost twice the time of making it.)
func (b *Bucket) admit(now time.Time, d *Decision) {
	if ahead(b.Park, now) {
		d.wait(b.Park, b.Why)
		return
	}
	if ahead(b.ProbeFrom, now) {
		d.wait(b.ProbeFrom, b.probeWhy)
		if b.probeWhy == ReasonEdge {
			d.State = EdgeError
		}
		return
	}
	why, inForce, opens := ReasonDue, false, time.Time{}
	if b.Known {
		opens = b.opens()
		inForce = now.Before(opens)
	}
	if !b.Answered || b.Known && !inForce {
		why = ReasonProbe // nothing is known, or what was known has expired
		if b.InFlight > 0 {
			d.wait(time.Time{}, ReasonProbe)
			return
		}
	}
	left := b.left() - int64(b.InFlight)
	switch {
	case b.Cap > 0 && b.InFlight >= b.Cap:
		d.wait(time.Time{}, ReasonConcurrency)
	case inForce && left <= b.reserved():
		if !b.exhausted() {
			opens = time.Time{} // an answer in flight may still say that it was free
		}
		d.wait(opens, ReasonPrimary)
		if left > 0 {
			d.Why = ReasonReserve
		}
	case ahead(b.Slot, now):
		d.wait(b.Slot, ReasonPace)
	default:
		d.Why = why
	}
}

// wait makes d a wait in the line.
func (d *Decision) wait(at time.Time, why Reason) {
	d.Kind, d.State, d.At, d.Why = Line, WaitingForReset, at, why
}

// ahead reports whether t is still to come. Most of the instants of most buckets
// are zero, which is cheaper to see than to compare.
func ahead(t, now time.Time) bool { return t != time.Time{} && now.Before(t) }

// left is what remains of the window, but for what is in flight.
func (b *Bucket) left() int64 { return b.Remaining - b.Unsaid }

// reserved is what of the known window is kept for others. A percentage leaves
// at least one request, or a small quota would never be used.
func (b *Bucket) reserved() int64 {
	if b.ReservePercent == 0 {
		return b.Reserve
	}
	limit := min(b.Limit, 1<<50) // the product fits
	share := (limit*int64(min(b.ReservePercent, 100)) + 99) / 100
	return max(b.Reserve, min(share, limit-1))
}

// Left is how many requests of the known window remain by the latest word, less
// what is reserved.
func (b *Bucket) Left() int64 { return max(0, b.Remaining-b.reserved()) }

// Spare is how many requests of the known window may still be sent: what
// remains, less what is reserved and what is in flight or of unknown cost.
func (b *Bucket) Spare() int64 { return max(0, b.left()-b.reserved()-int64(b.InFlight)) }

// exhausted reports whether the window has nothing left, whatever the requests
// in flight turn out to cost.
func (b *Bucket) exhausted() bool { return b.left() <= b.reserved() }

// inForce reports whether the window that is known may still be running.
func (b *Bucket) inForce(now time.Time) bool { return b.Known && now.Before(b.opens()) }

// opens is when the window that is known has certainly ended.
func (b *Bucket) opens() time.Time { return b.Reset.Add(AfterReset + b.lag) }

// Take counts a request as in flight. The caller has asked Admit under the same
// lock.
func (b *Bucket) Take() { b.InFlight++ }

// Renew ends a park that is there because the credential was not accepted: it
// has changed since. One request alone finds out whether that helped. Parks for
// other reasons stay (rule D-8).
func (b *Bucket) Renew() {
	if b.Why == ReasonCredential {
		b.Park, b.Why, b.Strikes, b.Answered = time.Time{}, ReasonNone, 0, false
	}
}

// Release takes a request back that certainly never left.
func (b *Bucket) Release() { b.InFlight = max(0, b.InFlight-1) }

// TakeOver forgets what only a living process can know, after a restart or from
// another process: call it before the first Take. Requests of the former run
// count as spent, and until the instant from one of them may still be on its
// way; then one request alone finds out how things stand. Parks, resets, edge
// cases and what remained stay.
func (b *Bucket) TakeOver(from time.Time) {
	if b.Known {
		b.Unsaid += int64(b.InFlight)
		if from.After(b.unsaidAt) {
			b.unsaidAt = from
		}
	}
	b.InFlight, b.Answered = 0, false
	if from.After(b.ProbeFrom) {
		b.ProbeFrom, b.probeWhy = from, ReasonSettling
	}
}

// within is t, at most a century from now: what every encoding holds.
func within(t, now time.Time) time.Time {
	if last := now.Add(farFuture); t.After(last) {
		return last
	}
	return t
}

// grow is base doubled n times, at most most. It cannot overflow.
func grow(base time.Duration, n uint8, most time.Duration) time.Duration {
	for ; n > 0 && base < most; n-- {
		base *= 2
	}
	return min(base, most)
}

func satInc(n uint8) uint8 { return min(n, 254) + 1 }
