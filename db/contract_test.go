package db

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOwner(t *testing.T) {
	a, b := NewOwner(), NewOwner()
	require.NotEqual(t, a, b)
	require.False(t, a.IsZero())
	require.True(t, Owner{}.IsZero())
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, a.String())
	require.Equal(t, "00000000-0000-0000-0000-000000000000", Owner{}.String())
	for _, s := range []string{a.String(), strings.ToUpper(a.String())} {
		got, err := ParseOwner(s)
		require.NoError(t, err)
		require.Equal(t, a, got)
	}
	for _, s := range []string{"", "x", a.String()[1:], a.String() + "0", strings.ReplaceAll(a.String(), "-", "0"), "g" + a.String()[1:]} {
		_, err := ParseOwner(s)
		require.ErrorIs(t, err, ErrInvalid, s)
		require.ErrorContains(t, err, "8-4-4-4-12")
	}
}

func TestRecordEqual(t *testing.T) {
	r := Record{Space: "s", ID: "i", Version: 1, Owner: Owner{1}, Until: time.Unix(5, 0), Value: []byte("v")}
	same := r
	same.Until = r.Until.In(time.FixedZone("", 3600))
	same.Value = []byte("v")
	require.True(t, r.Equal(same))
	require.True(t, Record{Value: []byte{}}.Equal(Record{}))
	for name, change := range map[string]func(*Record){
		"space": func(r *Record) { r.Space = "x" }, "id": func(r *Record) { r.ID = "x" },
		"version": func(r *Record) { r.Version = 2 }, "owner": func(r *Record) { r.Owner = Owner{2} },
		"until": func(r *Record) { r.Until = r.Until.Add(1) }, "value": func(r *Record) { r.Value = nil },
	} {
		other := r
		change(&other)
		require.False(t, r.Equal(other), name)
	}
}

type wrapped struct{ DB }

func (w *wrapped) Unwrap() DB { return w.DB }

type saysNo struct{ wrapped }

func (saysNo) Durable() bool { return false }

func TestIsDurable(t *testing.T) {
	memory := NewMemory()
	file := openTemp(t)
	require.False(t, IsDurable(nil))
	require.False(t, IsDurable(memory))
	require.True(t, IsDurable(file))
	require.False(t, IsDurable(&wrapped{memory}))
	require.True(t, IsDurable(&wrapped{&wrapped{file}}))
	require.False(t, IsDurable(&saysNo{wrapped{file}}), "the outermost answer counts")
	endless := &wrapped{}
	endless.DB = endless
	require.False(t, IsDurable(endless))
}

func TestContextError(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrUnexpectedEOF)
	err := contextError(ctx, "get")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF, "the cause")
	require.EqualError(t, err, "db: get: context canceled: unexpected EOF")
	plain, stop := context.WithCancel(t.Context())
	stop()
	require.EqualError(t, contextError(plain, "get"), "db: get: context canceled")
}

func TestErrorTexts(t *testing.T) {
	err := error(&DamagedError{Path: "polls.db", Offset: 4711, Reason: "why"})
	require.ErrorIs(t, err, ErrDamaged)
	require.ErrorContains(t, err, "truncate -s 4711", "it says how to recover")
	require.NotErrorIs(t, err, ErrForeign)
	require.ErrorContains(t, &DamagedError{Path: "polls.db", Reason: "why"}, "restore")
	held := error(&HeldError{Space: "s", ID: "i", Holder: Owner{1}, Until: time.Unix(0, 0).UTC()})
	require.ErrorIs(t, held, ErrHeld)
	require.EqualError(t, held, "lease s/i is held by 01000000-0000-0000-0000-000000000000 until 1970-01-01T00:00:00Z")
}

// TestInvalidTexts checks that errors name the field, the value and what is
// allowed.
func TestInvalidTexts(t *testing.T) {
	for _, c := range []struct {
		w    Write
		want string
	}{
		{Write{Record: Record{ID: "i", Version: 1}}, "write 1 of 1: invalid argument: space is empty"},
		{Write{If: 3, Record: Record{Space: "s", ID: "i", Version: 2}}, "write 1 of 1: invalid argument: version 2, want 0 (delete) or more than if 3"},
		{Write{If: -3, Record: Record{Space: "s", ID: "i", Version: 2}}, "write 1 of 1: invalid argument: if -3, want 0 (must not exist) or the stored version"},
		{Write{Record: Record{Space: "s", ID: strings.Repeat("i", 1025), Version: 2}}, "write 1 of 1: too large: id of 1025 bytes, at most 1024"},
	} {
		require.EqualError(t, CheckWrites(c.w), c.want)
	}
}

// flaky fails as told. What failed may have been done all the same.
type flaky struct {
	DB
	get, write error
	done       bool // writes are done although they fail
}

func (f *flaky) Get(ctx context.Context, space string, ids ...string) ([]Record, error) {
	if f.get != nil {
		return nil, f.get
	}
	return f.DB.Get(ctx, space, ids...)
}

func (f *flaky) Write(ctx context.Context, writes ...Write) ([]Result, error) {
	if f.write == nil {
		return f.DB.Write(ctx, writes...)
	}
	if f.done {
		_, err := f.DB.Write(ctx, writes...)
		return nil, errors.Join(f.write, err)
	}
	return nil, f.write
}

func (f *flaky) Scan(ctx context.Context, space string) iter.Seq2[Record, error] {
	return f.DB.Scan(ctx, space)
}
