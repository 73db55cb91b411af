package queue_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// choices decide what a run of the model does next.
type choices interface{ IntN(n int) int }

// fuzzed are choices out of the bytes of a fuzzer; zero when they have run out.
type fuzzed struct{ data []byte }

func (f *fuzzed) IntN(n int) int {
	if len(f.data) == 0 {
		return 0
	}
	c := int(f.data[0]) % n
	f.data = f.data[1:]
	return c
}

// model is the queue as one would write it without a thought of speed, beside
// the real one.
type model struct {
	t *testing.T
	choices
	m    *queue.Memory
	all  map[resource.ID]*entry
	seq  int
	made int
	full int // messages at most

	sessions []*modelSession
}

type entry struct {
	queue.Message
	seq         int
	holder      *modelSession
	delivery    queue.Delivery
	redelivered bool
}

type modelSession struct {
	queue.Session
	cancel context.CancelFunc
}

const modelRoom = 60

var modelNames = []string{"analyze", "frozen-50", "frozen-1000", "requests", "publish-error"}

func TestMemoryAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				runModel(t, rand.New(rand.NewPCG(seed, 7)), 4000)
			})
		})
	}
}

func FuzzMemoryAgainstModel(f *testing.F) {
	f.Add([]byte("admit, receive, commit"))
	f.Add(bytes.Repeat([]byte{0, 3, 1, 4, 2, 9, 7, 200}, 40))
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) { runModel(t, &fuzzed{data}, min(len(data), 500)) })
	})
}

func runModel(t *testing.T, c choices, steps int) {
	m, err := queue.NewMemory(queue.MemoryConfig{Capacity: modelRoom})
	require.NoError(t, err)
	defer m.Close()
	x := &model{t: t, choices: c, m: m, all: map[resource.ID]*entry{}, full: modelRoom}
	for range 3 {
		x.open()
	}
	ops := []func(){
		x.admit, x.admit, x.admit, x.receive, x.receive, x.receive, x.receive,
		x.commit, x.commit, x.commit, x.commit, x.commit, x.take, x.find, x.depths, x.list, x.sleep, x.endSession,
		x.commitStale,
	}
	for range steps {
		ops[x.IntN(len(ops))]()
		if t.Failed() {
			return
		}
	}
	x.drain()
}

func (x *model) open() {
	ctx, cancel := context.WithCancel(context.Background())
	s, err := x.m.Open(ctx)
	require.NoError(x.t, err)
	x.sessions = append(x.sessions, &modelSession{s, cancel})
}

func (x *model) session() *modelSession { return x.sessions[x.IntN(len(x.sessions))] }

func (x *model) name() string { return modelNames[x.IntN(len(modelNames))] }

// due returns instants of every kind: none, past, this very tick, soon, and so
// far away that every level of the wheel is used. Many are equal.
func (x *model) due() time.Time {
	now := time.Now()
	coarse := now.Truncate(time.Second)
	switch x.IntN(9) {
	case 0, 1:
		return time.Time{}
	case 2:
		return coarse.Add(-time.Duration(x.IntN(5)) * time.Second)
	case 3:
		return now.Add(time.Duration(x.IntN(2_000_000)))
	case 4:
		return coarse.Add(time.Duration(x.IntN(4)) * time.Second)
	case 5:
		return now.Add(time.Duration(x.IntN(300)) * time.Second)
	case 6:
		return now.Add(time.Duration(x.IntN(50)) * time.Hour).Round(0) // of the wall clock
	case 7:
		return now.Add(time.Duration(x.IntN(2000)) * 24 * time.Hour)
	}
	return now.Add(time.Duration(x.IntN(1000)) * time.Millisecond)
}

func (x *model) resource() resource.Resource {
	x.made++
	r := resource.Resource{Credential: "token", Origin: "https://h.example", Bucket: fmt.Sprint("b", x.IntN(3))}
	r.ID = resource.DeriveID(resource.ID{}, fmt.Sprint(x.made))
	r.URI = fmt.Sprintf("https://h.example/%0*d", 1+x.IntN(200), x.made)
	r.Profile = fmt.Sprint("p", x.IntN(2))
	r.NotBefore = time.Now().Add(time.Duration(x.IntN(1e9)))
	return r
}

// admit admits one to three messages, now and then one that is in already. It
// never asks for more room than there is: that is another test.
func (x *model) admit() {
	n := min(1+x.IntN(3), x.full-len(x.all))
	if n <= 0 {
		return
	}
	var next []queue.Message
	var exists []resource.ID
	for range n {
		m := queue.Message{Queue: x.name(), Resource: x.resource(), Due: x.due(), Attempts: x.IntN(300)}
		if x.IntN(10) == 0 && len(x.all) > 0 {
			m.Resource.ID = x.any().Resource.ID
			if slices.ContainsFunc(next, func(o queue.Message) bool { return o.Resource.ID == m.Resource.ID }) {
				continue
			}
			exists = append(exists, m.Resource.ID)
		}
		next = append(next, m)
	}
	err := x.session().Commit(x.t.Context(), nil, next...)
	if exists != nil {
		var e *queue.ExistsError
		require.ErrorAs(x.t, err, &e)
		require.Equal(x.t, exists, e.IDs)
		return
	}
	require.NoError(x.t, err)
	for _, m := range next {
		x.land(m, &entry{})
	}
}

// land lets a message arrive in the model.
func (x *model) land(m queue.Message, e *entry) {
	x.seq++
	m.Resource.Version++
	if m.Due.IsZero() {
		m.Due = time.Now()
	}
	*e = entry{Message: m, seq: x.seq}
	x.all[m.Resource.ID] = e
}

// any returns one of all, by choice and not by the order of a map.
func (x *model) any() *entry {
	ids := slices.SortedFunc(maps.Keys(x.all), func(a, b resource.ID) int { return bytes.Compare(a[:], b[:]) })
	return x.all[ids[x.IntN(len(ids))]]
}

// waiting returns what waits in a name, in the order of delivery.
func (x *model) waiting(name string) []*entry {
	var es []*entry
	for _, e := range x.all {
		if e.Queue == name && e.holder == nil {
			es = append(es, e)
		}
	}
	slices.SortFunc(es, func(a, b *entry) int { return cmp.Or(a.Due.Compare(b.Due), a.seq-b.seq) })
	return es
}

// receive waits for a while, and expects exactly what is due first, at exactly
// the instant at which it is due.
func (x *model) receive() {
	name, limit, s := x.name(), 1+x.IntN(5), x.session()
	patience := time.Duration(x.IntN(3000))*time.Millisecond + 1
	waiting := x.waiting(name)
	now := time.Now()
	errPatience := errors.New("nothing came")
	ctx, cancel := context.WithTimeoutCause(x.t.Context(), patience, errPatience)
	defer cancel()
	at := now
	if len(waiting) > 0 && waiting[0].Due.After(now) {
		at = waiting[0].Due
	}
	if at.Sub(now) == patience {
		return // either may happen
	}
	ds, err := s.Receive(ctx, name, limit)
	if len(waiting) == 0 || at.Sub(now) > patience {
		require.ErrorIs(x.t, err, errPatience)
		return
	}
	require.NoError(x.t, err)
	require.Zero(x.t, time.Since(at), "late")
	var want []*entry
	for _, e := range waiting {
		if !e.Due.After(at) && len(want) < limit {
			want = append(want, e)
		}
	}
	require.Len(x.t, ds, len(want), "of %q at %v", name, at)
	for i, e := range want {
		x.same(e, ds[i])
		e.holder, e.delivery = s, ds[i]
	}
}

func (x *model) same(e *entry, d queue.Delivery) {
	require.Equal(x.t, e.Resource.ID, d.Resource.ID)
	require.Equal(x.t, e.redelivered, d.Redelivered)
	x.sameMessage(e, d.Message)
}

func (x *model) sameMessage(e *entry, got queue.Message) {
	want := e.Message
	require.True(x.t, want.Due.Equal(got.Due), "Due: want %v, got %v", want.Due, got.Due)
	require.True(x.t, want.Resource.NotBefore.Equal(got.Resource.NotBefore))
	want.Due, want.Resource.NotBefore = got.Due, got.Resource.NotBefore
	require.Equal(x.t, want, got)
}

// held returns what a session holds, oldest arrival first.
func (x *model) held(s *modelSession) []*entry {
	var es []*entry
	for _, e := range x.all {
		if e.holder == s {
			es = append(es, e)
		}
	}
	slices.SortFunc(es, func(a, b *entry) int { return a.seq - b.seq })
	return es
}

// commit moves or retires some of what a session holds, in a mixed order.
func (x *model) commit() {
	s := x.session()
	var done []queue.Delivery
	var next []queue.Message
	var es []*entry
	for _, e := range x.held(s) {
		if len(done) == 4 {
			break
		}
		es = append(es, e)
		done = append(done, e.delivery)
		if x.IntN(6) > 0 {
			m := e.delivery.To(x.name(), x.due())
			m.Attempts, m.Cause = x.IntN(3), []string{"", "why"}[x.IntN(2)]
			if x.IntN(4) == 0 {
				m.Response = &resource.Response{Body: make([]byte, x.IntN(100))}
			}
			m.Resource.Validators.ETag = fmt.Sprintf("%0*d", x.IntN(64), 1)
			next = append(next, m)
		}
	}
	if x.IntN(3) == 0 {
		slices.Reverse(next)
	}
	require.NoError(x.t, s.Commit(x.t.Context(), done, next...))
	for _, e := range es {
		delete(x.all, e.Resource.ID)
	}
	for _, m := range next {
		x.land(m, &entry{})
	}
}

// commitStale gives up what the session doesn't hold: nothing may happen.
func (x *model) commitStale() {
	if len(x.all) == 0 {
		return
	}
	e, s := x.any(), x.session()
	if e.holder == s || e.delivery.Receipt == 0 {
		return
	}
	moved := e.delivery.Resource.Version < e.Resource.Version
	err := s.Commit(x.t.Context(), []queue.Delivery{e.delivery}, e.delivery.To("stolen", time.Time{}))
	if moved {
		require.NoError(x.t, err)
	} else {
		require.ErrorIs(x.t, err, queue.ErrLost)
	}
	require.ErrorIs(x.t, s.Commit(x.t.Context(), []queue.Delivery{e.delivery}), queue.ErrLost)
}

func (x *model) take() {
	if len(x.all) == 0 {
		return
	}
	e, s := x.any(), x.session()
	d, err := s.Session.(queue.Taker).Take(x.t.Context(), e.Resource.ID)
	if e.holder != nil {
		require.ErrorIs(x.t, err, queue.ErrHeld)
		return
	}
	require.NoError(x.t, err)
	x.same(e, d)
	e.holder, e.delivery = s, d
}

func (x *model) find() {
	if len(x.all) == 0 {
		return
	}
	e := x.any()
	m, held, err := x.m.Find(x.t.Context(), e.Resource.ID)
	require.NoError(x.t, err)
	require.Equal(x.t, e.holder != nil, held)
	without := *e
	without.Response = nil
	x.sameMessage(&without, m)
}

func (x *model) depths() {
	got, err := x.m.Depths(x.t.Context())
	require.NoError(x.t, err)
	for _, d := range got {
		want := queue.Depth{Name: d.Name}
		for _, e := range x.all {
			switch {
			case e.Queue != d.Name:
				continue
			case e.holder != nil:
				want.Held++
			case e.Due.After(time.Now()):
				want.Waiting++
				if want.Next.IsZero() || e.Due.Before(want.Next) {
					want.Next = e.Due
				}
			default:
				want.Ready++
			}
			if e.Response != nil {
				want.Bodies += e.Response.Size()
			}
		}
		require.True(x.t, want.Next.Equal(d.Next), "Next of %q: want %v, got %v", d.Name, want.Next, d.Next)
		want.Next = d.Next
		require.Equal(x.t, want, d)
	}
}

func (x *model) list() {
	name, limit := x.name(), 1+x.IntN(8)
	var want, got []resource.ID
	for id, e := range x.all {
		if e.Queue == name {
			want = append(want, id)
		}
	}
	slices.SortFunc(want, func(a, b resource.ID) int { return bytes.Compare(a[:], b[:]) })
	var after resource.ID
	for {
		ms, err := x.m.List(x.t.Context(), name, after, limit)
		require.NoError(x.t, err)
		for _, m := range ms {
			got = append(got, m.Resource.ID)
		}
		if len(ms) < limit {
			break
		}
		after = got[len(got)-1]
	}
	require.Equal(x.t, want, got)
}

func (x *model) sleep() {
	time.Sleep([]time.Duration{1, time.Millisecond, time.Second, time.Minute, 30 * time.Hour, 500 * 24 * time.Hour}[x.IntN(6)])
}

// endSession ends one by Close or by its context, and opens another.
func (x *model) endSession() {
	i := x.IntN(len(x.sessions))
	s := x.sessions[i]
	if x.IntN(2) == 0 {
		s.cancel()
		synctest.Wait()
	}
	require.NoError(x.t, s.Close())
	s.cancel()
	for _, e := range x.held(s) {
		e.holder, e.redelivered = nil, true
	}
	x.sessions = slices.Delete(x.sessions, i, i+1)
	x.open()
}

// drain ends everything: what was never retired comes out, each once.
func (x *model) drain() {
	for len(x.sessions) > 0 {
		s := x.sessions[0]
		require.NoError(x.t, s.Close())
		s.cancel()
		x.sessions = x.sessions[1:]
		for _, e := range x.held(s) {
			e.holder, e.redelivered = nil, true
		}
	}
	x.open()
	time.Sleep(10 * 365 * 24 * time.Hour)
	for _, name := range modelNames {
		for len(x.waiting(name)) > 0 {
			want := x.waiting(name)
			ds, err := x.sessions[0].Receive(x.t.Context(), name, len(want))
			require.NoError(x.t, err)
			require.Len(x.t, ds, len(want))
			for i := range ds {
				x.same(want[i], ds[i])
				delete(x.all, ds[i].Resource.ID)
			}
			require.NoError(x.t, x.sessions[0].Commit(x.t.Context(), ds))
		}
	}
	require.Empty(x.t, x.all)
	x.sessions[0].cancel()
}
