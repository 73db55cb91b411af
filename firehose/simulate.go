package firehose

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// DefaultSimulated is how much time a simulation runs through.
const DefaultSimulated = 24 * time.Hour

// SimConfig is what to simulate. Every zero value is a documented default.
type SimConfig struct {
	// Plan says what is polled, and what is taken to be true of the origins.
	Plan PlanConfig

	// For is how much virtual time to run through, at most resource.MaxInterval.
	// Zero: DefaultSimulated.
	For time.Duration

	// Seed makes chance repeatable: the same configuration and seed give the
	// same result. Zero is a seed like any other.
	Seed uint64

	// Changed says whether a resource has changed between two instants, which
	// count from the beginning; at is that of the request. It replaces ChangeEvery
	// and Unchanged of Traits, for other resources than feeds. Nil: as Traits say.
	Changed func(spec resource.Spec, since, at time.Duration) bool

	// Secondary is a limit that origins put on each scope beside their quotas.
	// The zero Secondary is none.
	Secondary Secondary

	// Outages are when origins fail.
	Outages []Outage
}

// Secondary is a limit of which no answer tells before it is met. It is answered
// by a 403 that says so, with a Retry-After.
type Secondary struct {
	PerMinute  int           // requests in a minute of the clock; zero: any number
	Concurrent int           // requests in flight together; zero: any number
	Chance     float64       // of a request to meet one without a reason, from 0 to 1
	RetryAfter time.Duration // zero: a minute
}

// Outage is a time in which an origin does not serve.
type Outage struct {
	Origin string        // such as "https://api.github.com"; empty: every origin
	From   time.Duration // since the beginning
	For    time.Duration // how long; more than zero
	Status int           // what it answers, 500 to 599; zero: nothing
}

// SimReport is what happened in a simulation.
type SimReport struct {
	For       time.Duration `json:"for_ns"`    // virtual time
	Seed      uint64        `json:"seed"`      // of SimConfig
	Total     SimCounts     `json:"total"`     // over all buckets
	Buckets   []SimBucket   `json:"buckets"`   // in the order of Forecast.Buckets
	Resources []SimResource `json:"resources"` // in the order of PlanConfig.Resources
}

// SimCounts are figures of a simulation, or of one bucket in it.
type SimCounts struct {
	Requests    int64   `json:"requests"`     // that were sent, pages included
	Polls       int64   `json:"polls"`        // of them, those of page one
	NotModified int64   `json:"not_modified"` // polls that were answered by a 304
	Unchanged   float64 `json:"unchanged"`    // NotModified as a share of Polls
	Primary     int64   `json:"primary"`      // rejected for a quota used up: 0 if all goes well
	Secondary   int64   `json:"secondary"`    // rejected for a secondary limit
	Failed      int64   `json:"failed"`       // not answered, or by a 5xx
	Ended       int64   `json:"ended"`        // resources that are not polled any more

	// Wait is from the instant at which a request was due to the one at which it
	// was sent.
	Wait Quantiles `json:"wait"`

	Items  int64 `json:"items,omitempty"`  // of feeds, that came in after the first poll
	Missed int64 `json:"missed,omitempty"` // of them, those that no poll could see
	Gaps   int64 `json:"gaps,omitempty"`   // polls that found no overlap with the one before
}

// SimBucket is what happened to one bucket.
type SimBucket struct {
	Key resource.BucketKey `json:"key"` // scope, and name of the Quota
	SimCounts
	Charged int64   `json:"charged"` // requests that the origin counted
	Used    float64 `json:"used"`    // Charged as a share of what its windows allow, less the reserve; 0 where no quota is known
}

// SimResource is what happened to one resource.
type SimResource struct {
	ID          resource.ID        `json:"id"`
	URI         string             `json:"uri"`              // as in the Spec
	Bucket      resource.BucketKey `json:"bucket"`           // that it draws from
	Requests    int64              `json:"requests"`         // that were sent, pages included
	Polls       int64              `json:"polls"`            // of them, those of page one
	NotModified int64              `json:"not_modified"`     // polls that were answered by a 304
	Interval    time.Duration      `json:"interval_ns"`      // mean time between two polls; zero with fewer than two
	Longest     time.Duration      `json:"longest_ns"`       // longest wait of a request beyond its due instant
	Missed      int64              `json:"missed,omitempty"` // items of a feed that no poll could see
	Gaps        int64              `json:"gaps,omitempty"`   // polls that found no overlap with the one before
	State       resource.State     `json:"state"`            // at the end
}

// Simulate runs a plan through virtual time, against modelled origins, and
// reports what happened. It sends nothing, and no time passes: it is a
// discrete-event run on one goroutine, over the same pure functions that decide
// in an OS (resource.Decide, resource.Parser, resource.Bucket), with the lines,
// the concurrency and the workers modelled. Ten thousand resources over a day
// take seconds.
//
// The modelled origins speak as GitHub does, whatever the dialects of profiles:
// what is simulated is how much is asked, and not in which words. A window
// begins with the first request in it.
//
// The error is a [*FieldError], or the cause of ctx. A plan that Plan refuses is
// run all the same.
func Simulate(ctx context.Context, c SimConfig) (SimReport, error) {
	if err := c.normalize(); err != nil {
		return SimReport{}, fmt.Errorf("firehose: simulate: %w", err)
	}
	t, err := c.Plan.survey()
	if err != nil {
		return SimReport{}, err
	}
	s := newSimulation(c, t)
	if err := s.run(ctx); err != nil {
		return SimReport{}, fmt.Errorf("firehose: simulate: %w", err)
	}
	return s.report(), nil
}

func (c *SimConfig) normalize() error {
	if c.For == 0 {
		c.For = DefaultSimulated
	}
	if c.For < 0 || c.For > resource.MaxInterval {
		return &FieldError{Field: "For", Value: c.For.String(), Want: "0 (the default) to " + resource.MaxInterval.String()}
	}
	limit := &c.Secondary
	switch {
	case limit.PerMinute < 0:
		return &FieldError{Field: "Secondary.PerMinute", Value: strconv.Itoa(limit.PerMinute), Want: "0 (any number) or more"}
	case limit.Concurrent < 0:
		return &FieldError{Field: "Secondary.Concurrent", Value: strconv.Itoa(limit.Concurrent), Want: "0 (any number) or more"}
	case !(limit.Chance >= 0 && limit.Chance <= 1):
		return &FieldError{Field: "Secondary.Chance", Value: formatFloat(limit.Chance), Want: "0 to 1"}
	case limit.RetryAfter < 0 || limit.RetryAfter > resource.MaxInterval:
		return &FieldError{Field: "Secondary.RetryAfter", Value: limit.RetryAfter.String(), Want: "0 (a minute) to " + resource.MaxInterval.String()}
	}
	if limit.RetryAfter == 0 {
		limit.RetryAfter = time.Minute
	}
	c.Outages = slices.Clone(c.Outages)
	for i := range c.Outages {
		o, path := &c.Outages[i], fmt.Sprintf("Outages[%d]", i)
		if o.Origin != "" {
			origin, err := resource.Origin(o.Origin)
			if e, ok := err.(*FieldError); ok {
				return &FieldError{Field: path + ".Origin", Value: e.Value, Want: e.Want}
			}
			o.Origin = origin
		}
		switch {
		case o.From < 0 || o.From > resource.MaxInterval:
			return &FieldError{Field: path + ".From", Value: o.From.String(), Want: "0 to " + resource.MaxInterval.String()}
		case o.For <= 0 || o.For > resource.MaxInterval:
			return &FieldError{Field: path + ".For", Value: o.For.String(), Want: "more than 0, to " + resource.MaxInterval.String()}
		case o.Status != 0 && (o.Status < 500 || o.Status > 599):
			return &FieldError{Field: path + ".Status", Value: strconv.Itoa(o.Status), Want: "0 (no answer), or 500 to 599"}
		}
	}
	return nil
}

// String is the report as text for people: a table of the buckets.
func (r SimReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d resources, seed %d\n\n", r.For, len(r.Resources), r.Seed)
	table(&b, "bucket\trequests\tpolls\t304\tused\tprimary\tsecondary\tfailed\twait p50\tp99\tmax\tgaps", func(row func(...any)) {
		line := func(name any, c *SimCounts, used string) {
			row(name, c.Requests, c.Polls, percent(c.Unchanged), used, c.Primary, c.Secondary, c.Failed,
				roughly(c.Wait.P50), roughly(c.Wait.P99), roughly(c.Wait.Max), c.Gaps)
		}
		for i := range r.Buckets {
			k := &r.Buckets[i]
			line(k.Key, &k.SimCounts, percent(k.Used))
		}
		line("total", &r.Total, "")
	})
	return b.String()
}
