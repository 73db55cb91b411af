package resource

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// spend sends one request at sent that is answered by l at now.
func spend(b *Bucket, l *Lesson, sent, now time.Duration) {
	b.Take()
	b.Settle(l, at(sent), at(now), false)
}

const sec = time.Second

// Peer go-github-2: answers that come late overwrite what newer ones have told.
func TestD6_AnswersOutOfOrder(t *testing.T) {
	b := known(10, at(100*sec))
	spend(&b, quota(7, at(100*sec)), 1*sec, 5*sec)
	spend(&b, quota(9, at(100*sec)), 1*sec, 6*sec) // the same window takes the least
	require.EqualValues(t, 7, b.Remaining)
	spend(&b, quota(8, at(102*sec)), 1*sec, 6*sec) // a second or two apart is the same window
	require.EqualValues(t, 7, b.Remaining)
	require.Equal(t, at(102*sec), b.Reset, "whose end is the later one")

	spend(&b, quota(99, at(160*sec)), 7*sec, 8*sec) // a newer one replaces
	require.EqualValues(t, 99, b.Remaining)
	require.Equal(t, at(160*sec), b.Reset)

	spend(&b, quota(2, at(100*sec)), 6*sec, 9*sec) // an older one comes late and is ignored
	require.EqualValues(t, 99, b.Remaining)
	require.Equal(t, at(160*sec), b.Reset)
	require.Zero(t, b.Unsaid, "it was counted in a window that is over")
	require.Equal(t, Ready, b.Admit(at(9*sec)).Kind)

	refused := quota(0, at(100*sec)) // unless it is a rejection with nothing left
	refused.Kind, refused.Until = PrimaryLimit, at(20*sec)
	spend(&b, refused, 6*sec, 10*sec)
	require.EqualValues(t, 99, b.Remaining)
	require.Equal(t, Decision{Kind: Line, State: WaitingForReset, At: at(70 * sec), Why: ReasonPrimary}, b.Admit(at(11*sec)))
}

// A reset that was told by mistake, or by a clock that has been put right since,
// must not hold until it comes: it may lie a year ahead.
func TestD6_AnOriginMayTakeAWindowBack(t *testing.T) {
	b := known(50, at(300*24*time.Hour))
	for n := range 2 {
		spend(&b, quota(40-int64(n), at(100*sec)), time.Duration(1+n)*sec, time.Duration(1+n)*sec)
		require.EqualValues(t, 50, b.Remaining)
		require.EqualValues(t, n+1, b.Unsaid, "asked for in this window, and its cost was not told")
	}
	spend(&b, quota(38, at(100*sec)), 3*sec, 3*sec)
	require.EqualValues(t, 38, b.Remaining)
	require.Equal(t, at(100*sec), b.Reset)
	require.Zero(t, b.Unsaid)

	b = known(50, at(1000*sec))
	spend(&b, quota(40, at(100*sec)), 1*sec, 1*sec)
	spend(&b, quota(40, at(100*sec)), 1*sec, 1*sec)
	spend(&b, quota(48, at(1000*sec)), 2*sec, 2*sec) // not in a row
	spend(&b, quota(40, at(100*sec)), 3*sec, 3*sec)
	require.Equal(t, at(1000*sec), b.Reset)
}

// Peer go-github-1: an answer without rate headers, of a proxy or of a server
// whose limits are off, overwrites what is known with zeros.
func TestD7_NoHeadersNoWrite(t *testing.T) {
	for name, l := range map[string]*Lesson{"200": {}, "502": {Failure: true}, "cache": {Cached: true}} {
		b := known(3, at(time.Hour))
		spend(&b, l, 1*sec, 2*sec)
		require.True(t, b.Known, name)
		require.EqualValues(t, 3, b.Remaining, name)
		require.Equal(t, at(time.Hour), b.Reset, name)
		require.EqualValues(t, 100, b.Limit, name)
	}
	// After the reset, too, one answer without headers is not the end of the limit.
	b := known(0, at(100*sec))
	spend(&b, &Lesson{}, 101*sec, 102*sec)
	require.True(t, b.Known)
}

// Peer gofri-5: the timer of an older limit clears whatever is noted when it
// fires, and so forgets a newer one.
func TestD8_ParksOnlyLengthen(t *testing.T) {
	b := Bucket{Answered: true}
	for range 3 {
		b.Take()
	}
	b.Settle(&Lesson{Kind: SecondaryLimit, Until: at(300 * sec)}, at(0), at(1*sec), false)
	b.Settle(&Lesson{Kind: OverloadLimit, Until: at(60 * sec)}, at(0), at(2*sec), false)
	require.Equal(t, Decision{Kind: Line, State: WaitingForReset, At: at(300 * sec), Why: ReasonSecondary}, b.Admit(at(60*sec)))
	b.Settle(quota(99, at(30*sec)), at(0), at(3*sec), false)
	require.Equal(t, at(300*sec), b.Admit(at(60*sec)).At)
	b.TakeOver(at(30 * sec))
	require.Equal(t, at(300*sec), b.Admit(at(60*sec)).At)
	b.Lose(at(0), at(10*sec))
	b.Release()
	require.Equal(t, at(300*sec), b.Admit(at(60*sec)).At)
}

// Peer gofri-1: a limit is noted only once a request was rejected: a 200 that
// says that nothing remains is ignored.
// Peer url-frontier-1: whether the delay is over was asked first and noted
// later, so that two clients got the same turn.
func TestD2_TakenRequestsCountAtOnce(t *testing.T) {
	b := known(3, at(100*sec))
	for range 3 {
		require.Equal(t, Decision{Kind: Ready, Why: ReasonDue}, b.Admit(at(1*sec)))
		b.Take()
	}
	// What is in flight may still turn out to be free, so only an answer changes this.
	require.Equal(t, Decision{Kind: Line, State: WaitingForReset, Why: ReasonPrimary}, b.Admit(at(1*sec)))
	b.Settle(quota(3, at(100*sec)), at(1*sec), at(2*sec), true)
	require.Equal(t, Ready, b.Admit(at(2*sec)).Kind, "it was free")
	b.Settle(quota(2, at(100*sec)), at(1*sec), at(2*sec), false)
	b.Settle(quota(1, at(100*sec)), at(1*sec), at(2*sec), false)
	b.Take()
	b.Settle(quota(0, at(100*sec)), at(2*sec), at(3*sec), false)
	require.Equal(t, Decision{Kind: Line, State: WaitingForReset, At: at(101 * sec), Why: ReasonPrimary}, b.Admit(at(3*sec)))

	b = known(2, at(100*sec))
	b.Take()
	b.Take()
	b.Settle(quota(0, at(100*sec)), at(1*sec), at(2*sec), false)
	require.Equal(t, at(101*sec), b.Admit(at(2*sec)).At, "nothing is left whatever the other one costs")
}

func TestD4_LostRequestsCountAsSpent(t *testing.T) {
	b := known(2, at(100*sec))
	b.Take()
	b.Take()
	b.Lose(at(1*sec), at(30*sec))
	require.EqualValues(t, 1, b.Unsaid)
	require.Zero(t, b.Admit(at(30*sec)).At)
	b.Settle(quota(1, at(100*sec)), at(2*sec), at(31*sec), false)
	require.EqualValues(t, 1, b.Unsaid, "the answer to an earlier request does not tell whether it was counted")
	require.Equal(t, at(101*sec), b.Admit(at(31*sec)).At)

	b = known(5, at(100*sec))
	b.Take()
	b.Lose(at(1*sec), at(30*sec))
	spend(&b, quota(4, at(100*sec)), 31*sec, 32*sec)
	require.Zero(t, b.Unsaid, "the answer to a later one does")
	require.EqualValues(t, 4, b.Remaining)

	b = Bucket{}
	b.Take()
	b.Lose(at(0), at(1*sec))
	require.Equal(t, Decision{Kind: Ready, Why: ReasonProbe}, b.Admit(at(1*sec)), "a probe that was lost is made again")
}

func TestD4_ReleasedRequestsNeverWere(t *testing.T) {
	b := known(1, at(100*sec))
	b.Take()
	b.Release()
	require.Equal(t, Decision{Kind: Ready, Why: ReasonDue}, b.Admit(at(1*sec)))
	b.Release()
	require.Zero(t, b.InFlight)
}

// What is not known is asked by one request alone, and any answer ends that.
func TestD4_UnknownIsAskedSerially(t *testing.T) {
	for name, l := range map[string]*Lesson{"told": quota(5, at(100*sec)), "silent": {}, "failure": {Failure: true}, "cache": {Cached: true}} {
		var b Bucket
		require.Equal(t, Decision{Kind: Ready, Why: ReasonProbe}, b.Admit(at(0)), name)
		b.Take()
		require.Equal(t, Decision{Kind: Line, State: WaitingForReset, Why: ReasonProbe}, b.Admit(at(0)), name)
		b.Settle(l, at(0), at(1*sec), false)
		require.Equal(t, Decision{Kind: Ready, Why: ReasonDue}, b.Admit(at(1*sec)), name)
		b.Take()
		require.Equal(t, Ready, b.Admit(at(1*sec)).Kind, "%s: and the next go together", name)
	}
}

func TestD4_TakeOver(t *testing.T) {
	b := known(5, at(1000*sec))
	b.Park, b.Why = at(10*sec), ReasonSecondary
	b.Take()
	b.Take()
	b.TakeOver(at(60 * sec))
	require.Equal(t, Decision{Kind: Line, State: WaitingForReset, At: at(10 * sec), Why: ReasonSecondary}, b.Admit(at(5*sec)), "parks stay")
	require.Equal(t, Decision{Kind: Line, State: WaitingForReset, At: at(60 * sec), Why: ReasonSettling}, b.Admit(at(10*sec)))
	require.Equal(t, Decision{Kind: Ready, Why: ReasonProbe}, b.Admit(at(60*sec)))
	b.Take()
	require.Equal(t, Decision{Kind: Line, State: WaitingForReset, Why: ReasonProbe}, b.Admit(at(60*sec)))
	require.EqualValues(t, 2, b.Unsaid, "requests of the former run may have been counted")
	b.Settle(quota(4, at(1000*sec)), at(61*sec), at(62*sec), false)
	require.Zero(t, b.Unsaid)
	require.Equal(t, Decision{Kind: Ready, Why: ReasonDue}, b.Admit(at(62*sec)))
}

// The one request after a takeover is no licence: a window that was exhausted
// before it, and is still running, has nothing for it.
func TestD20_AnExhaustedWindowSurvivesATakeOver(t *testing.T) {
	b := known(0, at(1000*sec))
	b.TakeOver(at(60 * sec))
	require.Equal(t, at(1001*sec), b.Admit(at(60*sec)).At)
	require.Equal(t, Decision{Kind: Ready, Why: ReasonProbe}, b.Admit(at(1001*sec)))

	b = known(1, at(1000*sec))
	b.Take() // on its way when the process died
	b.TakeOver(at(60 * sec))
	require.Equal(t, at(1001*sec), b.Admit(at(60*sec)).At)

	b = known(0, at(100*sec)) // a crash loop does not shorten an edge case
	spend(&b, &Lesson{Failure: true}, 101*sec, 102*sec)
	for range 5 {
		b.TakeOver(at(110 * sec))
	}
	require.Equal(t, Decision{Kind: Line, State: EdgeError, At: at(162 * sec), Why: ReasonEdge}, b.Admit(at(110*sec)))
}

func TestSEdge_OneProbeAMinuteThenDoubling(t *testing.T) {
	b := known(0, at(100*sec))
	require.Equal(t, at(101*sec), b.Admit(at(50*sec)).At)
	now := 101 * sec
	for _, wait := range []time.Duration{60 * sec, 120 * sec, 240 * sec, 480 * sec} {
		require.Equal(t, Decision{Kind: Ready, Why: ReasonProbe}, b.Admit(at(now)))
		b.Take()
		require.Equal(t, Decision{Kind: Line, State: WaitingForReset, Why: ReasonProbe}, b.Admit(at(now)), "one at a time")
		b.Settle(&Lesson{Failure: true}, at(now), at(now+sec), false)
		require.Equal(t, Decision{Kind: Line, State: EdgeError, At: at(now + sec + wait), Why: ReasonEdge}, b.Admit(at(now+sec)))
		now += sec + wait
	}
	b.Take()
	b.Lose(at(now), at(now+30*sec)) // no answer at all is no word either
	require.Equal(t, at(now+30*sec+960*sec), b.Admit(at(now+30*sec)).At)
	now += 990 * sec
	spend(&b, quota(100, at(now+1000*sec)), now, now+sec)
	require.Equal(t, Decision{Kind: Ready, Why: ReasonDue}, b.Admit(at(now+sec)), "a word ends it")
	require.Zero(t, b.edges)
}

// One answer without headers must not strand a bucket, and neither must an
// origin that has stopped telling.
func TestSEdge_ServedWithoutAWord(t *testing.T) {
	b := known(0, at(100*sec))
	spend(&b, &Lesson{}, 101*sec, 102*sec)
	require.Equal(t, Decision{Kind: Line, State: EdgeError, At: at(162 * sec), Why: ReasonEdge}, b.Admit(at(102*sec)))
	spend(&b, &Lesson{}, 162*sec, 163*sec)
	require.Equal(t, at(283*sec), b.Admit(at(163*sec)).At)
	spend(&b, &Lesson{}, 283*sec, 284*sec)
	require.False(t, b.Known, "served three times in a row: the limit is no longer told")
	require.Equal(t, Decision{Kind: Ready, Why: ReasonDue}, b.Admit(at(284*sec)))

	b = known(5, at(100*sec)) // not exhausted: no wait, but one at a time until it is clear
	for n := range 3 {
		require.Equal(t, Decision{Kind: Ready, Why: ReasonProbe}, b.Admit(at(101*sec)), n)
		spend(&b, &Lesson{}, 101*sec, 101*sec)
	}
	require.False(t, b.Known)

	b = known(0, at(100*sec)) // failures alone never prove that there is no limit
	now := 101 * sec
	for range 20 {
		spend(&b, &Lesson{Failure: true}, now, now)
		now = b.ProbeFrom.Sub(at(0))
	}
	require.True(t, b.Known)
	require.Equal(t, MaxLimitWait, grow(EdgeWait, b.edges-1, MaxLimitWait))
}

// An origin that goes on telling a reset that is past, or one that is always
// now, was asked again every second.
func TestSEdge_AResetThatDoesNotMove(t *testing.T) {
	for name, reset := range map[string]func(now time.Duration) time.Duration{
		"stale":      func(time.Duration) time.Duration { return 100 * sec },
		"always now": func(now time.Duration) time.Duration { return now },
	} {
		b := known(0, at(100*sec))
		now := 101 * sec
		for _, wait := range []time.Duration{60 * sec, 120 * sec, 240 * sec} {
			d := b.Admit(at(now))
			require.Equal(t, Ready, d.Kind, "%s: %+v", name, d)
			l := quota(0, at(reset(now)))
			l.Reset = at(max(now, reset(now)))
			spend(&b, l, now, now)
			d = b.Admit(at(now))
			require.Equal(t, EdgeError, d.State, name)
			require.Equal(t, at(now+wait), d.At, name)
			now += wait
		}
	}
}

// The origin's clock may be behind: then the same window is told once more, with
// an end that is later than thought. It stays the same window.
func TestD6_TheSameWindowPastItsReset(t *testing.T) {
	b := known(3, at(100*sec))
	l := quota(5, at(100*sec))
	l.Reset = at(110 * sec)
	spend(&b, l, 102*sec, 103*sec)
	require.EqualValues(t, 3, b.Remaining)
	require.Equal(t, at(110*sec), b.Reset)
	require.Equal(t, Decision{Kind: Ready, Why: ReasonDue}, b.Admit(at(103*sec)))
}

// Windows shorter than the slack in which two resets count as one.
func TestD6_ShortWindows(t *testing.T) {
	b := known(0, at(1*sec))
	now := 2 * sec
	for range 10 {
		require.Equal(t, Ready, b.Admit(at(now)).Kind)
		spend(&b, quota(9, at(now+sec)), now, now)
		require.EqualValues(t, 9, b.Remaining, "asked after the known window: a later reset is a new one")
		spend(&b, quota(0, at(now+sec)), now, now)
		now += 2 * sec
	}
}

// The answer to a request of the old window that comes after the reset ends
// nothing and begins nothing.
func TestD6_OldRequestsAnsweredAfterTheReset(t *testing.T) {
	b := known(5, at(100*sec))
	b.Take()
	b.Take()
	b.Take()
	require.Equal(t, Decision{Kind: Line, State: WaitingForReset, Why: ReasonProbe}, b.Admit(at(101*sec)), "they are waited for")
	b.Settle(quota(4, at(100*sec)), at(99*sec), at(102*sec), false)
	require.Equal(t, Decision{Kind: Line, State: WaitingForReset, Why: ReasonProbe}, b.Admit(at(102*sec)))
	b.Settle(&Lesson{}, at(99*sec), at(103*sec), false)
	require.True(t, b.Known, "without headers it says nothing of what comes after the reset")
	require.Zero(t, b.edges)
	b.Settle(quota(98, at(200*sec)), at(99*sec), at(104*sec), false) // counted in the new window
	require.EqualValues(t, 98, b.Remaining)
	require.Equal(t, at(200*sec), b.Reset)
	require.Equal(t, ReasonDue, b.Admit(at(104*sec)).Why)
	b.Take()
	b.Lose(at(99*sec), at(105*sec))
	require.EqualValues(t, 2, b.Unsaid, "the silent one and the lost one may have been counted in it")
	spend(&b, quota(96, at(200*sec)), 106*sec, 107*sec)
	require.Zero(t, b.Unsaid)
}

// Peer airbyte-5: its users find that it uses up the whole quota, of which
// their other programs live.
func TestG9_TheReserveIsLeft(t *testing.T) {
	b := known(10, at(100*sec))
	b.Reserve = 4
	for range 6 {
		require.Equal(t, Ready, b.Admit(at(1*sec)).Kind)
		b.Take()
	}
	require.Equal(t, Decision{Kind: Line, State: WaitingForReset, Why: ReasonReserve}, b.Admit(at(1*sec)))
	for n := range int64(6) {
		b.Settle(quota(9-n, at(100*sec)), at(1*sec), at(2*sec), false)
	}
	require.Equal(t, Decision{Kind: Line, State: WaitingForReset, At: at(101 * sec), Why: ReasonReserve}, b.Admit(at(2*sec)))

	b = known(100, at(100*sec)) // a reserve above the limit leaves the one request that asks
	b.Reserve = 1000
	require.Equal(t, at(101*sec), b.Admit(at(1*sec)).At)
	require.Equal(t, Decision{Kind: Ready, Why: ReasonProbe}, b.Admit(at(101*sec)))
}

func TestG10_DeclaredRateAndConcurrency(t *testing.T) {
	b := Bucket{Answered: true, Cap: 2, Slot: at(5 * sec)}
	require.Equal(t, Decision{Kind: Line, State: WaitingForReset, At: at(5 * sec), Why: ReasonPace}, b.Admit(at(4*sec)))
	b.Take()
	require.Equal(t, Ready, b.Admit(at(5*sec)).Kind)
	b.Take()
	require.Equal(t, Decision{Kind: Line, State: WaitingForReset, Why: ReasonConcurrency}, b.Admit(at(5*sec)))
	b = Bucket{Slot: at(5 * sec)}
	require.Equal(t, ReasonPace, b.Admit(at(4*sec)).Why, "a probe keeps the rate, too")
}

// An origin that says "now" and refuses again is not asked in a hot loop.
//
// Peer retryablehttp-3: a date that is past means at once, again and again.
func TestH1_RetryAfterNowMeetsOurOwnBackoff(t *testing.T) {
	b := Bucket{Answered: true}
	now := at(0)
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32} {
		b.Take()
		b.Settle(&Lesson{Kind: OverloadLimit, Until: now}, now, now, false)
		require.Equal(t, now.Add(want*sec), b.Park)
		now = b.Park
	}
	b.Take()
	b.Settle(&Lesson{Kind: OverloadLimit, Until: now.Add(time.Hour)}, now, now, false)
	require.Equal(t, now.Add(time.Hour), b.Park, "but what it says counts where that is longer")
}

func TestI12_EverybodyComesBackAtAnotherInstant(t *testing.T) {
	var opens []time.Time
	for _, share := range []float64{0, 0.25, 0.5, 0.75} {
		var b Bucket
		l := quota(0, at(1000*sec))
		l.Jitter = share
		spend(&b, l, 0, 0)
		opens = append(opens, b.Admit(at(sec)).At)
	}
	require.Equal(t, []time.Time{at(1001 * sec), at(1008500 * time.Millisecond), at(1016 * sec), at(1023500 * time.Millisecond)}, opens)
}

// Lessons of a dialect of the user's may hold anything.
func TestD22_ForeignLessonsAreBounded(t *testing.T) {
	var b Bucket
	l := &Lesson{
		HasQuota: true, Limit: -5, Remaining: -1 << 62, Reset: at(0).AddDate(8000, 0, 0), Window: at(0).AddDate(8000, 0, 0),
		Kind: OverloadLimit, Until: at(0).AddDate(8000, 0, 0), Jitter: 1e300,
	}
	spend(&b, l, 0, 0)
	require.Zero(t, b.Remaining)
	require.Equal(t, at(farFuture), b.Park)
	require.Equal(t, at(farFuture), b.Reset)
	var back Bucket
	require.NoError(t, back.UnmarshalBinary(b.AppendBinary(nil), at(0)))
	require.Equal(t, b.Park, back.Park)
}

func TestD22_ForeignDialectsAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		l    Lesson
		kept bool
	}{
		"fine":               {Lesson{HasQuota: true, Named: true, Bucket: "b", Limit: 1, Remaining: 1}, true},
		"name at its bound":  {Lesson{HasQuota: true, Named: true, Bucket: strings.Repeat("b", MaxBucket)}, true},
		"name too long":      {Lesson{HasQuota: true, Named: true, Bucket: strings.Repeat("b", MaxBucket+1)}, false},
		"negative limit":     {Lesson{HasQuota: true, Named: true, Bucket: "b", Limit: -1}, false},
		"negative remainder": {Lesson{HasQuota: true, Named: true, Bucket: "b", Remaining: -1}, false},
	} {
		p := Parser{Dialect: Dialect{Name: "mine", Read: func(_ *Answer, l *Lesson) {
			l.HasQuota, l.Named, l.Bucket, l.Limit, l.Remaining = c.l.HasQuota, c.l.Named, c.l.Bucket, c.l.Limit, c.l.Remaining
		}}}
		l := p.Lesson(got(200))
		require.Equal(t, c.kept, l.HasQuota && l.Named, name)
		require.Equal(t, "mine", l.Dialect)
		require.False(t, p.Lesson(got(0)).HasQuota, "there was no answer to read")
		r := newborn(t)
		p.Apply(r, got(200), &l)
		require.Equal(t, c.kept, r.Bucket == c.l.Bucket, name)
		p.Apply(r, got(200), &c.l)
		_, err := r.MarshalBinary()
		require.NoError(t, err, "%s: not even a lesson made by hand", name)
	}
}

func TestSplit_WhoLearnsWhat(t *testing.T) {
	primary := Lesson{Dialect: "github", HasQuota: true, Remaining: 3, Kind: PrimaryLimit, Until: at(sec), Jitter: 0.5}
	scope, inside := primary.Split(true)
	require.Equal(t, Lesson{Dialect: "github", Remaining: 3, Until: at(sec), Jitter: 0.5, Failure: true}, scope)
	require.Equal(t, primary, inside)

	secondary := Lesson{HasQuota: true, Remaining: 3, Kind: SecondaryLimit, Wide: true, Until: at(sec)}
	scope, inside = secondary.Split(true)
	require.Equal(t, SecondaryLimit, scope.Kind)
	require.False(t, scope.HasQuota)
	require.Equal(t, NoLimit, inside.Kind)
	require.True(t, inside.HasQuota)
	require.True(t, inside.Failure, "it forgives the quota nothing")

	scope, inside = primary.Split(false)
	require.Equal(t, primary, scope, "without a name the scope learns everything")
	require.Equal(t, NoLimit, inside.Kind)

	served := Lesson{HasQuota: true, Remaining: 3}
	scope, inside = served.Split(true)
	require.False(t, scope.Failure || inside.Failure)
}

// Peer nutch-1: a share is computed by dividing whole numbers first, and is
// always zero.
func TestG9_TheReserveAsAShare(t *testing.T) {
	for _, c := range []struct {
		limit, reserve int64
		percent        uint8
		left           int64 // that others keep
	}{
		{5000, 0, 10, 500},
		{5000, 600, 10, 600},
		{5000, 400, 10, 500},
		{15, 0, 10, 2}, // rounded up
		{60, 0, 100, 59},
		{60, 0, 255, 59},
		{1, 0, 50, 0}, // or a quota of one would never be used
		{0, 0, 50, 0},
		{1 << 62, 0, 1, (1<<50 + 99) / 100},
	} {
		b := known(c.limit, at(time.Hour))
		b.Limit, b.Reserve, b.ReservePercent = c.limit, c.reserve, c.percent
		require.Equal(t, c.limit-c.left, b.Spare(), "%+v", c)
		b.Remaining = c.left
		require.Equal(t, Line, b.Admit(at(0)).Kind, "%+v", c)
		b.Remaining = c.left + 1
		require.Equal(t, Ready, b.Admit(at(0)).Kind, "%+v", c)
		require.Equal(t, int64(1), b.Spare(), "%+v", c)
		b.Take()
		require.Zero(t, b.Spare(), "%+v", c)
	}
}

func TestS401_ARenewedCredentialEndsItsParkOnly(t *testing.T) {
	parked := Bucket{Park: at(time.Hour), Why: ReasonCredential, Strikes: 3, Answered: true}
	parked.Renew()
	require.Equal(t, Decision{Kind: Ready, Why: ReasonProbe}, parked.Admit(at(0)))
	parked.Take()
	require.Equal(t, Line, parked.Admit(at(0)).Kind, "one request alone finds out")

	for _, why := range []Reason{ReasonPrimary, ReasonSecondary, ReasonOverload} {
		other := Bucket{Park: at(time.Hour), Why: why, Strikes: 3, Answered: true}
		before := other
		other.Renew()
		require.Equal(t, before, other, "a new token does not end another limit")
	}
}
