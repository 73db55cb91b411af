package resource

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A limit that a resource has met itself is that of whichever bucket stands by
// it, and its own alone where none does.
func TestExplain_WhichBucketSaysWait(t *testing.T) {
	r := Resource{Spec: Spec{URI: "https://api.example.com/x"}, Origin: "https://api.example.com", Bucket: "core", Polls: 1}
	scope, own := r.Scope().String(), r.Key().String()
	require.NotEqual(t, scope, own)
	parked := func(why Reason, until time.Duration) Bucket { return Bucket{Answered: true, Park: at(until), Why: why} }
	quota := func(remaining int64, reset time.Duration) Bucket {
		b := known(remaining, at(100*sec))
		b.Reset = at(reset)
		return b
	}
	taken := quota(2, 100*sec)
	taken.InFlight = 2
	const later = 60 * sec
	for _, c := range []struct {
		name string
		why  Reason // of a wait of the resource's own; none: it is due
		s    Snapshot
		want string
	}{
		{"an interval", ReasonInterval, Snapshot{}, own},
		{"the scope is parked", ReasonSecondary, Snapshot{Scope: parked(ReasonSecondary, later)}, scope},
		{"the scope is parked for something else", ReasonSecondary, Snapshot{Scope: parked(ReasonOverload, later)}, ""},
		{"the park of the scope is over", ReasonSecondary, Snapshot{Scope: parked(ReasonSecondary, 0)}, ""},
		{"the quota is parked", ReasonPrimary, Snapshot{Quota: parked(ReasonPrimary, later)}, own},
		{"the quota is used up", ReasonPrimary, Snapshot{Quota: quota(0, 100*sec)}, own},
		{"the quota has some left", ReasonPrimary, Snapshot{Quota: quota(2, 100*sec)}, ""},
		{"the quota is that of a window that is over", ReasonPrimary, Snapshot{Quota: quota(0, -100*sec)}, ""},
		{"the quota is used up, and that is not why", ReasonSecondary, Snapshot{Quota: quota(0, 100*sec)}, ""},
		{"the quota is taken by what is in flight", ReasonNone, Snapshot{Scope: Bucket{Answered: true}, Quota: taken}, own},
		{"the scope, and it is due", ReasonNone, Snapshot{Scope: parked(ReasonSecondary, later)}, scope},
		{"the host", ReasonNone, Snapshot{Host: Host{Trips: 1, Until: at(later)}}, r.Origin},
	} {
		r := r
		if c.why != ReasonNone {
			r.State, r.Why, r.NotBefore = WaitingForReset, c.why, at(later)
		}
		e := Explain(&r, &c.s, at(0))
		require.Equal(t, c.want, e.Bucket, c.name)
		require.NotEqual(t, Ready, e.Kind, c.name)
		if c.why != ReasonInterval && c.want != "" {
			require.Contains(t, e.String(), "; bucket "+c.want, c.name)
		} else {
			require.NotContains(t, e.String(), "; bucket", c.name)
		}
	}
}

// Who is paused, and who has ended, waits for its user, who names no instant.
func TestExplain_OnlyTheUserKnows(t *testing.T) {
	for d, want := range map[Decision]time.Time{
		{Kind: At, State: Paused, At: at(sec)}:             {},
		{Kind: Fault, State: Error, At: at(sec)}:           {},
		{Kind: At, State: WaitingForInterval, At: at(sec)}: at(sec),
	} {
		var e Explanation
		e.Follow(d, at(0))
		require.Equal(t, want, e.Until, "%+v", d)
		require.Equal(t, !want.IsZero(), e.Wait != 0)
	}
}
