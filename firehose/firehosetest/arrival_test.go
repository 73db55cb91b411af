package firehosetest

import (
	"bytes"
	"compress/gzip"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const titles = "unix_ts,id,type,repo\n"

func TestReadArrivals(t *testing.T) {
	const text = titles + "1000,7,PushEvent,a/b\n1002,9,ForkEvent,c/d\n1000,8,PushEvent,\"e/\"\"f\"\n"
	want := []Arrival{
		{After: 250 * time.Millisecond, ID: "7", Type: "PushEvent", Repo: "a/b"},
		{After: 750 * time.Millisecond, ID: "8", Type: "PushEvent", Repo: `e/"f`},
		{After: 2500 * time.Millisecond, ID: "9", Type: "ForkEvent", Repo: "c/d"},
	}
	list, err := ReadArrivals(strings.NewReader(text))
	require.NoError(t, err)
	require.Equal(t, want, list)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err = z.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	list, err = ReadArrivals(&packed)
	require.NoError(t, err)
	require.Equal(t, want, list)
	list, err = ReadArrivals(strings.NewReader(titles))
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestReadArrivalsErrors(t *testing.T) {
	for text, want := range map[string]ArrivalError{
		"ts,id,type,repo\n":                  {1, "column", "ts", "unix_ts"},
		titles + "x,7,P,r\n":                 {2, "unix_ts", "x", "seconds, 0 to 2^33"},
		titles + "-1,7,P,r\n":                {2, "unix_ts", "-1", "seconds, 0 to 2^33"},
		titles + "99999999999,7,P,r\n":       {2, "unix_ts", "99999999999", "seconds, 0 to 2^33"},
		titles + "1,1,P,r\n1,,P,r\n":         {3, "id", "", "1 to 256 bytes"},
		titles + "1,1," + long(300) + ",r\n": {2, "type", long(64), "at most 256 bytes"},
		titles + "1,1,P," + long(300) + "\n": {2, "repo", long(64), "at most 256 bytes"},
		titles + "1," + long(257) + ",P,r\n": {2, "id", long(64), "1 to 256 bytes"},
	} {
		_, err := ReadArrivals(strings.NewReader(text))
		var got *ArrivalError
		require.ErrorAs(t, err, &got, text)
		require.Equal(t, want, *got)
		require.Contains(t, err.Error(), "firehosetest: arrival "+strconv.Itoa(want.Line)+": "+want.Field)
	}
	for _, text := range []string{titles + "1,2,3\n", titles + "1,\"2,3,4\n", "\x1f\x8bnonsense"} {
		_, err := ReadArrivals(strings.NewReader(text))
		require.ErrorContains(t, err, "firehosetest: arrivals: ")
	}
}

func long(n int) string { return strings.Repeat("x", n) }

// FuzzReadArrivals: whatever comes in, a list that Config.Replay takes comes
// out, or an error.
func FuzzReadArrivals(f *testing.F) {
	f.Add([]byte(titles + "1000,7,PushEvent,a/b\n999,7,,\n"))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Add([]byte(titles + "8589934592,\"7\n\",,\n0,x,y,z\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ReadArrivals(bytes.NewReader(data))
		if err != nil {
			return
		}
		for i, a := range list {
			if i > 0 && a.After < list[i-1].After || a.After < 0 || a.ID == "" {
				t.Fatalf("%d: %+v", i, a)
			}
		}
		if len(list) > 0 && list[len(list)-1].After <= longestReplay {
			if err := validArrivals(list); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// figuresOf are the statistics of a stream.
type figuresOf struct{ rate, variance, busiest, step float64 }

func measure(t *testing.T, list []Arrival) (f figuresOf) {
	t.Helper()
	perSecond := map[int]float64{}
	perMinute := map[int]float64{}
	for _, a := range list {
		perSecond[int(a.After/time.Second)]++
		perMinute[int(a.After/time.Minute)]++
	}
	seconds := float64(list[len(list)-1].After/time.Second + 1)
	f.rate = float64(len(list)) / seconds
	for s := range int(seconds) {
		f.variance += (perSecond[s] - f.rate) * (perSecond[s] - f.rate) / seconds
	}
	for _, n := range perMinute {
		f.busiest = max(f.busiest, n)
	}
	first, err := strconv.ParseInt(list[0].ID, 10, 64)
	require.NoError(t, err)
	last, err := strconv.ParseInt(list[len(list)-1].ID, 10, 64)
	require.NoError(t, err)
	f.step = float64(last-first) / float64(len(list)-1)
	return f
}

func requireAlike(t *testing.T, f figuresOf) {
	t.Helper()
	require.InEpsilon(t, 2.14, f.rate, 0.05)
	require.InEpsilon(t, 4.72, f.variance, 0.15)
	require.InDelta(t, 174, f.busiest, 25)
	require.InEpsilon(t, 3.596, f.step, 0.05)
}

// A made stream has the statistics of the recorded hour.
func TestMadeArrivals(t *testing.T) {
	for seed := range uint64(5) {
		list := MadeArrivals(seed, time.Hour)
		require.NoError(t, validArrivals(list))
		requireAlike(t, measure(t, list))
		ids, types := map[string]bool{}, map[string]int{}
		for _, a := range list {
			ids[a.ID] = true
			types[a.Type]++
		}
		require.Len(t, ids, len(list))
		require.InEpsilon(t, 0.556, float64(types["PushEvent"])/float64(len(list)), 0.05)
		require.Equal(t, list, MadeArrivals(seed, time.Hour))
	}
	require.Empty(t, MadeArrivals(1, 0))
}

func TestMadeArrivalsAreAsRecorded(t *testing.T) {
	list := recorded(t)
	require.Len(t, list, 7702)
	require.Less(t, list[len(list)-1].After, time.Hour)
	requireAlike(t, measure(t, list))
}

func TestOverlay(t *testing.T) {
	made := MadeArrivals(1, time.Hour)
	for _, times := range []int{10, 40} {
		list := Overlay(made, times)
		require.Len(t, list, times*len(made))
		require.NoError(t, validArrivals(list))
		require.Less(t, list[len(list)-1].After, time.Hour)
		f := measure(t, list)
		require.InEpsilon(t, 2.14*float64(times), f.rate, 0.05)
		require.InEpsilon(t, 4.72*float64(times), f.variance, 0.3)
		require.InEpsilon(t, 3.596, f.step, 0.05)
		last := int64(0)
		for _, a := range list {
			id, err := strconv.ParseInt(a.ID, 10, 64)
			require.NoError(t, err)
			require.Greater(t, id, last)
			last = id
		}
	}
	require.Equal(t, made, Overlay(made, 1))
	require.Empty(t, Overlay(nil, 5))
	named := Overlay([]Arrival{{ID: "a"}, {After: 1, ID: "b"}}, 2)
	require.Len(t, named, 4)
}

func TestMischief(t *testing.T) {
	made := MadeArrivals(1, time.Hour)
	late := Delay(1, made, 0.1, time.Minute)
	require.NoError(t, validArrivals(late))
	count, most := 0, time.Duration(0)
	for _, a := range late {
		if a.Late > 0 {
			count++
			most = max(most, a.Late)
		}
	}
	require.InEpsilon(t, 0.1, float64(count)/float64(len(late)), 0.15)
	require.InEpsilon(t, float64(time.Minute), float64(most), 0.1)
	require.Zero(t, made[0].Late, "the original is left alone")

	again := Repeat(1, made, 0.1, time.Minute)
	require.NoError(t, validArrivals(again))
	require.InEpsilon(t, 1.1, float64(len(again))/float64(len(made)), 0.02)
	ids := map[string]int{}
	for _, a := range again {
		ids[a.ID]++
	}
	require.Len(t, ids, len(made))
	require.Empty(t, Repeat(1, nil, 1, time.Minute))

	quiet := Quieten(made, 10*time.Minute, 20*time.Minute, 10)
	inside := func(list []Arrival) (n float64) {
		for _, a := range list {
			if a.After >= 10*time.Minute && a.After < 20*time.Minute {
				n++
			}
		}
		return n
	}
	require.InDelta(t, math.Floor(inside(made)/10), inside(quiet), 0)
	require.Zero(t, inside(Quieten(made, 10*time.Minute, 20*time.Minute, 0)))
}

func TestReplayErrors(t *testing.T) {
	for want, list := range map[string][]Arrival{
		`arrival 1: After "1s": must be not before`: {{After: 2 * time.Second, ID: "1"}, {After: time.Second, ID: "2"}},
		`arrival 0: After "-1ns"`:                   {{After: -1, ID: "1"}},
		`arrival 0: Late "-1ns"`:                    {{Late: -1, ID: "1"}},
		`arrival 0: id ""`:                          {{}},
	} {
		_, err := New(Config{Replay: list})
		require.ErrorContains(t, err, want)
		var got *ArrivalError
		require.ErrorAs(t, err, &got)
	}
}
