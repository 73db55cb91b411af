package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

func recordOf(t testing.TB, m *Message, now time.Time) *db.Record {
	t.Helper()
	value, err := appendRecord(nil, m, now)
	require.NoError(t, err)
	return &db.Record{Space: "queue", ID: m.Resource.ID.String(), Version: 1, Value: value}
}

// A record says of an instant what the wall clock will show then, by what it
// shows when the record is written, whatever it showed when the instant was made
// (rule D-9).
func TestD9_RecordFollowsTheWallClock(t *testing.T) {
	made := time.Now()
	for _, seconds := range []int64{-3600, 0, 3600} {
		written := jumped(t, made, seconds)
		m := Message{Queue: "frozen", Due: made.Add(10 * time.Minute), Attempts: 3}
		m.Resource = resource.Resource{Spec: resource.Spec{ID: resource.NewID(), URI: "https://h/"}, Origin: "https://h", Version: 7}
		m.Resource.NotBefore = m.Due
		got, claim, err := readRecord(recordOf(t, &m, written), written)
		require.NoError(t, err)
		require.False(t, claim)
		require.Equal(t, 10*time.Minute, got.Due.Sub(made), "by the monotonic clock")
		require.Equal(t, 10*time.Minute, got.Due.Round(0).Sub(written.Round(0)), "by the wall clock")
		require.True(t, got.Due.Equal(got.Resource.NotBefore))
		require.Equal(t, int64(7), got.Resource.Version)
		require.Equal(t, 3, got.Attempts)
	}
}

// A claim comes back at once; everything else when it was due.
func TestRecordOfAClaimIsDueAtOnce(t *testing.T) {
	now := time.Now()
	m := Message{Queue: "requests", Due: now.Add(time.Hour)}
	m.Resource = resource.Resource{Spec: resource.Spec{ID: resource.NewID(), URI: "https://h/"}, Origin: "https://h"}
	got, claim, err := readRecord(recordOf(t, &m, now), now)
	require.NoError(t, err)
	require.False(t, claim)
	require.True(t, got.Due.Equal(m.Due))

	m.Resource.Claim(resource.NewOwner(), now, now.Add(time.Minute))
	got, claim, err = readRecord(recordOf(t, &m, now), now)
	require.NoError(t, err)
	require.True(t, claim)
	require.False(t, got.Due.After(now))
	require.Equal(t, m.Resource.Owner, got.Resource.Owner)
}

// Instants that 64 bits don't hold are as far away as 64 bits reach: from now, or
// from 1970.
func TestRecordBoundsItsDue(t *testing.T) {
	now := time.Now()
	for _, year := range []int{1, 1500, 1969, 2100, 2261, 3000} {
		m := Message{Queue: "a", Due: time.Date(year, 6, 1, 0, 0, 0, 1, time.UTC)}
		m.Resource = resource.Resource{Spec: resource.Spec{ID: resource.NewID(), URI: "https://h/"}, Origin: "https://h"}
		got, err := decodeRecord(recordOf(t, &m, now).Value)
		require.NoError(t, err)
		switch {
		case year < 1900:
			require.Less(t, got.Due.Year(), 1900)
		case year > 2261:
			require.Greater(t, got.Due.Year(), 2261)
		default:
			require.WithinDuration(t, m.Due, got.Due, time.Millisecond)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	now := time.Now()
	m := Message{Queue: "publish-error", Due: now, Attempts: 300, Cause: "the sink refused it"}
	m.Resource = resource.Resource{Spec: resource.Spec{ID: resource.NewID(), URI: "https://h/x"}, Origin: "https://h"}
	f.Add(recordOf(f, &m, now).Value)
	f.Add(tombstone())
	f.Add([]byte{recordVersion + 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, v []byte) {
		m, err := decodeRecord(v)
		if err != nil {
			return
		}
		again, err := appendRecord(nil, &m, now)
		require.NoError(t, err, "read, and not writable")
		m2, err := decodeRecord(again)
		require.NoError(t, err)
		require.Equal(t, m.Queue, m2.Queue)
		require.Equal(t, m.Cause, m2.Cause)
		require.Equal(t, m.Attempts, m2.Attempts)
		require.Equal(t, m.Resource.ID, m2.Resource.ID)
	})
}
