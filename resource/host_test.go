package resource

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fail lets a request of the n-th resource fail at an instant.
func failHost(h *Host, n int, now time.Time) bool {
	h.Take()
	return h.Fail(DeriveID(ID{}, string(rune('a'+n))), now, now, time.Time{}, 0)
}

func TestSNet_HostIsLeftAloneWhenSeveralResourcesFail(t *testing.T) {
	var h Host
	for i := range HostFailures - 1 {
		require.False(t, failHost(&h, i, at(0)), "%d failures are not enough", i+1)
		require.Equal(t, Ready, h.Admit(at(0)).Kind)
	}
	require.True(t, failHost(&h, 0, at(0)))
	require.Equal(t, HostOpen, h.State(at(0)))
	require.Equal(t, Decision{Kind: Line, State: WaitingForServerAlive, At: at(HostWait), Why: ReasonBreaker}, h.Admit(at(0)))
}

func TestSNet_OneResourceThatFailsOpensNothing(t *testing.T) {
	for witnesses := 1; witnesses < HostWitnesses; witnesses++ {
		var h Host
		for i := range 100 {
			require.False(t, failHost(&h, i%witnesses, at(time.Duration(i)*time.Second)))
		}
		require.Equal(t, HostClosed, h.State(at(time.Hour)), "%d resources fail by themselves", witnesses)
	}
}

func TestSNet_AnAnswerBetweenFailuresForgivesThem(t *testing.T) {
	var h Host
	for i := range 100 {
		if i%(HostFailures-1) == 0 {
			h.Take()
			require.False(t, h.Answer(), "it was never open")
		}
		require.False(t, failHost(&h, i, at(0)))
	}
}

func TestSNet_OneProbeAloneFindsOut(t *testing.T) {
	h := opened(t, at(0))
	now := at(HostWait)
	require.Equal(t, HostHalfOpen, h.State(now))
	require.Equal(t, Ready, h.Admit(now).Kind)
	h.Take()
	require.Equal(t, Decision{Kind: Line, State: WaitingForServerAlive, Why: ReasonBreaker}, h.Admit(now), "the second one waits for the first")

	require.True(t, h.Fail(NewID(), now, now, time.Time{}, 0), "it opens again")
	require.Equal(t, now.Add(2*HostWait), h.Until, "for twice as long")

	now = h.Until
	h.Take()
	require.True(t, h.Answer(), "and an answer closes it")
	require.Equal(t, Host{}, h)
	require.Equal(t, Ready, h.Admit(now).Kind)
}

// Requests that were in flight together are one incident, however many they are.
func TestSNet_FailuresInFlightTogetherAreOneIncident(t *testing.T) {
	var h Host
	for range 50 {
		h.Take()
	}
	trips := 0
	for i := range 50 {
		if h.Fail(DeriveID(ID{}, string(rune('a'+i))), at(0), at(time.Duration(i)*time.Millisecond), time.Time{}, 0) {
			trips++
		}
	}
	require.Equal(t, 1, trips)
	require.Equal(t, 0, h.InFlight)
	require.Equal(t, at((HostFailures-1)*time.Millisecond).Add(HostWait), h.Until)

	h = opened(t, at(0)) // a coarse clock shows those that left just before at the same instant
	until := h.Until
	for i := range 5 {
		require.False(t, failHost(&h, i, at(0)))
	}
	require.Equal(t, until, h.Until)
	require.EqualValues(t, 1, h.Trips)
}

func TestSNet_ARequestThatNeverLeftTellsNothing(t *testing.T) {
	h := opened(t, at(0))
	h.Take()
	h.Release()
	require.Equal(t, HostHalfOpen, h.State(at(HostWait)))
	require.Equal(t, Ready, h.Admit(at(HostWait)).Kind, "another one may find out")
	h.Release()
	require.Equal(t, 0, h.InFlight, "it never falls below zero")
}

func TestS503_TheHostMaySayForHowLong(t *testing.T) {
	h := opened(t, at(0))
	now := at(time.Minute)
	h.Take()
	h.Fail(NewID(), now, now, now.Add(time.Hour), 0)
	require.Equal(t, now.Add(time.Hour), h.Until)
	now = h.Until
	h.Take()
	h.Fail(NewID(), now, now, now.Add(time.Second), 0)
	require.Equal(t, now.Add(4*HostWait), h.Until, "a shorter wait than our own does not count")
}

func TestSBackoff_TheWaitForAHostGrowsAndIsBounded(t *testing.T) {
	h := opened(t, at(0))
	var before time.Duration
	for range 300 {
		now := h.Until
		h.Take()
		h.Fail(NewID(), now, now, time.Time{}, 0.999)
		wait := h.Until.Sub(now)
		require.GreaterOrEqual(t, wait, before)
		require.LessOrEqual(t, wait, MaxHostWait+MaxHostWait/2)
		before = wait
	}
	require.Greater(t, before, MaxHostWait, "jitter only adds")
}

// Peer miniflux-10: several requests go to one host at once, for which hosts
// ban it.
func TestG11_RequestsToAHostAreBounded(t *testing.T) {
	h := Host{Cap: 2}
	h.Take()
	require.Equal(t, Ready, h.Admit(at(0)).Kind)
	h.Take()
	require.Equal(t, Decision{Kind: Line, State: WaitingForReset, Why: ReasonConcurrency}, h.Admit(at(0)))
	h.Answer()
	require.Equal(t, Host{Cap: 2, InFlight: 1}, h, "the bound stays")
	require.Equal(t, Ready, h.Admit(at(0)).Kind)
}

// From whatever state there is an instant, or an answer in flight, after which
// a request is admitted; and half-open, never more than one is under way.
func TestSNet_AHostIsNeverStranded(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h Host
	now, flying := at(0), []time.Time{}
	for range 20_000 {
		now = now.Add(time.Duration(rng.IntN(3000)) * time.Millisecond)
		half := h.State(now) == HostHalfOpen
		d := h.Admit(now)
		switch {
		case d.Kind == Ready && rng.IntN(2) == 0:
			if half {
				require.Empty(t, flying)
			}
			h.Take()
			flying = append(flying, now)
		case d.Kind == Line && d.At.IsZero():
			require.NotEmpty(t, flying, "nobody would ever say that it may go on")
		case d.Kind == Line:
			require.True(t, d.At.After(now))
			require.LessOrEqual(t, d.At.Sub(now), 2*MaxHostWait)
		}
		if len(flying) > 0 && rng.IntN(2) == 0 {
			sent := flying[0]
			flying = flying[1:]
			switch rng.IntN(8) {
			case 0:
				h.Release()
			case 1:
				h.Answer()
			default:
				h.Fail(DeriveID(ID{}, string(rune('a'+rng.IntN(5)))), sent, now, time.Time{}, rng.Float64())
			}
		}
		require.Equal(t, len(flying), h.InFlight)
	}
}

func opened(t *testing.T, now time.Time) Host {
	t.Helper()
	var h Host
	for i := range HostFailures {
		failHost(&h, i, now)
	}
	require.Equal(t, HostOpen, h.State(now))
	return h
}

func TestHostStateNames(t *testing.T) {
	for s, want := range map[HostState]string{HostClosed: "closed", HostOpen: "open", HostHalfOpen: "half-open"} {
		text, err := s.MarshalText()
		require.NoError(t, err)
		require.Equal(t, want, string(text))
	}
}
