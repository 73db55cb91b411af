package kafka

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/queue"
)

func TestValue(t *testing.T) {
	for _, r := range []db.Record{
		{Version: 1},
		{Version: 1<<63 - 1, Value: []byte("x")},
		{Version: 300, Until: time.Unix(1, 5).UTC(), Value: []byte("value")},
		{Version: 1, Until: time.Unix(-1, 5).UTC()},
	} {
		got, err := readValue(appendValue(nil, &r))
		require.NoError(t, err)
		require.True(t, r.Equal(got), "%v %v", r, got)
	}
	for _, v := range []string{"", "\x01", "\x01\x00", "\x00\x00\x01", "\x01\x02\x01", "\x01\x00\x00", "\x01\x01\x01abc", "\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
		_, err := readValue([]byte(v))
		require.ErrorIs(t, err, queue.ErrDamaged, "%q", v)
	}
	_, err := readValue([]byte("\x02\x00\x01"))
	require.ErrorIs(t, err, queue.ErrNewer)
	_, err = readOwnerMark([]byte("{"))
	require.ErrorIs(t, err, queue.ErrDamaged)
}

func FuzzReadValue(f *testing.F) {
	f.Add(appendValue(nil, &db.Record{Version: 300, Until: time.Unix(1, 5).UTC(), Value: []byte("value")}))
	f.Add([]byte("\x01\x00\x80\x01rest"))
	f.Add([]byte(`{"instance":"a","opening":"b","partitions":3}`))
	f.Fuzz(func(t *testing.T, v []byte) {
		if r, err := readValue(v); err == nil {
			again, err := readValue(appendValue(nil, &r))
			require.NoError(t, err)
			require.True(t, r.Equal(again))
		}
		if o, err := readOwnerMark(v); err == nil {
			again, err := readOwnerMark(o.encode())
			require.NoError(t, err)
			require.Equal(t, o, again)
		}
	})
}
