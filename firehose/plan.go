package firehose

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// Forecast is what a plan comes to. Rates are means over a long time, without
// faults: at the start everything is asked at once, as fast as the buckets let
// it.
type Forecast struct {
	Wanted    float64            `json:"wanted"`          // requests an hour, if nothing held them up
	Expected  float64            `json:"expected"`        // requests an hour that will be sent
	Buckets   []BucketForecast   `json:"buckets"`         // in order of the first resource of each
	Resources []ResourceForecast `json:"resources"`       // in the order of PlanConfig.Resources
	Feeds     []FeedForecast     `json:"feeds,omitempty"` // those of Resources that are event feeds
	Flags     []Flag             `json:"flags,omitempty"` // those that refuse first
}

// BucketForecast is what a plan means for one bucket. Rates are requests an hour.
type BucketForecast struct {
	Key       resource.BucketKey `json:"key"`       // scope, and name of the Quota
	Resources int                `json:"resources"` // that draw from it
	Late      int                `json:"late"`      // of them, those whose intervals can't be met

	Known    bool          `json:"known"` // a Quota says what is granted; else Quota, Allowed and Used are 0
	Quota    int64         `json:"quota"` // requests in a window
	Window   time.Duration `json:"window_ns"`
	Reserve  int64         `json:"reserve"`  // of Quota, for the user's other programs
	Allowed  float64       `json:"allowed"`  // Quota less Reserve
	Wanted   float64       `json:"wanted"`   // if nothing held them up
	Expected float64       `json:"expected"` // that will be sent
	Charged  float64       `json:"charged"`  // of Expected, those that cost quota
	Used     float64       `json:"used"`     // Charged as a share of Allowed

	// Unchanged is the share of the polls that is taken to be answered by a 304,
	// from 0 to 1.
	Unchanged float64 `json:"unchanged"`

	// Round is how long it takes, from the start, until each resource has been
	// asked once.
	Round       time.Duration `json:"round_ns"`
	Concurrency int           `json:"concurrency"` // requests of the scope in flight together; 0: no bound
	Peak        float64       `json:"peak"`        // requests in the busiest minute

	// LimitedBy says what keeps intervals from being met; empty where Late is 0.
	LimitedBy string `json:"limited_by,omitempty"`

	each, taken float64 // seconds from one request to the next at most speed; share of Quota that is asked for
	most        float64 // share of Quota that a single resource asks for
	mostURI     string
	lateRule    string // behind LimitedBy
}

// ResourceForecast is what a plan means for one resource.
type ResourceForecast struct {
	ID       resource.ID        `json:"id"`
	URI      string             `json:"uri"`         // as in the Spec
	Bucket   resource.BucketKey `json:"bucket"`      // that it draws from
	Interval time.Duration      `json:"interval_ns"` // wanted from the end of a poll to the next: the wish or the poll interval
	Expected time.Duration      `json:"expected_ns"` // from one poll to the next, on average
	Requests float64            `json:"requests"`    // an hour, pages included
	Met      bool               `json:"met"`         // Expected is Interval and the time of the answer, within PlanConfig.Slack
}

// Flag is one finding about a plan.
type Flag struct {
	Rule    string `json:"rule"`    // key of the rule behind it, such as "G-9"
	Refuses bool   `json:"refuses"` // the plan is refused for it
	Subject string `json:"subject"` // the bucket, scope or URI that it is about
	Text    string `json:"text"`    // a sentence
}

// String is one line.
func (f Flag) String() string { return fmt.Sprintf("[%s] %s: %s", f.Rule, f.Subject, f.Text) }

// RefusedError says that a plan is not one that the OS should be run with.
type RefusedError struct {
	Flags []Flag // those that refuse it: one or more
}

// Error returns the first reason, and how many there are.
func (e *RefusedError) Error() string {
	s := "firehose: plan refused: " + e.Flags[0].String()
	if n := len(e.Flags) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s
}

// Plan says what a budget allows, before anything is sent: it is arithmetic, and
// asks nobody. [Simulate] runs the same plan.
//
// The error is a [*FieldError] for what can't be a plan, or a [*RefusedError]
// for one that would leave nothing to the user's other programs; then the
// forecast is complete all the same, and says why.
//
// What it reckons with is what the OS does: a resource is due its interval after
// the end of its answer, the line of a bucket is served in order, and the quota
// of a window is spent as fast as intervals and concurrency let it. Priorities
// are not reckoned with. The totals of a bucket are right within a few percent.
// So are the single intervals, but where those of one bucket differ and its
// quota can't meet them: then within a tenth, or a quarter if they are near the
// length of the window, since it is chance whether one more poll fits in.
func Plan(c PlanConfig) (Forecast, error) {
	t, err := c.survey()
	if err != nil {
		return Forecast{}, err
	}
	flows := make([]scopeFlow, len(t.scopes))
	places := make([]int, len(t.units)) // of each unit, the index of its class
	limits := make([]resource.Reason, len(t.scopes))
	for i := range t.scopes {
		flows[i] = t.flow(&t.scopes[i], places)
		limits[i] = flows[i].solve()
	}
	crowded := crowd(flows, float64(t.cfg.Workers)) > 0
	f := Forecast{Resources: make([]ResourceForecast, len(t.units))}
	for i := range t.units {
		u := &t.units[i]
		c := &flows[u.scope].buckets[u.bucket].classes[places[i]]
		f.Resources[i] = t.resource(u, c)
		if u.t.Feed.Rate > 0 {
			f.Feeds = append(f.Feeds, newFeedForecast(u, c, t.cfg.GapChance))
		}
	}
	for i := range t.scopes {
		for j := range t.scopes[i].buckets {
			b := t.bucket(i, j, &flows[i], f.Resources)
			if b.Late > 0 {
				b.LimitedBy, b.lateRule = limitedBy(limits[i], flows[i].buckets[j].active < 1, b.Used, crowded)
				if b.LimitedBy == declaredRate && !t.scopes[i].paced {
					b.LimitedBy = "the rate that its dialect documents"
				}
			}
			f.Wanted += b.Wanted
			f.Expected += b.Expected
			f.Buckets = append(f.Buckets, b)
		}
	}
	f.Flags = t.flags(&f)
	if n := slices.IndexFunc(f.Flags, func(f Flag) bool { return !f.Refuses }); n != 0 && len(f.Flags) > 0 {
		if n < 0 {
			n = len(f.Flags)
		}
		return f, &RefusedError{Flags: slices.Clone(f.Flags[:n])}
	}
	return f, nil
}

// flow puts the resources of a scope into classes.
func (t *terrain) flow(s *planScope, places []int) scopeFlow {
	flow := scopeFlow{concurrency: math.Inf(1), spacing: s.spacing.Seconds()}
	if s.cap > 0 {
		flow.concurrency = float64(s.cap)
	}
	for i := range s.buckets {
		b := &s.buckets[i]
		bf := bucketFlow{known: b.quota.Requests > 0, lasting: lasting(b.quota.Window)}
		bf.quota = float64(max(1, b.quota.Requests-s.reserve)) // the one that asks after a reset goes in any case
		seen := map[class]int{}
		for _, n := range b.units {
			u := &t.units[n]
			c := class{
				every: u.every().Seconds(), latency: u.t.Latency.Seconds(), change: u.t.ChangeEvery.Seconds(),
				share: u.t.Unchanged, pages: float64(u.t.Feed.Pages), free: b.quota.NotModifiedFree && u.r.Credential != "",
			}
			k, known := seen[c]
			if !known {
				k = len(bf.classes)
				seen[c] = k
				bf.classes = append(bf.classes, c)
			}
			bf.classes[k].count++
			places[n] = k
		}
		flow.buckets = append(flow.buckets, bf)
	}
	return flow
}

func (t *terrain) resource(u *unit, c *class) ResourceForecast {
	s := &t.scopes[u.scope]
	return ResourceForecast{
		ID: u.r.ID, URI: u.r.URI, Bucket: s.keyOf(&s.buckets[u.bucket]), Interval: u.every(), Expected: seconds(c.period),
		Requests: c.result.requests * 3600, Met: c.period-c.cycle() <= t.cfg.Slack*c.every,
	}
}

// bucket sums up the j-th bucket of the i-th scope.
func (t *terrain) bucket(i, j int, flow *scopeFlow, all []ResourceForecast) BucketForecast {
	s := &t.scopes[i]
	b, bf := &s.buckets[j], &flow.buckets[j]
	sum, wanted, latency := bf.total(), pace{}, 0.0
	peak := 0.0
	for k := range bf.classes {
		c := &bf.classes[k]
		wanted = wanted.plus(c.steady(c.every), c.count)
		latency += c.count * c.latency
		peak += c.count * c.pages * (1 + math.Floor(60/c.cycle()))
	}
	f := BucketForecast{
		Key: s.keyOf(b), Resources: len(b.units), Known: bf.known, Concurrency: s.cap,
		Wanted: wanted.requests * 3600, Expected: sum.requests * 3600, Charged: sum.charged * 3600,
		Unchanged: sum.unchanged / sum.polls,
	}
	for _, n := range b.units {
		if !all[n].Met {
			f.Late++
		}
	}
	latency /= float64(len(b.units))
	f.each = max(latency/flow.concurrency, flow.spacing)
	f.Peak = peak
	if f.each > 0 {
		f.Peak = min(f.Peak, 60/f.each)
	}
	n := float64(len(b.units))
	round := n * f.each
	if bf.known {
		hour := float64(time.Hour) / float64(b.quota.Window)
		f.Quota, f.Window, f.Reserve = b.quota.Requests, b.quota.Window, min(s.reserve, b.quota.Requests)
		f.Allowed = float64(b.quota.Requests-f.Reserve) * hour
		if f.Allowed > 0 {
			f.Used = f.Charged / f.Allowed
		}
		windows := math.Floor((n - 1) / bf.quota) // at first, nothing is unchanged
		round = windows*bf.lasting + (n-windows*bf.quota)*f.each
		f.Peak = min(f.Peak, max(bf.quota, bf.quota*60/b.quota.Window.Seconds()))
		hourly := float64(b.quota.Requests) * hour
		f.taken = min(wanted.charged*3600, max(f.Allowed, f.Charged))
		if s.paced { // who declares a rate has said how much is to be left
			f.taken = min(f.taken, 3600/flow.spacing)
		}
		f.taken /= hourly
		f.mostOf(b, bf, t, hourly)
	}
	f.Round = max(seconds(round), seconds(latency))
	return f
}

// mostOf finds the resource that asks for most of the quota.
func (f *BucketForecast) mostOf(b *planBucket, bf *bucketFlow, t *terrain, hourly float64) {
	for _, n := range b.units {
		u := &t.units[n]
		c := class{
			every: u.every().Seconds(), change: u.t.ChangeEvery.Seconds(), share: u.t.Unchanged,
			pages: float64(u.t.Feed.Pages), free: bf.classes[0].free,
		}
		if share := c.steady(c.every).charged * 3600 / hourly; share > f.most {
			f.most, f.mostURI = share, u.r.URI
		}
	}
}

const declaredRate = "the declared rate"

// limitedBy names what keeps intervals from being met, and the rule behind it.
func limitedBy(by resource.Reason, paused bool, used float64, crowded bool) (what, rule string) {
	switch {
	case paused || used > 0.9:
		return "the quota", resource.ReasonPrimary.Key()
	case by == resource.ReasonPace:
		return declaredRate, by.Key()
	case by == resource.ReasonConcurrency:
		return "the concurrency", by.Key()
	case crowded:
		return "the workers", "D-14"
	}
	return "the quota", resource.ReasonPrimary.Key()
}
