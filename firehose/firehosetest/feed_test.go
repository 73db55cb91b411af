package firehosetest

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A feed shows its newest 300, page by page, each with a tag of its own.
func TestFeedPages(t *testing.T) {
	var list []Arrival
	for i := range 320 {
		list = append(list, Arrival{After: time.Duration(i) * time.Second, ID: strconv.Itoa(i), Type: "Push\"Event", Repo: "ä/b"})
	}
	in(t, Config{Replay: list, Latency: Instant}, func(t *testing.T, o *Origin) {
		a := get(t, o, "/events?per_page=100")
		require.Equal(t, []string{"0"}, idsOf(t, a))
		require.Empty(t, a.Header.Get("Link"))
		require.Equal(t, 422, get(t, o, "/events?per_page=100&page=2").StatusCode)
		pass(318 * time.Second)
		first := get(t, o, "/events?per_page=500")
		require.Len(t, idsOf(t, first), 100)
		require.Contains(t, first.Header.Get("Link"), `page=2>; rel="next"`)
		require.Contains(t, first.Header.Get("Link"), `page=3>; rel="last"`)
		require.Equal(t, "60", first.Header.Get("X-Poll-Interval"))
		third := get(t, o, "/events?per_page=100&page=3")
		require.Equal(t, "19", idsOf(t, third)[99])
		require.NotContains(t, third.Header.Get("Link"), "next")
		require.NotEqual(t, first.Header.Get("ETag"), third.Header.Get("ETag"))
		require.Equal(t, 304, get(t, o, "/events?per_page=100&page=3", "If-None-Match", third.Header.Get("ETag")).StatusCode)
		require.Equal(t, 200, get(t, o, "/events?per_page=100", "If-None-Match", third.Header.Get("ETag")).StatusCode)
		pass(time.Second)
		require.Equal(t, 200, get(t, o, "/events?per_page=100&page=3", "If-None-Match", third.Header.Get("ETag")).StatusCode)
		require.Len(t, idsOf(t, get(t, o, "/events?per_page=7&page=43")), 6)
	})
	in(t, Config{Replay: list, Latency: Instant, ShiftOnPage: 2, PastLast: 404}, func(t *testing.T, o *Origin) {
		pass(199 * time.Second)
		require.Equal(t, "199", idsOf(t, get(t, o, "/events?per_page=100"))[0])
		require.Equal(t, "101", idsOf(t, get(t, o, "/events?per_page=100&page=2"))[0])
		require.Equal(t, "201", idsOf(t, get(t, o, "/events?per_page=100"))[0])
		require.Equal(t, 404, get(t, o, "/events?per_page=100&page=4").StatusCode)
	})
	in(t, Config{Replay: []Arrival{}, Latency: Instant}, func(t *testing.T, o *Origin) {
		a := get(t, o, "/events")
		require.Equal(t, "[]", a.text)
		require.Equal(t, http.StatusNotModified, get(t, o, "/events", "If-None-Match", a.Header.Get("ETag")).StatusCode)
	})
}
