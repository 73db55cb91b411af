package queue

import (
	"bytes"
	"encoding/hex"
	"strings"
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
		got, err := decodeRecord(m.Resource.ID.String(), recordOf(t, &m, now).Value)
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

// goldenRecord1 was written by a program that knew version 1, of what goldenMessage
// returns.
const goldenRecord1 = "0101188675981eb2a005ac020d7075626c6973682d6572726f72137468652073696e6b207265667573656420697402b0" +
	"e9c402ecf8bb079a4b875087e4384190d1803600000000000718867251b25f360518867251edfa0005188675981eb2a0" +
	"050900000000000000000000031e17141d0668747470733a2f2f6170692e6578616d706c652e636f6d2f6576656e7473" +
	"572f2230313233343536373839616263646566225468752c203031204a616e20323032362030303a30303a303020474d" +
	"546d6972726f72"

// goldenRecord2 is the same in version 2.
const goldenRecord2 = "0238ac0206137468652073696e6b20726566757365642069740396ff030000070500faed5172861881d0acf30ec27009" +
	"00000000000000000000031605066170692e6578616d706c652e636f6d2f6576656e74730123456789abcdef00b95569" +
	"6d6972726f72"

func goldenMessage() Message {
	at := time.Date(2026, 1, 1, 0, 0, 0, 5, time.UTC)
	m := Message{Queue: "publish-error", Due: at.Add(time.Hour), Attempts: 300, Cause: "the sink refused it"}
	m.Resource = resource.Resource{
		Spec:   resource.Spec{ID: resource.DeriveID(resource.ID{}, "former"), URI: "https://api.example.com/events", Profile: "mirror"},
		Origin: "https://api.example.com", Version: 7, Asked: at.Add(-time.Second), Answered: at, NotBefore: at.Add(time.Hour), Polls: 9, Variant: 3,
		Validators: resource.Validators{ETag: `W/"0123456789abcdef"`, LastModified: "Thu, 01 Jan 2026 00:00:00 GMT"},
	}
	return m
}

// Both versions are in the stores of users.
func TestRecordGolden(t *testing.T) {
	m := goldenMessage()
	id := m.Resource.ID.String()
	for _, golden := range []string{goldenRecord1, goldenRecord2} {
		v, err := hex.DecodeString(golden)
		require.NoError(t, err)
		got, err := decodeRecord(id, v)
		require.NoError(t, err)
		require.Equal(t, m, got)
		for n := range v {
			_, err := decodeRecord(id, v[:n])
			require.ErrorIs(t, err, ErrDamaged, "cut at %d", n)
		}
	}
	v, err := appendRecord(nil, &m, time.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC))
	require.NoError(t, err)
	require.Equal(t, goldenRecord2, hex.EncodeToString(v))
}

// A record holds what nearly all have in few bytes, and leaves out what it is kept
// by.
func TestRecordLeavesOut(t *testing.T) {
	now := time.Now()
	m := goldenMessage()
	m.Attempts, m.Cause = 0, ""
	size := func() int { return len(recordOf(t, &m, now).Value) }
	for _, name := range recordPlaces {
		m.Queue = name
		encoded, err := m.Resource.MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, 3+len(encoded)-16, size(), name)
		got, _, err := readRecord(recordOf(t, &m, now), now)
		require.NoError(t, err)
		require.Equal(t, name, got.Queue)
	}
	known := size()
	m.Due = m.Due.Add(1)
	require.Equal(t, known+8, size(), "a due of its own")
	m.Due, m.Queue = m.Resource.NotBefore, "line/core"
	require.Equal(t, known+1+len(m.Queue), size(), "a name of its own")
	m.Due = time.Time{}
	got, _, err := readRecord(recordOf(t, &m, now), now)
	require.NoError(t, err)
	require.True(t, got.Due.IsZero())
	require.Equal(t, "line/core", got.Queue)
}

// What is damaged, or of another resource, is refused, and what is newer is not
// taken for damage.
func TestRecordDamage(t *testing.T) {
	m := goldenMessage()
	id := m.Resource.ID.String()
	second, err := hex.DecodeString(goldenRecord2)
	require.NoError(t, err)
	first, err := hex.DecodeString(goldenRecord1)
	require.NoError(t, err)
	with := func(v []byte, at int, b byte) []byte {
		v = bytes.Clone(v)
		v[at] = b
		return v
	}
	for name, v := range map[string][]byte{
		"version 0":           with(second, 0, 0),
		"unknown flag":        with(second, 1, 0x80),
		"unknown flag, 1":     with(first, 1, recordDueAsResource),
		"two dues":            with(second, 1, recordHasDue|recordDueAsResource),
		"unknown place":       {recordVersion, 0, byte(len(recordPlaces)) + 1},
		"a name cut off":      {recordVersion, 0, 0, 5, 'x'},
		"a name too long":     append([]byte{recordVersion, 0, 0, 0x81, 0x02}, make([]byte, 300)...),
		"bytes left over":     append(bytes.Clone(second), 0),
		"a resource too many": append(bytes.Clone(first), first[len(first)/2:]...),
		"nothing":             {},
	} {
		_, err := decodeRecord(id, v)
		require.ErrorIs(t, err, ErrDamaged, name)
		require.NotErrorIs(t, err, ErrNewer, name)
	}
	for _, id := range []string{"", "x", resource.ID{1}.String(), strings.ToUpper(id)} {
		_, err := decodeRecord(id, first)
		require.ErrorIs(t, err, ErrDamaged, id)
	}
	for _, id := range []string{"", "x", strings.ToUpper(id)} {
		_, err := decodeRecord(id, second)
		require.ErrorIs(t, err, ErrDamaged, id)
	}
	_, err = decodeRecord(id, with(second, 0, recordVersion+1))
	require.ErrorIs(t, err, ErrNewer)
	require.NotErrorIs(t, err, ErrDamaged)
	require.True(t, isTombstone(tombstone()))
	require.True(t, isTombstone([]byte{1, recordStray | recordTomb}), "one of version 1")
	require.False(t, isTombstone([]byte{recordVersion + 1, recordStray | recordTomb}))
}

func FuzzDecodeRecord(f *testing.F) {
	now := time.Now()
	m := Message{Queue: "publish-error", Due: now, Attempts: 300, Cause: "the sink refused it"}
	m.Resource = resource.Resource{Spec: resource.Spec{ID: resource.NewID(), URI: "https://h/x"}, Origin: "https://h"}
	id := goldenMessage().Resource.ID.String()
	for _, golden := range []string{goldenRecord1, goldenRecord2} {
		v, err := hex.DecodeString(golden)
		require.NoError(f, err)
		f.Add(v)
	}
	f.Add(recordOf(f, &m, now).Value)
	f.Add(tombstone())
	f.Add([]byte{recordVersion + 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, v []byte) {
		m, err := decodeRecord(id, v)
		if err != nil {
			return
		}
		again, err := appendRecord(nil, &m, now)
		require.NoError(t, err, "read, and not writable")
		m2, err := decodeRecord(id, again)
		require.NoError(t, err)
		require.Equal(t, m.Queue, m2.Queue)
		require.Equal(t, m.Cause, m2.Cause)
		require.Equal(t, m.Attempts, m2.Attempts)
		require.Equal(t, m.Resource, m2.Resource)
		require.True(t, onTheWall(m.Due, now).Equal(m2.Due), "as far away as 64 bits reach")
	})
}
