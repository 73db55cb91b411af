package firehose

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/resource"
)

// Between the question whether a host is to be probed and the request, the host may
// have come to want it. Only who has the right sends.
func TestASharedHostAdmitsNoProbeWithoutTheRight(t *testing.T) {
	now := time.Now()
	h := &hostState{origin: "https://a.test", shared: true}
	for range resource.HostFailures {
		require.False(t, h.beginProbe(now), "it is closed")
		require.Equal(t, resource.Ready, h.take(now, nil).Kind)
		h.heard(&hearsay{failed: true, who: resource.NewID(), sent: now, now: now})
	}
	require.False(t, h.beginProbe(now), "it is open")
	require.Equal(t, resource.Line, h.take(now, nil).Kind)

	now = h.host.Until
	d := h.take(now, nil)
	require.Equal(t, resource.Line, d.Kind)
	require.Equal(t, resource.WaitingForServerAlive, d.State)
	require.True(t, d.At.After(now), "not again and again at the same instant")
	require.True(t, h.beginProbe(now))
	require.False(t, h.beginProbe(now), "one is under way")
	require.Equal(t, resource.Line, h.take(now, nil).Kind)
	require.Equal(t, 1, h.snapshot(true).InFlight, "nobody is let out of a line for it meanwhile")
	require.Equal(t, resource.Ready, h.take(now, &probe{host: h}).Kind)
	require.Equal(t, resource.Line, h.take(now, &probe{host: h}).Kind)
	h.heard(nil)

	again := now.Add(time.Minute)
	h.endProbe(again)
	require.False(t, h.beginProbe(now))
	require.Equal(t, again, h.take(now, nil).At)
	require.Equal(t, again, h.snapshot(false).Until)
	require.True(t, h.beginProbe(again))
	require.Equal(t, resource.Ready, h.take(again, &probe{host: h}).Kind)
	require.Equal(t, EventHostUp, func() EventKind { news, _ := h.heard(&hearsay{}); return news }())
	h.endProbe(time.Time{})
	require.Equal(t, resource.Ready, h.take(now, nil).Kind)
}

// The lease of a probe is good for any origin, and two have two.
func TestProbeIDIsBounded(t *testing.T) {
	long := "https://" + string(make([]byte, 5000))
	require.Less(t, len(probeID(long)), 300)
	require.NotEqual(t, probeID(long+"a"), probeID(long+"b"))
	require.Equal(t, "probe/https://a.test", probeID("https://a.test"))
}

// A probe lasts as long as its request may, by any clock.
func TestALeaseOutlastsItsProbe(t *testing.T) {
	for timeout, ttl := range map[time.Duration]time.Duration{time.Millisecond: 6 * time.Second, 30 * time.Second: 33 * time.Second, time.Hour: time.Hour + 3*time.Second} {
		p := newProbes(nil, storeOwner(resource.NewOwner()), timeout)
		require.Equal(t, ttl, p.ttl)
		require.GreaterOrEqual(t, p.ttl-probeSkew, timeout)
	}
}
