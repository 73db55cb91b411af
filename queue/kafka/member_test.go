package kafka

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

func newResource(t testing.TB, uri string) resource.Resource {
	r, err := resource.New(resource.Spec{URI: uri}, "")
	require.NoError(t, err)
	return r
}

func TestHandedOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1)
		a := r.start(nil)
		s, err := a.part(t, 0).Queue.Open(t.Context())
		require.NoError(t, err)
		res := newResource(t, "https://a.example/")
		due := time.Now().Add(time.Hour)
		require.NoError(t, s.Commit(t.Context(), nil, queue.Message{Queue: "analyze", Resource: res, Due: due}))
		begun := time.Now()
		a.stop()
		<-a.ended
		require.NoError(t, a.err)
		b := r.start(nil)
		_, err = b.part(t, 0).Queue.Open(t.Context())
		require.NoError(t, err)
		t.Logf("handed over in %v", time.Since(begun))
		m, held, err := b.part(t, 0).Queue.(queue.Finder).Find(t.Context(), res.ID)
		require.NoError(t, err)
		require.False(t, held)
		require.Equal(t, res.URI, m.Resource.URI)
		require.WithinDuration(t, due, m.Due, time.Millisecond)
	})
}
