package firehose_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/firehose/firehosetest"
)

// In October 2025 the public feed nearly stopped for days, without an error, and
// archives noticed weeks later.
func TestE11_AFeedThatNearlyStopsIsTold(t *testing.T) {
	for _, times := range lighter([]int{1, 10}, []int{1}) {
		synctest.Test(t, func(t *testing.T) {
			stream := firehosetest.Overlay(firehosetest.MadeArrivals(1, 3*time.Hour), times)
			stream = firehosetest.Quieten(stream, 65*time.Minute, 125*time.Minute, 100)
			r := newFeedReader(t, firehosetest.Config{Replay: stream, ReplayFrom: 5 * time.Minute})
			r.config.DB = db.NewMemory()
			began := time.Now()
			var told []time.Duration
			var kinds []firehose.EventKind
			r.config.Observer = func(e firehose.Event) {
				if e.Kind == firehose.EventQuiet || e.Kind == firehose.EventLively {
					told, kinds = append(told, time.Since(began).Truncate(time.Minute)), append(kinds, e.Kind)
				}
			}
			r.life(40 * time.Minute) // what is usual outlives a restart
			r.life(80 * time.Minute)
			r.life(40 * time.Minute)
			require.Equal(t, []firehose.EventKind{firehose.EventQuiet, firehose.EventLively}, slices.Compact(kinds), told)
			require.Len(t, told, 2, told)
			require.InDelta(t, 72, told[0].Minutes(), 8)
			require.InDelta(t, 124, told[1].Minutes(), 4)
		})
	}
}
