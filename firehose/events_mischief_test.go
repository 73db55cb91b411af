package firehose_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/firehose/feeds"
	"github.com/cannedos/cannedos/firehose/firehosetest"
	"github.com/cannedos/cannedos/queue"
)

// Whatever shifts, comes late, comes twice or starts anew: what any page showed is
// published once, and what none did lies in a gap.
func TestE3_E5_NothingIsLostInSilence(t *testing.T) {
	stream := arrivals(t, 2)
	for _, times := range lighter([]int{1, 2, 10, 40}, []int{1, 10}) {
		list := firehosetest.Repeat(3, firehosetest.Delay(3, firehosetest.Overlay(stream, times), 0.05, 4*time.Minute), 0.01, 10*time.Minute)
		for _, shift := range []int{0, 7, 150} {
			t.Run(fmt.Sprintf("%dx, %d at each page", times, shift), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newFeedReader(t, firehosetest.Config{Seed: uint64(times), Replay: list, ReplayFrom: 5 * time.Minute, ShiftOnPage: shift})
					r.config.DB = db.NewMemory()
					for range 6 {
						r.life(8 * time.Minute)
					}
					v := r.verdict()
					require.Zero(t, v.Lost+v.LostInGap+v.Silent+v.Repeated+v.Unshown)
					require.Equal(t, v.Shown, v.Once)
					require.Greater(t, v.Shown, int64(3000))
				})
			})
		}
	}
}

// killed is one life of a reader that is killed.
func (r *feedReader) killed(store *db.Memory, length time.Duration, c *crasher) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dying := &faultyDB{DB: store, c: c, dead: ctx}
	events := r.events
	events.Sink = firehose.ItemSinkFunc[feeds.Event](func(_ context.Context, b firehose.Batch[feeds.Event]) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch c.roll(0.02, 0.02) {
		case 1:
			return errors.New("not in the mood")
		case 2: // it has taken it, and its word for it is lost
			require.NoError(r.t, r.take(ctx, b))
			return errors.New("lost")
		}
		return r.take(ctx, b)
	})
	sink, err := firehose.NewEvents(events)
	require.NoError(r.t, err)
	config := r.config
	config.DB, config.Sink = dying, sink
	config.Transport = &mortal{base: r.origin.RoundTripper(), dead: ctx}
	inner, err := queue.NewDurable(dying, queue.DurableConfig{})
	require.NoError(r.t, err)
	config.Queue = &faultyQueue{Queue: inner, c: c}
	canned, err := firehose.New(config)
	require.NoError(r.t, err)
	serving, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- canned.Serve(serving) }()
	time.Sleep(length)
	r.origin.Killed(time.Now())
	cancel()
	stop()
	<-done
	inner.Close()
}

// Killed at any instant, with faults of the origin, of the store and of the sink:
// everything that was shown is published at least once.
func TestD11_KilledReadersLoseNothing(t *testing.T) {
	stream := arrivals(t, 4)
	for _, times := range lighter([]int{1, 10, 40}, []int{1, 10}) {
		t.Run(fmt.Sprintf("%dx", times), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newFeedReader(t, firehosetest.Config{
					Seed: uint64(times), Replay: firehosetest.Delay(5, firehosetest.Overlay(stream, times), 0.02, 2*time.Minute), ReplayFrom: 5 * time.Minute,
					Unread: time.Second, Latency: 100 * time.Millisecond, Secondary: 0.003,
					Faults: []firehosetest.Fault{
						{Probability: 0.01, Step: firehosetest.Step{Kind: firehosetest.Status, Status: 502}},
						{Probability: 0.01, Step: firehosetest.Step{Kind: firehosetest.Reset}},
						{Probability: 0.01, Step: firehosetest.Step{Kind: firehosetest.Truncate}},
						{Probability: 0.01, Step: firehosetest.Step{Kind: firehosetest.LoginPage}},
					},
				})
				rng := rand.New(rand.NewPCG(uint64(times), 6))
				store, c := db.NewMemory(), &crasher{rng: rng}
				for end := time.Now().Add(45 * time.Minute); time.Now().Before(end); {
					r.killed(store, time.Duration(60+rng.IntN(400))*time.Second, c)
				}
				c.off.Store(true)
				r.config.DB = store
				// What a reading that was cut has missed is said by one of the next: a
				// life ends well in which none was.
				for r.life(8 * time.Minute); r.stats.Cut > 0; {
					r.life(3 * time.Minute)
				}
				v := r.verdict()
				require.Zero(t, v.Lost+v.Silent+v.Unshown)
				require.Greater(t, v.Shown, int64(3000))
				t.Logf("%d of %d items came more than once", v.Repeated, v.Shown)
			})
		})
	}
}
