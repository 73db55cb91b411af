package resource

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A resource that was known before waits as long as it had to then, and never
// less than it has to now.
func TestRestOnlyLengthens(t *testing.T) {
	now := time.Now()
	var r Resource
	r.Rest(time.Time{})
	require.Equal(t, Resource{}, r)
	r.Rest(now)
	require.Equal(t, now, r.NotBefore)
	require.Equal(t, WaitingForInterval, r.State)
	r.State = Parked
	r.Rest(now.Add(-time.Second))
	require.Equal(t, now, r.NotBefore)
	require.Equal(t, Parked, r.State)
}
