package cassandra

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

// TestPart pins where records lie: a store whose hash changed would not
// find what it wrote before.
func TestPart(t *testing.T) {
	for _, c := range []struct {
		id         string
		partitions int
		want       int
	}{
		{"a", 64, 12},
		{"https://api.github.com/events", 64, 32},
		{"https://api.github.com/events", 65536, 45728},
		{"ü", 64, 42},
		{"a", 1, 0},
		{"a", 7, 5},
	} {
		s := &Store{partitions: c.partitions}
		require.Equal(t, c.want, s.part(c.id), "%q of %d", c.id, c.partitions)
	}
	// All are used, evenly enough.
	s := &Store{partitions: DefaultPartitions}
	used := make([]int, DefaultPartitions)
	for i := range 64_000 {
		used[s.part(fmt.Sprintf("%036d", i))]++
	}
	require.Greater(t, slices.Min(used), 500)
	require.Less(t, slices.Max(used), 1500)
}

func TestLines(t *testing.T) {
	write := func(space, id string) db.Write { return db.Write{Record: db.Record{Space: space, ID: id}} }
	require.Empty(t, lines(nil))
	require.Equal(t, [][]int{{0, 3, 4}, {1}, {2}}, lines([]db.Write{
		write("s", "a"), write("s", "b"), write("other", "a"), write("s", "a"), write("s", "a"),
	}))
}

// refusal is an answer of a node with a code.
type refusal int

func (r refusal) Code() int       { return int(r) }
func (r refusal) Message() string { return "no" }
func (r refusal) Error() string   { return fmt.Sprint("refusal ", int(r)) }

func TestUnknown(t *testing.T) {
	for err, want := range map[error]bool{
		gocql.ErrTimeoutNoResponse: true,
		gocql.ErrConnectionClosed:  true,
		io.EOF:                     true,
		errors.New("read: connection reset by peer"): true,
		refusal(gocql.ErrCodeServer):                 true,
		refusal(gocql.ErrCodeWriteTimeout):           true,
		refusal(gocql.ErrCodeReadTimeout):            true,
		refusal(gocql.ErrCodeWriteFailure):           true,
		refusal(gocql.ErrCodeReadFailure):            true,
		refusal(gocql.ErrCodeCASWriteUnknown):        true,
		refusal(0x7777):                              true,

		gocql.ErrNoConnections:              false,
		gocql.ErrSessionClosed:              false,
		gocql.ErrNoStreams:                  false,
		refusal(gocql.ErrCodeUnavailable):   false,
		refusal(gocql.ErrCodeOverloaded):    false,
		refusal(gocql.ErrCodeBootstrapping): false,
		refusal(gocql.ErrCodeUnauthorized):  false,
		refusal(gocql.ErrCodeInvalid):       false,
		refusal(gocql.ErrCodeSyntax):        false,
	} {
		require.Equal(t, want, unknown(t.Context(), fmt.Errorf("wrapped: %w", err)), "%v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.False(t, unknown(ended, gocql.ErrTimeoutNoResponse), "nobody waits for a lookup")
}

func TestFailure(t *testing.T) {
	require.Equal(t, io.EOF, failure(t.Context(), io.EOF))
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	err := failure(ctx, io.EOF)
	for _, want := range []error{context.Canceled, why, io.EOF} {
		require.ErrorIs(t, err, want)
	}
	require.ErrorIs(t, failure(ctx, context.Canceled), why)
}

func TestRow(t *testing.T) {
	owner, until := gocql.UUID{1, 2, 3}, int64(-1)
	r := row{space: "s", id: "a", version: 7, owner: &owner, until: &until, value: []byte("v")}
	got, err := r.record()
	require.NoError(t, err)
	want := db.Record{Space: "s", ID: "a", Version: 7, Owner: db.Owner{1, 2, 3}, Until: time.Unix(0, -1).UTC(), Value: []byte("v")}
	require.Equal(t, want, got)

	got, err = (&row{space: "s", id: "a", version: 1}).record()
	require.NoError(t, err)
	require.True(t, got.Owner.IsZero())
	require.True(t, got.Until.IsZero())

	for _, version := range []int64{0, -1} {
		_, err = (&row{space: "s", id: "a", version: version}).record()
		require.ErrorIs(t, err, db.ErrDamaged)
		require.ErrorContains(t, err, fmt.Sprintf(`record "a" in space "s" has version %d`, version))
	}
}

func TestEach(t *testing.T) {
	s := &Store{turns: make(chan struct{}, 3)}
	var done atomic.Int64
	require.NoError(t, s.each(100, func(i int) error { done.Add(int64(i)); return nil }))
	require.EqualValues(t, 4950, done.Load())
	require.NoError(t, s.each(0, func(int) error { return io.EOF }))
	done.Store(0)
	require.ErrorIs(t, s.each(100, func(i int) error { done.Add(1); return io.EOF }), io.EOF)
	require.LessOrEqual(t, done.Load(), int64(3), "none is begun after one has failed")
}

// TestTakeTurn waits for room, for as long as the caller and the store go on.
func TestTakeTurn(t *testing.T) {
	s := &Store{turns: make(chan struct{}, 1)}
	over := make(chan struct{})
	require.NoError(t, s.takeTurn(t.Context(), over))
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	require.ErrorIs(t, s.takeTurn(ctx, over), why)
	waits := make(chan error)
	go func() { waits <- s.takeTurn(t.Context(), over) }()
	close(over)
	require.ErrorIs(t, <-waits, db.ErrClosed)
	s.passTurn()
	require.ErrorIs(t, s.takeTurn(t.Context(), over), db.ErrClosed, "although there is room")
	require.NoError(t, s.takeTurn(t.Context(), nil), "one that is not refused")
}
