package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// graves are error queues in memory.
type graves struct {
	mu     sync.Mutex
	all    map[string][]firehose.Buried // in order of id
	replay map[resource.ID]bool         // taken by somebody else while they are looked at
}

func (g *graves) bury(t *testing.T, name string, from, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range n {
		r := newResource(t, fmt.Sprintf("https://a.example/%d", from+i))
		g.all[name] = append(g.all[name], firehose.Buried{Queue: name, Cause: "404", Resource: r})
	}
	slices.SortFunc(g.all[name], func(a, b firehose.Buried) int { return slices.Compare(a.Resource.ID[:], b.Resource.ID[:]) })
}

func (g *graves) Errors(_ context.Context, name string, after resource.ID, limit int) (page []firehose.Buried, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, b := range g.all[name] {
		if slices.Compare(b.Resource.ID[:], after[:]) > 0 && len(page) < limit {
			page = append(page, b)
		}
	}
	return page, nil
}

func (g *graves) Drain(_ context.Context, ids ...resource.ID) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name := range g.all {
		before := len(g.all[name])
		g.all[name] = slices.DeleteFunc(g.all[name], func(b firehose.Buried) bool { return slices.Contains(ids, b.Resource.ID) })
		if len(g.all[name]) < before {
			if g.replay[ids[0]] {
				return fmt.Errorf("firehose: drain: %w", firehose.ErrUnknown)
			}
			return nil
		}
	}
	return fmt.Errorf("firehose: drain: %w", firehose.ErrUnknown)
}

func (g *graves) left() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, all := range g.all {
		n += len(all)
	}
	return n
}

func newDrain(t *testing.T, change func(*ErrorDrainConfig)) (*rig, *graves, *ErrorDrain) {
	r := newRig(t, 1)
	c := ErrorDrainConfig{Cluster: r.plugged(r.cable())}
	if change != nil {
		change(&c)
	}
	require.NoError(t, CreateErrorsTopic(t.Context(), c, LogTopic{Replicas: 1, Partitions: 2}))
	g := &graves{all: map[string][]firehose.Buried{}, replay: map[resource.ID]bool{}}
	d, err := NewErrorDrain(c, g)
	require.NoError(t, err)
	return r, g, d
}

func TestErrorDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, g, d := newDrain(t, nil)
		g.bury(t, firehose.QueueAnalyzeError, 0, 300)
		g.bury(t, firehose.QueuePublishError, 1000, 10)
		g.replay[newResource(t, "https://a.example/1003").ID] = true
		n, err := d.Once(t.Context())
		require.NoError(t, err)
		require.Equal(t, 309, n)
		require.Zero(t, g.left())
		got := map[string]firehose.Buried{}
		for _, rec := range r.records(t, DefaultErrorsTopic) {
			var b firehose.Buried
			require.NoError(t, json.Unmarshal(rec.Value, &b))
			require.Equal(t, b.Resource.ID.String(), string(rec.Key))
			require.Equal(t, b.Queue, string(rec.Headers[1].Value))
			got[b.Resource.URI] = b
		}
		require.Len(t, got, 310)
		require.Equal(t, firehose.QueuePublishError, got["https://a.example/1007"].Queue)
	})
}

// Nothing leaves its queue before the topic has it.
func TestErrorDrainFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plug := &cable{}
		r, g, d := newDrain(t, func(c *ErrorDrainConfig) { c.Interval = 10 * time.Second })
		plug.rig = r
		d.config.Cluster = r.plugged(plug)
		fault := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		g.bury(t, firehose.QueueRequestsError, 0, 5)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- d.Serve(ctx) }()
		time.Sleep(time.Minute)
		require.Equal(t, 5, g.left())
		fault.Remove()
		time.Sleep(15 * time.Second)
		require.Zero(t, g.left())
		plug.pull()
		g.bury(t, firehose.QueueRequestsError, 10, 5)
		time.Sleep(3 * time.Minute)
		require.Equal(t, 5, g.left())
		plug.plug()
		time.Sleep(3 * time.Minute)
		require.Zero(t, g.left())
		cancel()
		require.NoError(t, <-ended)
		seen := map[string]bool{}
		for _, rec := range r.records(t, DefaultErrorsTopic) {
			seen[string(rec.Key)] = true
		}
		require.Len(t, seen, 10)
	})
	_, err := NewErrorDrain(ErrorDrainConfig{Interval: 1}, nil)
	require.ErrorContains(t, err, "ErrorDrainConfig.Interval")
}
