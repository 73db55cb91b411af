package resource

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDecide_OrderOfTheChecks(t *testing.T) {
	parked := Bucket{Answered: true, Park: at(90 * sec), Why: ReasonSecondary}
	edge := known(0, at(-100*sec))
	edge.noWord(at(0), false)
	free := Bucket{Answered: true}
	owner := NewOwner()
	for _, c := range []struct {
		name string
		r    Resource
		s    Snapshot
		want Decision
	}{
		{"never requested", Resource{}, Snapshot{Scope: free, Quota: free}, Decision{Kind: Ready, Why: ReasonNever}},
		{"due", Resource{Polls: 1, NotBefore: at(0)}, Snapshot{Scope: free, Quota: free}, Decision{Kind: Ready, Why: ReasonDue}},
		{"first of its bucket", Resource{Polls: 1}, Snapshot{Scope: free, Quota: Bucket{}}, Decision{Kind: Ready, Why: ReasonProbe}},
		{
			"error before all", Resource{State: Error, Why: ReasonRequest, Owner: owner, NotBefore: at(60 * sec)}, Snapshot{Scope: parked, Quota: parked},
			Decision{Kind: Fault, State: Error, Why: ReasonRequest},
		},
		{"gone", Resource{State: Gone, Why: ReasonGone}, Snapshot{Scope: free, Quota: free}, Decision{Kind: Fault, State: Gone, Why: ReasonGone}},
		{
			"pause before owner", Resource{State: Paused, Owner: owner}, Snapshot{Scope: free, Quota: free},
			Decision{Kind: At, State: Paused, At: at(pausedFor), Why: ReasonPaused},
		},
		{
			"owner before interval", Resource{State: HasOwner, Owner: owner, ClaimUntil: at(30 * sec), NotBefore: at(600 * sec)}, Snapshot{Scope: parked, Quota: parked},
			Decision{Kind: At, State: HasOwner, At: at(90 * sec), Why: ReasonClaimed},
		},
		{
			"interval before limit", Resource{State: WaitingForServerAlive, Why: ReasonServer, NotBefore: at(60 * sec)}, Snapshot{Scope: edge, Quota: parked},
			Decision{Kind: At, State: WaitingForServerAlive, At: at(60 * sec), Why: ReasonServer},
		},
		{
			"a wait that nobody named", Resource{NotBefore: at(60 * sec)}, Snapshot{Scope: free, Quota: free},
			Decision{Kind: At, State: WaitingForInterval, At: at(60 * sec), Why: ReasonInterval},
		},
		{"scope before quota", Resource{Polls: 1}, Snapshot{Scope: parked, Quota: edge}, Decision{Kind: Line, State: WaitingForReset, At: at(90 * sec), Why: ReasonSecondary, Wide: true}},
		{
			"host before scope", Resource{Polls: 1}, Snapshot{Host: Host{Trips: 1, Until: at(5 * sec)}, Scope: parked, Quota: free},
			Decision{Kind: Line, State: WaitingForServerAlive, At: at(5 * sec), Why: ReasonBreaker, Wide: true},
		},
		{"edge case", Resource{Polls: 1}, Snapshot{Scope: free, Quota: edge}, Decision{Kind: Line, State: EdgeError, At: at(60 * sec), Why: ReasonEdge}},
		{"limit", Resource{Polls: 1}, Snapshot{Scope: free, Quota: known(0, at(60*sec))}, Decision{Kind: Line, State: WaitingForReset, At: at(61 * sec), Why: ReasonPrimary}},
	} {
		require.Equal(t, c.want, Decide(&c.r, &c.s, at(0)), c.name)
	}
}

func TestD15_NeverRequestedIsReadyAtOnce(t *testing.T) {
	r := newborn(t)
	s := Snapshot{Scope: Bucket{Answered: true}, Quota: Bucket{Answered: true}}
	require.Equal(t, Decision{Kind: Ready, Why: ReasonNever}, Decide(r, &s, at(0)))
	poll(r, got(200))
	require.Equal(t, at(DefaultInterval), Decide(r, &s, at(0)).At)
	require.Equal(t, Decision{Kind: Ready, Why: ReasonDue}, Decide(r, &s, at(8*time.Hour)), "after hours asleep it is due once")
	poll(r, got(304))
	require.Equal(t, at(DefaultInterval), Decide(r, &s, at(0)).At, "and then waits from that answer on")
}

// The answer to a claim that nobody holds any more is lost: it counts as sent
// when it could last have left, and no claim holds a resource for ever.
//
// Peer url-frontier-3: what becomes of a reservation whose holder dies was
// open: it has to keep others away until the request is certainly over.
func TestD4_ClaimsCountAsSent(t *testing.T) {
	s := Snapshot{Scope: Bucket{Answered: true}, Quota: Bucket{Answered: true}}
	r := newborn(t)
	r.Interval = 10 * sec
	r.Validators = Validators{ETag: `"kept"`}
	owner := NewOwner()
	r.Claim(owner, at(0), at(30*sec))
	require.Equal(t, HasOwner, r.State)
	require.Equal(t, at(40*sec), Decide(r, &s, at(39*sec)).At)
	require.Equal(t, Ready, Decide(r, &s, at(40*sec)).Kind)

	found := *r
	found.Forfeit(at(5 * sec))
	require.Equal(t, at(15*sec), found.NotBefore)
	require.Equal(t, ReasonForfeited, found.Why)
	require.Equal(t, Validators{ETag: `"kept"`}, found.Validators, "a lost answer is asked for again")
	require.True(t, found.Owner.IsZero())
	require.Equal(t, Decision{Kind: At, State: WaitingForInterval, At: at(15 * sec), Why: ReasonForfeited}, Decide(&found, &s, at(5*sec)))

	found = *r
	found.NotBefore = at(time.Hour)
	found.Forfeit(at(5 * sec))
	require.Equal(t, at(time.Hour), found.NotBefore, "a longer wait stays")
	again := found
	again.Forfeit(at(2 * time.Hour))
	require.Equal(t, found, again, "nothing to forfeit")

	r.Unclaim()
	require.Equal(t, Idle, r.State)
	require.True(t, r.Claimed.IsZero() && r.ClaimUntil.IsZero())
	r.State = Parked
	r.Unclaim()
	require.Equal(t, Parked, r.State)
}

func TestD9_InstantsKeepToTheMonotonicClock(t *testing.T) {
	now := time.Now()
	for _, wait := range []time.Duration{-time.Hour, 0, time.Nanosecond, time.Second, 24 * time.Hour, farFuture} {
		stored := now.Add(wait).Round(0).UTC()
		tied := Rebase(stored, now)
		require.Equal(t, wait, tied.Sub(now), "the same distance")
		require.Contains(t, tied.String(), " m=", "on the clock that no jump moves")
		require.Equal(t, tied, Rebase(tied, now), "once is enough")
	}
	require.True(t, Rebase(time.Time{}, now).IsZero())

	r := newborn(t)
	r.Claim(NewOwner(), now, now.Add(time.Minute))
	r.Asked, r.Answered, r.Changed, r.NotBefore = now, now, now, now.Add(time.Hour)
	b, err := r.MarshalBinary()
	require.NoError(t, err)
	var back Resource
	require.NoError(t, back.UnmarshalBinary(b))
	require.NotContains(t, back.NotBefore.String(), " m=")
	back.Rebase(now)
	for i, instant := range back.instants() {
		require.Contains(t, instant.String(), " m=", instantNames[i])
		require.Zero(t, instant.Sub(*r.instants()[i]), instantNames[i])
	}

	// Pairs of (wall, monotonic, deadline): a process that starts with its wall
	// clock an hour off keeps the distance that its wall clock showed.
	for _, off := range []time.Duration{-time.Hour, 0, time.Hour} {
		stored := now.Round(0).Add(off + 30*time.Second) // written by a clock that was off by so much
		tied := Rebase(stored, now)
		require.Equal(t, off+30*time.Second, tied.Sub(now))
		require.Equal(t, off+20*time.Second, tied.Sub(now.Add(10*time.Second)))
	}
}

func TestStates_NamesAndTexts(t *testing.T) {
	require.Len(t, States(), int(states))
	for _, s := range States() {
		text, err := s.MarshalText()
		require.NoError(t, err)
		var back State
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, s, back)
	}
	require.Len(t, Outcomes(), int(outcomes))
	for _, o := range Outcomes() {
		text, err := o.MarshalText()
		require.NoError(t, err)
		var back Outcome
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, o, back)
	}
	for k := range kinds {
		text, err := k.MarshalText()
		require.NoError(t, err)
		var back Kind
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, k, back)
	}
	for k := range limitKinds {
		text, err := k.MarshalText()
		require.NoError(t, err)
		require.Equal(t, limitKindNames[k], string(text))
		require.Equal(t, k == NoLimit, k.reason() == ReasonNone)
	}
	for r := range reasons {
		require.NotEmpty(t, r.String())
		require.Equal(t, r == ReasonNone, r.Key() == "", r)
	}
	require.Equal(t, []string{"state-200", "outcome-200", "kind-200", "limit-200", "reason-200", ""}, []string{
		State(200).String(), Outcome(200).String(), Kind(200).String(), LimitKind(200).String(), Reason(200).String(), Reason(200).Key(),
	})
	var (
		s State
		o Outcome
		k Kind
	)
	require.EqualError(t, s.UnmarshalText([]byte("idel")), `resource: State: "idel": want the name of a state`)
	require.EqualError(t, o.UnmarshalText([]byte("new")), `resource: Outcome: "new": want the name of an outcome`)
	require.EqualError(t, k.UnmarshalText([]byte("now")), `resource: Kind: "now": want ready, at, line or fault`)
}

func TestResponse_Size(t *testing.T) {
	r := Response{Body: make([]byte, 100)}
	require.EqualValues(t, 1124, r.Size())
}
