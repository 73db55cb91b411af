package firehosetest

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const feedPath = "/events?per_page=100"

// recorded is the recorded hour, if it is there.
func recorded(t testing.TB) []Arrival {
	t.Helper()
	dir := os.Getenv("CANNEDOS_DATA")
	if dir == "" {
		t.Skip("set CANNEDOS_DATA to the folder of recorded data: it names none")
	}
	data, err := os.ReadFile(filepath.Join(dir, "github-events-hour.csv.gz"))
	require.NoError(t, err)
	list, err := ReadArrivals(bytes.NewReader(data))
	require.NoError(t, err)
	return list
}

// readFeed lets a reader read a feed for an hour of virtual time.
func readFeed(t *testing.T, cfg Config, with func(r *reader)) (v ItemVerdict, all Verdict) {
	synctest.Test(t, func(t *testing.T) {
		cfg.ReplayFrom = 3 * time.Minute
		o := mustOrigin(t, cfg)
		r := newReader(t, o, feedPath)
		if with != nil {
			with(r)
		}
		v, all = r.run(57*time.Minute), o.Verdict()
		require.Zero(t, all.Impolite, "%+v", all)
	})
	t.Logf("%+v", v)
	return v, all
}

// requireComplete demands that nothing was lost silently, nor told twice.
func requireComplete(t *testing.T, v ItemVerdict) {
	t.Helper()
	require.Positive(t, v.Shown)
	require.Equal(t, v.Shown, v.Once)
	require.Zero(t, v.Lost+v.LostInGap+v.Unshown+v.Silent+v.Spanning)
	require.Equal(t, v.NeverShown, v.InGap+v.Unknowable)
}

func TestItemsOfHonestReader(t *testing.T) {
	made := MadeArrivals(1, time.Hour)
	for _, times := range []int{1, 10, 40} {
		t.Run(strconv.Itoa(times)+"x", func(t *testing.T) { honest(t, Overlay(made, times), times) })
	}
}

func TestItemsOfHonestReaderRecorded(t *testing.T) {
	hour := recorded(t)
	for _, times := range []int{1, 10, 40} {
		t.Run(strconv.Itoa(times)+"x", func(t *testing.T) { honest(t, Overlay(hour, times), times) })
	}
}

// honest reads a stream without faults: no gaps at its own rate, and numbers
// that fit above it.
func honest(t *testing.T, arrivals []Arrival, times int) {
	v, _ := readFeed(t, Config{Replay: arrivals}, nil)
	requireComplete(t, v)
	require.Zero(t, v.Unknowable)
	if times == 1 {
		require.Zero(t, v.Gaps)
		require.Zero(t, v.NeverShown)
		require.Greater(t, v.Items, int64(7000))
		require.Equal(t, v.Observations-1, v.Overlaps)
		return
	}
	require.Greater(t, v.Gaps, int64(50))
	require.Zero(t, v.Empty)
	require.Greater(t, v.NeverShown, int64(len(arrivals)/2))
	require.InEpsilon(t, float64(v.NeverShown), v.Estimated, 0.05)
}

// The faults of feeds (E-1, E-3, E-5, E-11) lose nothing silently with an honest
// reader.
func TestItemsUnderFaults(t *testing.T) {
	made := MadeArrivals(2, time.Hour)
	for _, times := range []int{1, 10, 40} {
		t.Run("E-3 E-5 E-11 "+strconv.Itoa(times)+"x", func(t *testing.T) {
			arrivals := Overlay(made, times)
			arrivals = Quieten(arrivals, 20*time.Minute, 30*time.Minute, 100)
			arrivals = Repeat(3, arrivals, 0.01, 10*time.Minute)
			arrivals = Delay(4, arrivals, 0.05, 30*time.Second/time.Duration(times))
			v, all := readFeed(t, Config{
				Replay: arrivals, ShiftOnPage: 3, PastLast: 404,
				PollSteps: []PollStep{{10 * time.Minute, 2 * time.Minute}, {40 * time.Minute, 30 * time.Second}},
				Faults:    []Fault{{0.03, Step{Kind: Status, Status: 502}}, {0.02, Step{Kind: Truncate}}},
			}, nil)
			requireComplete(t, v)
			require.Positive(t, all.Modified)
			if times == 40 {
				require.Greater(t, v.Gaps, int64(20))
			}
		})
	}
}

// Each dishonest reader is found out, by its own figure.
func TestItemsOfDishonestReaders(t *testing.T) {
	made := MadeArrivals(1, time.Hour)
	tests := []struct {
		name  string
		times int // below zero: with ten quiet minutes
		with  func(r *reader)
		check func(t *testing.T, v ItemVerdict)
	}{
		{"one that loses", 1, func(r *reader) { r.drop = 50 }, func(t *testing.T, v ItemVerdict) {
			require.Equal(t, v.Shown/50, v.Lost)
			require.Equal(t, v.Shown, v.Once+v.Lost)
		}},
		{"D-11 one that marks seen before it has published", 1, func(r *reader) { r.markFirst = 10 }, func(t *testing.T, v ItemVerdict) {
			require.Equal(t, v.Shown/10, v.Lost)
		}},
		{"D-11 the same in gaps", 10, func(r *reader) { r.markFirst = 10 }, func(t *testing.T, v ItemVerdict) {
			require.Zero(t, v.Silent)
			require.Equal(t, v.Shown/10, v.Lost+v.LostInGap)
			require.Positive(t, v.LostInGap)
		}},
		{"E-5 one that does not de-duplicate", 1, func(r *reader) { r.again = true }, func(t *testing.T, v ItemVerdict) {
			require.Greater(t, v.Repeated, v.Shown/2)
			require.Greater(t, v.Duplicates, v.Repeated/2)
			require.Zero(t, v.Lost)
		}},
		{"E-7 one that reports no gaps", 10, func(r *reader) { r.silent = true }, func(t *testing.T, v ItemVerdict) {
			require.Equal(t, v.NeverShown, v.Silent)
			require.Greater(t, v.Silent, v.Shown)
			require.Zero(t, v.InGap+v.Gaps)
		}},
		{"one that reports gaps where there are overlaps", 1, func(r *reader) { r.nervous = true }, func(t *testing.T, v ItemVerdict) {
			require.Equal(t, v.Gaps, v.Spanning)
			require.Equal(t, v.Gaps, v.Empty)
			require.Greater(t, v.Gaps, int64(50))
		}},
		{"one whose gap spans overlaps and losses", -10, func(r *reader) {
			r.silent = true
			r.report.Gaps = []ReportedGap{{From: time.Now().Add(time.Second), To: time.Now().Add(2 * time.Hour)}}
		}, func(t *testing.T, v ItemVerdict) {
			require.Zero(t, v.Silent)
			require.Positive(t, v.Overlaps)
			require.EqualValues(t, 1, v.Spanning)
			require.Zero(t, v.Empty)
		}},
		{"E-6 one that reads page one only", 1, func(r *reader) { r.lazy = true }, func(t *testing.T, v ItemVerdict) {
			require.Positive(t, v.InGap)
			require.Positive(t, v.Observations-v.Overlaps)
			require.Zero(t, v.Spanning)
		}},
		{"one that publishes what was never shown", 1, func(r *reader) {
			r.report.Published = []Publication{{ID: "1"}, {ID: made[len(made)-1].ID, At: time.Now()}}
		}, func(t *testing.T, v ItemVerdict) {
			require.EqualValues(t, 2, v.Unshown)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			arrivals := Overlay(made, max(test.times, -test.times))
			if test.times < 0 {
				arrivals = Quieten(arrivals, 20*time.Minute, 30*time.Minute, 100)
			}
			v, _ := readFeed(t, Config{Replay: arrivals}, test.with)
			test.check(t, v)
			require.Equal(t, v.Items, v.Shown+v.NeverShown)
			require.Equal(t, v.Shown, v.Once+v.Repeated+v.Lost+v.LostInGap)
		})
	}
}

// at makes arrivals of given instants, ids by their order.
func at(seconds ...float64) (list []Arrival) {
	for i, s := range seconds {
		list = append(list, Arrival{After: time.Duration(s * float64(time.Second)), ID: strconv.Itoa(i + 1)})
	}
	return list
}

// Late items (E-3) are silent losses only where an honest reader would have
// found them.
func TestItemsLate(t *testing.T) {
	stream := func(late ...Arrival) []Arrival {
		var list []Arrival
		for s := range 600 {
			list = append(list, Arrival{After: time.Duration(s) * time.Second, ID: strconv.Itoa(s)})
		}
		list = append(list, late...)
		sortArrivals(list)
		return list
	}
	tests := []struct {
		name           string
		late           Arrival
		lazy           bool
		shown          bool
		silent, hidden int64
	}{
		{name: "behind a few", late: Arrival{After: 299500 * time.Millisecond, Late: 30 * time.Second}, shown: true},
		{name: "behind a hundred and more, which a walk finds", late: Arrival{After: 199500 * time.Millisecond, Late: 130 * time.Second}, shown: true},
		{name: "behind a hundred and more, which a lazy one does not", late: Arrival{After: 199500 * time.Millisecond, Late: 130 * time.Second}, lazy: true, silent: 1},
		{name: "gone before the next poll", late: Arrival{After: 49500 * time.Millisecond, Late: 290 * time.Second}, hidden: 1},
		{name: "behind the window", late: Arrival{After: 49500 * time.Millisecond, Late: 400 * time.Second}, hidden: 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.late.ID = "late"
			var published []Publication
			synctest.Test(t, func(t *testing.T) {
				o := mustOrigin(t, Config{Replay: stream(test.late)})
				r := newReader(t, o, feedPath)
				r.lazy = test.lazy
				v := r.run(590 * time.Second)
				published = r.report.Published
				require.Equal(t, test.silent, v.Silent)
				require.Equal(t, test.hidden, v.Unknowable)
				require.Zero(t, v.Lost+v.Gaps)
			})
			require.Equal(t, test.shown, slices.ContainsFunc(published, func(p Publication) bool { return p.ID == "late" }))
		})
	}
}

// A reader that was killed before it read an answer was not shown its items.
func TestItemsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := mustOrigin(t, Config{Replay: at(0, 10, 20, 100, 200, 5000)})
		r := newReader(t, o, feedPath)
		time.Sleep(time.Minute)
		r.read()
		time.Sleep(time.Hour)
		r.c.poll(t.Context(), feedPath)
		o.Killed(time.Now())
		v := o.Items(r.report)
		require.EqualValues(t, 3, v.Items)
		require.EqualValues(t, 3, v.Once)
		time.Sleep(time.Hour)
		r.c.polls[feedPath].tag = ""
		r.read()
		v = o.Items(r.report)
		require.EqualValues(t, 6, v.Once)
		require.Zero(t, v.Lost+v.NeverShown)
		require.EqualValues(t, 2, v.Observations)
		require.EqualValues(t, 1, v.Overlaps)
	})
}

// Published and what it tells count for a replay as for made events.
func TestItemsPublished(t *testing.T) {
	in(t, Config{Replay: at(0, 1, 2, 3)}, func(t *testing.T, o *Origin) {
		time.Sleep(10 * time.Second)
		require.Equal(t, []string{"4", "3", "2", "1"}, idsOf(t, get(t, o, "/events")))
		for _, id := range []string{"1", "2", "2", "nobody's"} {
			o.Published(id)
		}
		v := o.Verdict()
		require.EqualValues(t, 4, v.Items)
		require.EqualValues(t, 4, v.Published)
		require.EqualValues(t, 1, v.Duplicates)
		require.EqualValues(t, 2, v.LostItems)
		items := o.Items(ItemReport{})
		require.EqualValues(t, 4, items.Shown)
		require.EqualValues(t, 1, items.Once)
		require.EqualValues(t, 1, items.Repeated)
		require.EqualValues(t, 2, items.Lost)
	})
	in(t, Config{}, func(t *testing.T, o *Origin) { require.Zero(t, o.Items(ItemReport{})) })
}

func idsOf(t *testing.T, a answer) (ids []string) {
	t.Helper()
	for _, e := range events(t, a) {
		ids = append(ids, e.ID)
	}
	return ids
}

// The oracle can be asked over HTTP too.
func TestItemsConsulted(t *testing.T) {
	in(t, Config{Replay: at(0, 1), Latency: Instant}, func(t *testing.T, o *Origin) {
		time.Sleep(time.Second)
		get(t, o, "/events")
		post := func(body string) answer {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://api.test/_oracle/items", strings.NewReader(body))
			require.NoError(t, err)
			return send(o.RoundTripper(), req)
		}
		require.Contains(t, post("").text, `"shown":2,"once":0`)
		a := post(`{"published":[{"id":"1"},{"id":"2","at":"2000-01-01T00:00:01Z"}],"gaps":[{"from":"2000-01-01T00:00:00Z","to":"2000-01-01T00:00:01Z","estimate":3}]}`)
		require.Equal(t, 200, a.StatusCode)
		require.Contains(t, a.text, `"once":2`)
		require.Contains(t, a.text, `"gaps":1,"spanning":0,"empty":1,"estimated":3`)
		require.Equal(t, 400, post("{").StatusCode)
	})
}

// What a client did not get whole it was not shown.
func TestItemsCut(t *testing.T) {
	in(t, Config{Replay: at(0, 1), Latency: Instant}, func(t *testing.T, o *Origin) {
		time.Sleep(time.Second)
		require.NoError(t, o.Script("/events", Step{Kind: Truncate}))
		require.Error(t, get(t, o, "/events").err)
		closed, err := o.RoundTripper().RoundTrip(newRequest(t, "/events"))
		require.NoError(t, err)
		require.NoError(t, closed.Body.Close())
		head := newRequest(t, "/events")
		head.Method = http.MethodHead
		require.NoError(t, send(o.RoundTripper(), head).err)
		require.Zero(t, o.Items(ItemReport{}).Items)
		require.Zero(t, o.Verdict().Items)
		get(t, o, "/events")
		require.EqualValues(t, 2, o.Items(ItemReport{}).Lost)
	})
}

func newRequest(t *testing.T, target string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://api.test"+target, nil)
	require.NoError(t, err)
	return req
}

// pass lets time pass in a bubble.
func pass(d time.Duration) { time.Sleep(d) }
