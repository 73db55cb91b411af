package resource

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An instant in Unix seconds, or as a date, is the same whatever zone the machine
// is set to (rules I-11, H-4).
//
// Peer airbyte-1: a reset in Unix seconds is turned into a date of the local zone
// without saying so, and is hours off.
func TestI11_AnInstantIsTheSameInEveryZone(t *testing.T) {
	zone := time.Local
	defer func() { time.Local = zone }()
	for _, hours := range []int{-11, 0, 5, 14} {
		time.Local = time.FixedZone("here", hours*3600)
		var p Parser
		l := p.Lesson(github(200))
		require.True(t, l.Reset.Equal(at(1000*time.Second)), "%d: %v", hours, l.Reset)
		l = spoken(t, "gitlab", got(200, "RateLimit-Limit", "600", "RateLimit-Remaining", "9", "RateLimit-Reset", unix(90*sec)))
		require.True(t, l.Reset.Equal(at(90*sec)), "%d: %v", hours, l.Reset)
		until, _, ok := retryAfter(got(429, "Date", httpDate(0), "Retry-After", httpDate(90*time.Second)))
		require.True(t, ok)
		require.True(t, until.Equal(at(90*time.Second)), "%d: %v", hours, until)
		date, ok := HTTPDate("Sun Nov  6 08:49:37 1994")
		require.True(t, ok)
		require.True(t, date.Equal(time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)), "%d: %v", hours, date)
	}
}
