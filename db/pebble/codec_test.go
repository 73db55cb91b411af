package pebble

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

// records are records of every shape, for tests and as seeds.
func records() []db.Record {
	owner := db.Owner{1, 2, 3, 15: 255}
	return []db.Record{
		{Space: "s", ID: "a", Version: 1},
		{Space: "s", ID: "a", Version: math.MaxInt64, Owner: owner, Until: time.Unix(0, math.MinInt64).UTC(), Value: []byte("value")},
		{Space: "s", ID: "a", Version: 300, Until: time.Unix(0, 0).UTC()},
		{Space: "s", ID: "a", Version: 300, Owner: owner, Value: []byte{0}},
		{Space: "s\x00", ID: "\x00a", Version: 7, Value: bytes.Repeat([]byte{0xff}, 300)},
		{Space: strings.Repeat("s", db.MaxSpace), ID: strings.Repeat("é", db.MaxID/2), Version: 1},
	}
}

func TestCodec(t *testing.T) {
	for _, r := range records() {
		key, value := appendKey(nil, r.Space, r.ID), appendValue(nil, &r)
		got, err := decodeRecord(key, value)
		require.NoError(t, err)
		require.True(t, r.Equal(got), "%v, got %v", r, got)
		require.Equal(t, len(got.Value), cap(got.Value))

		prefix := appendPrefix(nil, r.Space)
		require.True(t, bytes.HasPrefix(key, prefix))
		require.Negative(t, bytes.Compare(key, after(prefix)))
		require.Positive(t, bytes.Compare(after(prefix), prefix))

		fixed := len(value) - len(r.Value) // shorter than that, something is missing
		for n := range fixed {
			_, err := decodeRecord(key, value[:n])
			require.ErrorIs(t, err, errEncoding, "the first %d bytes", n)
		}
		value[fixed-1-8*bit(!r.Until.IsZero())-16*bit(!r.Owner.IsZero())] |= 0x80
		_, err = decodeRecord(key, value)
		require.ErrorIs(t, err, errEncoding, "an unknown flag")
	}
	good := appendValue(nil, &db.Record{Version: 1})
	for _, key := range []string{"", "\x00a", "\x02s", "\x01s", "\x01\xffa", "\x01s\xff", "\x01s" + strings.Repeat("i", db.MaxID+1), "\xff" + strings.Repeat("s", 256)} {
		_, err := decodeRecord([]byte(key), good)
		require.ErrorIs(t, err, errEncoding, "%q", key)
	}
	for _, value := range []string{"\x00\x00", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", "\x01\x00" + strings.Repeat("v", db.MaxValue+1)} {
		_, err := decodeRecord([]byte("\x01sa"), []byte(value))
		require.ErrorIs(t, err, errEncoding)
	}
}

func bit(set bool) int {
	if set {
		return 1
	}
	return 0
}

// FuzzRecord: what is decoded is encoded as it was, and is a record that a
// Write would take.
func FuzzRecord(f *testing.F) {
	for _, r := range records() {
		f.Add(appendKey(nil, r.Space, r.ID), appendValue(nil, &r))
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		r, err := decodeRecord(key, value)
		if err != nil {
			require.ErrorIs(t, err, errEncoding)
			require.Equal(t, db.Record{}, r)
			return
		}
		require.NoError(t, db.CheckWrites(db.Write{Record: r}))
		again, err := decodeRecord(appendKey(nil, r.Space, r.ID), appendValue(nil, &r))
		require.NoError(t, err)
		require.True(t, r.Equal(again))
		require.Equal(t, key, appendKey(nil, r.Space, r.ID), "one key for each name")
	})
}
