package firehose_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/firehose/feeds"
	"github.com/cannedos/cannedos/firehose/firehosetest"
	"github.com/cannedos/cannedos/resource"
)

// arrivals returns the recorded hour where there is one, else one made with its
// statistics.
func arrivals(t *testing.T, seed uint64) []firehosetest.Arrival {
	t.Helper()
	dir := os.Getenv("CANNEDOS_DATA")
	if dir == "" {
		return firehosetest.MadeArrivals(seed, time.Hour)
	}
	file, err := os.Open(filepath.Join(dir, "github-events-hour.csv.gz"))
	if os.IsNotExist(err) {
		return firehosetest.MadeArrivals(seed, time.Hour)
	}
	require.NoError(t, err)
	defer file.Close()
	list, err := firehosetest.ReadArrivals(file)
	require.NoError(t, err)
	return list
}

// feedReader reads the feed of an origin with Events, in one life or several, and
// reports what came out of it.
type feedReader struct {
	t      *testing.T
	origin *firehosetest.Origin
	config firehose.Config
	events firehose.EventsConfig[feeds.Event]

	mu     sync.Mutex
	report firehosetest.ItemReport
	stats  firehose.EventsStats
}

func newFeedReader(t *testing.T, c firehosetest.Config) *feedReader {
	origin, err := firehosetest.New(c)
	require.NoError(t, err)
	token, err := resource.BearerToken("made-up")
	require.NoError(t, err)
	r := &feedReader{t: t, origin: origin}
	r.report.Published = []firehosetest.Publication{}
	r.config = firehose.Config{
		Resources: []resource.Spec{{URI: "https://origin.test/events?per_page=100", Profile: "p"}},
		Profiles:  map[string]resource.Profile{"p": {Credential: "c"}},
		Tokens:    resource.Fixed("c", token, "https://origin.test"),
		Seed:      c.Seed + 1, Transport: origin.RoundTripper(), RequestTimeout: 10 * time.Second,
	}
	r.events = firehose.EventsConfig[feeds.Event]{Reader: feeds.GitHub(), Sink: firehose.ItemSinkFunc[feeds.Event](r.take)}
	return r
}

func (r *feedReader) take(_ context.Context, b firehose.Batch[feeds.Event]) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, item := range b.Items {
		r.report.Published = append(r.report.Published, firehosetest.Publication{ID: item.ID, At: time.Now()})
	}
	if g := b.Gap; g != nil {
		r.report.Gaps = append(r.report.Gaps, firehosetest.ReportedGap{From: g.From, To: g.To, Estimate: g.Estimate})
	}
	return nil
}

// life serves an OS for a while.
func (r *feedReader) life(length time.Duration) {
	r.t.Helper()
	events, err := firehose.NewEvents(r.events)
	require.NoError(r.t, err)
	config := r.config
	config.Sink = events
	canned, err := firehose.New(config)
	require.NoError(r.t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- canned.Serve(ctx) }()
	time.Sleep(length)
	stop()
	require.NoError(r.t, <-done)
	r.stats = events.Stats()
}

// verdict is the oracle's, after all were polite.
func (r *feedReader) verdict() firehosetest.ItemVerdict {
	r.t.Helper()
	v := r.origin.Verdict()
	require.Zero(r.t, v.Impolite, "impolite requests: %+v", v)
	items := r.origin.Items(r.report)
	text, err := json.Marshal(items)
	require.NoError(r.t, err)
	r.t.Logf("%s; %+v", text, r.stats)
	return items
}

// At the rate of the recorded hour nothing is missed. At ten and forty times that
// most is, and is said to be.
func TestE7_TheLossOfAWindowThatIsTooSmallIsReported(t *testing.T) {
	stream := arrivals(t, 1)
	for _, times := range lighter([]int{1, 10, 40}, []int{1, 10}) {
		t.Run(fmt.Sprintf("%dx", times), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newFeedReader(t, firehosetest.Config{Seed: uint64(times), Replay: firehosetest.Overlay(stream, times), ReplayFrom: 5 * time.Minute})
				r.config.DB = db.NewMemory()
				r.life(54 * time.Minute)
				v := r.verdict()
				require.Zero(t, v.Lost+v.LostInGap+v.Silent+v.Unknowable+v.Repeated+v.Unshown)
				require.Equal(t, v.Shown, v.Once)
				require.Greater(t, v.Shown, int64(6000))
				require.Zero(t, v.Spanning)
				if times == 1 {
					require.Zero(t, v.Gaps)
					require.Zero(t, v.NeverShown)
					return
				}
				require.Positive(t, v.Gaps)
				require.InEpsilon(t, float64(v.NeverShown), v.Estimated, 0.05)
				require.Equal(t, v.NeverShown, v.InGap)
			})
		})
	}
}
