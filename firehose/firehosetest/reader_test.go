package firehosetest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// reader is a reference client of the feed: it polls page one, walks all pages
// while it is new, publishes what it has not seen, and reports a gap when what
// it reads does not lead to what it read before. Its faults are what the oracle
// must find.
type reader struct {
	t       *testing.T
	c       *polite
	o       *Origin
	path    string
	seen    map[string]bool
	pairs   map[[2]string]bool // neighbours of the last reading
	newest  int64
	ids     float64             // spanned by all readings that led to no overlap
	steps   float64             // between their items
	pages   map[string][]string // items by URL, for when it is unchanged
	next    map[string]string   // and the URL of the next page
	started bool
	since   time.Time // the last reading began
	report  ItemReport
	polls   int

	// faults
	drop      int  // loses each such item
	markFirst int  // marks as seen, then fails to publish, each such item
	again     bool // does not de-duplicate
	silent    bool // reports no gap
	nervous   bool // reports a gap at each reading
	lazy      bool // reads page one only, and takes any known id for an overlap
	taken     int
}

func newReader(t *testing.T, o *Origin, path string) *reader {
	r := &reader{t: t, c: newPolite(o.RoundTripper(), path), o: o, path: path, seen: map[string]bool{}, pages: map[string][]string{}, next: map[string]string{}}
	r.c.token, r.c.pages = "secret", false
	return r
}

// run polls until the end.
func (r *reader) run(length time.Duration) ItemVerdict {
	for end := time.Now().Add(length); time.Now().Before(end); {
		r.read()
		_, due := r.c.earliest()
		if own := r.c.polls[r.path].due; own.After(due) {
			due = own
		}
		pass(time.Until(due))
	}
	return r.o.Items(r.report)
}

// read reads the feed once.
func (r *reader) read() {
	began := time.Now()
	a := r.c.poll(r.t.Context(), r.path)
	r.polls++
	if a.err != nil {
		return
	}
	if a.StatusCode == http.StatusNotModified {
		r.since = began
		return
	}
	if a.StatusCode != http.StatusOK {
		return
	}
	r.learn(r.path, a)
	list, whole := slices.Clone(r.pages[r.path]), true
	for target := r.next[r.path]; target != "" && !r.lazy; target = r.next[target] {
		if !r.page(target) {
			whole = false
			break
		}
		list = append(list, r.pages[target]...)
	}
	r.take(list, began, whole)
}

// page asks for a later page, unless it is unchanged.
func (r *reader) page(target string) bool {
	if r.c.polls[target] == nil {
		r.c.polls[target] = &memory{}
	}
	a := send(r.c.rt, r.c.request(r.t.Context(), target))
	r.c.learn(target, a)
	r.c.polls[target].due = time.Now().Add(1e6 * time.Hour) // with its parent only
	if a.err != nil || a.StatusCode != http.StatusOK && a.StatusCode != http.StatusNotModified {
		return false
	}
	r.learn(target, a)
	return true
}

func (r *reader) learn(target string, a answer) {
	r.next[target] = ""
	for part := range strings.SplitSeq(a.Header.Get("Link"), ",") {
		if url, ok := strings.CutSuffix(strings.TrimSpace(part), `>; rel="next"`); ok {
			r.next[target] = strings.TrimPrefix(url, "<"+r.c.base)
		}
	}
	if a.StatusCode == http.StatusOK {
		r.pages[target] = r.items(a)
	}
}

func (r *reader) items(a answer) (ids []string) {
	var list []struct{ ID string }
	require.NoError(r.t, json.Unmarshal([]byte(a.text), &list))
	for _, e := range list {
		ids = append(ids, e.ID)
	}
	return ids
}

// take publishes and looks for the overlap: two neighbours that were
// neighbours in the last reading.
func (r *reader) take(list []string, began time.Time, whole bool) {
	overlap := !r.started
	pairs := map[[2]string]bool{}
	for i := 1; i < len(list); i++ {
		pair := [2]string{list[i-1], list[i]}
		pairs[pair] = true
		overlap = overlap || r.pairs[pair] || r.lazy && r.seen[pair[1]]
	}
	if (!overlap && !r.silent) || r.nervous && r.started {
		r.report.Gaps = append(r.report.Gaps, ReportedGap{From: r.since, To: time.Now(), Estimate: r.estimate(list)})
	}
	for _, id := range list {
		r.publish(id)
	}
	if len(list) > 1 && (whole || overlap) {
		r.newest, _ = strconv.ParseInt(list[0], 10, 64)
		r.pairs, r.started, r.since = pairs, true, began
	}
}

// estimate divides what is missing of the ids by the mean step between those read so
// far: that of one reading alone is biased by its own spread.
func (r *reader) estimate(list []string) float64 {
	first, _ := strconv.ParseInt(list[len(list)-1], 10, 64)
	last, _ := strconv.ParseInt(list[0], 10, 64)
	r.ids += float64(last - first)
	r.steps += float64(len(list) - 1)
	return max(0, float64(first-r.newest)/(r.ids/r.steps)-1)
}

func (r *reader) publish(id string) {
	if r.seen[id] && !r.again {
		return
	}
	r.seen[id] = true
	r.taken++
	if r.drop > 0 && r.taken%r.drop == 0 || r.markFirst > 0 && r.taken%r.markFirst == 0 {
		return
	}
	r.report.Published = append(r.report.Published, Publication{ID: id, At: time.Now()})
}
