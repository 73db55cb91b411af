package firehose

import (
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// simOrigin is what an origin counts for one scope.
type simOrigin struct {
	name     string
	quotas   []simQuota // by bucket of the plan
	minute   int64      // of the secondary limit
	asked    int        // in that minute
	inFlight int
}

// simQuota is one window of an origin.
type simQuota struct {
	limit   int64 // 0: none
	window  time.Duration
	free    bool
	used    int64
	reset   time.Time // a whole second
	charged int64     // in all windows
}

// verdict is what an origin makes of a request, when it arrives.
type verdict struct {
	status    int // 0: no answer
	secondary bool
	remaining int64
	reset     time.Time
}

// simWorld is what origins share: chance and the clock.
type simWorld struct {
	cfg   *SimConfig
	rng   *rand.Rand
	begun time.Time
	now   time.Time
}

func (w *simWorld) since() time.Duration { return w.now.Sub(w.begun) }

// arrive lets a request in. conditional says that it carries validators, and
// changed that they are no longer good.
func (o *simOrigin) arrive(w *simWorld, bucket int, conditional, authorised bool, changed func() bool) (v verdict) {
	o.inFlight++
	at := w.since()
	for i := range w.cfg.Outages {
		d := &w.cfg.Outages[i]
		if (d.Origin == "" || d.Origin == o.name) && at >= d.From && at-d.From < d.For {
			return verdict{status: d.Status}
		}
	}
	q := &o.quotas[bucket]
	if q.limit > 0 && !w.now.Before(q.reset) {
		q.used, q.reset = 0, w.now.Add(q.window+time.Second-1).Truncate(time.Second)
	}
	defer func() { v.remaining, v.reset = q.limit-q.used, q.reset }()
	if o.refuses(w) {
		return verdict{status: http.StatusForbidden, secondary: true}
	}
	if q.limit > 0 && q.used >= q.limit {
		return verdict{status: http.StatusTooManyRequests}
	}
	v.status = http.StatusOK
	if conditional && !changed() {
		v.status = http.StatusNotModified
	}
	if v.status == http.StatusOK || !q.free || !authorised {
		q.charged++
		if q.limit > 0 {
			q.used++
		}
	}
	return v
}

// refuses says whether a request meets a secondary limit.
func (o *simOrigin) refuses(w *simWorld) bool {
	limit := &w.cfg.Secondary
	if minute := int64(w.since() / time.Minute); minute != o.minute {
		o.minute, o.asked = minute, 0
	}
	o.asked++
	return limit.PerMinute > 0 && o.asked > limit.PerMinute ||
		limit.Concurrent > 0 && o.inFlight > limit.Concurrent ||
		limit.Chance > 0 && w.rng.Float64() < limit.Chance
}

// script writes answers into one header map after the other, so that a million
// of them cost no memory.
type script struct {
	header http.Header
	lines  map[string][]string // of one line each, to be taken into header
	date   int64               // Unix time of the Date line
}

func newScript() *script {
	s := &script{header: http.Header{}, lines: map[string][]string{}}
	for _, name := range [...]string{
		"Date", "Etag", "X-Poll-Interval", "Retry-After", "X-Ratelimit-Limit", "X-Ratelimit-Remaining",
		"X-Ratelimit-Reset", "X-Ratelimit-Resource",
	} {
		s.lines[name] = make([]string, 1)
	}
	return s
}

func (s *script) set(name, value string) {
	line := s.lines[name]
	line[0] = value
	s.header[name] = line
}

// write makes the header of an answer.
func (s *script) write(v *verdict, q *simQuota, name string, tag uint64, poll time.Duration, now time.Time, retry time.Duration) http.Header {
	clear(s.header)
	if unix := now.Unix(); unix != s.date {
		s.date = unix
		s.lines["Date"][0] = now.UTC().Format(http.TimeFormat)
	}
	s.header["Date"] = s.lines["Date"]
	if v.status >= 500 {
		return s.header
	}
	if q.limit > 0 {
		s.set("X-Ratelimit-Limit", strconv.FormatInt(q.limit, 10))
		s.set("X-Ratelimit-Remaining", strconv.FormatInt(v.remaining, 10))
		s.set("X-Ratelimit-Reset", strconv.FormatInt(v.reset.Unix(), 10))
		if name != "" {
			s.set("X-Ratelimit-Resource", name)
		}
	}
	switch {
	case v.secondary:
		s.set("Retry-After", strconv.FormatInt(int64((retry+time.Second-1)/time.Second), 10))
	case v.status == http.StatusOK || v.status == http.StatusNotModified:
		s.set("Etag", `"`+strconv.FormatUint(tag, 10)+`"`)
		if poll > 0 {
			s.set("X-Poll-Interval", strconv.FormatInt(int64((poll+time.Second-1)/time.Second), 10))
		}
	}
	return s.header
}

// secondaryText is what the body of a secondary limit begins with.
const secondaryText = `{"message":"You have exceeded a secondary rate limit."}`

// changes says whether what a unit polls has changed since it was last seen,
// and for a feed how many items are new.
func (w *simWorld) changes(u *unit, seen time.Time) (changed bool, items int64) {
	gap := w.now.Sub(seen)
	switch {
	case u.t.Feed.Rate > 0:
		items = poisson(w.rng, u.t.Feed.Rate*gap.Seconds())
		return items > 0, items
	case w.cfg.Changed != nil:
		return w.cfg.Changed(u.r.Spec, seen.Sub(w.begun), w.since()), 0
	case u.t.ChangeEvery > 0:
		return w.rng.Float64() >= math.Exp(-gap.Seconds()/u.t.ChangeEvery.Seconds()), 0
	}
	return w.rng.Float64() >= u.t.Unchanged, 0
}

// poisson draws a number with that mean: by multiplying chances where it is
// small (Knuth), by the normal distribution that it comes near to where it is
// great.
func poisson(rng *rand.Rand, mean float64) (n int64) {
	if mean > 100 {
		return max(0, int64(math.Round(mean+math.Sqrt(mean)*rng.NormFloat64())))
	}
	limit := math.Exp(-mean)
	for p := rng.Float64(); p > limit; p *= rng.Float64() {
		n++
	}
	return n
}

// simParser is the parser that reads what script writes: GitHub's dialect where
// a quota is told, since that is how it is told.
func simParser(q *simQuota) (p resource.Parser) {
	name := plainDialect
	if q.limit > 0 {
		name = "github"
	}
	p.Dialect, _ = resource.DialectNamed(nil, name)
	return p
}
