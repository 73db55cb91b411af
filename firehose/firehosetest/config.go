package firehosetest

import (
	"fmt"
	"time"
)

// Instant is a [Config.Latency] for no latency at all. Requests and answers of
// several goroutines then share instants, and a tie is judged against the
// client: what was told at an instant counts for a request sent at it.
const Instant = time.Nanosecond

// Config describes an [Origin]. It is plain data; the zero value is an origin
// with one timeline and GitHub's documented figures.
type Config struct {
	// Seed of events, validators, faults and latencies.
	Seed uint64
	// Timelines is the number of timelines at /timelines/{n}/events, beside
	// the one at /events. Default 1, at most 1,000,000.
	Timelines int
	// Rate is the number of events per second and timeline. Default 1; for a
	// silent origin call SetRate(0).
	Rate float64
	// Late is the share of made events, 0 to 1, that appear behind up to 150 newer
	// ones, as at GitHub; for Replay see Delay. Default 0.
	Late float64
	// PollInterval is X-Poll-Interval, in whole seconds. Default 60 s; to send
	// none call SetPollInterval(0).
	PollInterval time.Duration
	// PollSteps change PollInterval as time goes by, in their order (G-2). They
	// win over SetPollInterval without paths. Default: none.
	PollSteps []PollStep
	// Replay are the items of /events, in the order of their places, instead
	// of made ones. They are not copied: leave them alone. Deliveries of them
	// are remembered for Items, so that memory grows with every page that is
	// read. Default: made events.
	Replay []Arrival
	// ReplayFrom is how much of Replay has passed when New is called, so that
	// the first window is as full as all others. Default 0: /events begins
	// empty.
	ReplayFrom time.Duration
	// ShiftOnPage lets so many of the next arrivals of Replay enter ahead of
	// their time just before each answer for a page after the first, so that
	// pages shift while they are walked (E-5). Default 0: they shift by
	// themselves when time passes.
	ShiftOnPage int
	// PastLast is the status past the last page, 404 or 422 (E-1). Default
	// 422.
	PastLast int
	// MaxAge is max-age of Cache-Control, in whole seconds. Default: equal to
	// the poll interval, as at GitHub.
	MaxAge time.Duration

	// Limit is the primary limit per scope and bucket. Default 5,000. A 304 to
	// an authorized request costs nothing (G-5), nor does what carries no
	// X-RateLimit headers: a 5xx, or no answer.
	Limit int
	// AnonymousLimit is the same without Authorization. Default: Limit; 60 at
	// GitHub.
	AnonymousLimit int
	// Dialect is how limits are told. Default GitHub.
	Dialect Dialect
	// Burst is the limit of the second policy of the IETF dialect per
	// BurstWindow, in whole seconds. Defaults 100 and 1 min.
	Burst       int
	BurstWindow time.Duration
	// Hosts are host names that answer otherwise than the rest.
	Hosts []Host
	// Window is the length of a rate limit window, in whole seconds. It
	// begins with the first request after the last one and ends at a whole
	// second of the origin's clock. Default 1 h.
	Window time.Duration
	// Buckets is the number of values of X-RateLimit-Resource: timeline n
	// draws on number n modulo Buckets, "core" or "bucket-1" and so on.
	// Default 1.
	Buckets int
	// TooManyRequests makes limits answer 429 instead of 403.
	TooManyRequests bool

	// Secondary is the probability that a request triggers a secondary limit.
	// Default 0.
	Secondary float64
	// SecondaryWait is how long it parks, in whole seconds. Default 60 s.
	// Without Retry-After it is 60 s, whatever this says.
	SecondaryWait time.Duration
	// SecondaryForm is the form in which it is told. Default seconds.
	SecondaryForm RetryForm
	// SecondaryConcurrency triggers a secondary limit when more requests of
	// one scope than this are in flight. Default: never.
	SecondaryConcurrency int

	// Skew is added to the origin's clock, which Date, X-RateLimit-Reset and
	// dates of Retry-After show. Default 0.
	Skew time.Duration
	// Latency is the mean round trip of a RoundTripper, spread by seed from
	// half to one and a half of it, so that no two instants coincide. Default
	// 20 ms; Instant for none. A real socket has its own.
	Latency time.Duration
	// Faults happen by probability, at most one a request. Their
	// probabilities add up to at most 1.
	Faults []Fault
	// Outages are spans without an answer.
	Outages []Outage

	// Concurrency is the declared cap of requests in flight per scope.
	// Default 100.
	Concurrency int
	// Backoff is the least wait that the oracle demands of a resource after a
	// failure that told none. Default 1 s.
	Backoff time.Duration
	// Settle is the time after which an answer on one connection is taken to
	// be known to requests for other resources on other connections of a real
	// socket, if Concurrency is above 1. Default 250 ms.
	Settle time.Duration
	// Unread is the bound of Killed: answers completed so shortly before a
	// kill may be unread. Default 50 ms; set it to what the client needs to
	// make an answer durable, its sink included.
	Unread time.Duration
	// MaxResources bounds the resources and children that are remembered.
	// Requests for more are answered 503 and counted as unjudged. Default
	// 1,000,000.
	MaxResources int
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c Config) withDefaults() Config {
	setDefault(&c.Timelines, 1)
	setDefault(&c.Rate, 1)
	setDefault(&c.PollInterval, 60*time.Second)
	setDefault(&c.Limit, 5000)
	setDefault(&c.AnonymousLimit, c.Limit)
	setDefault(&c.Window, time.Hour)
	setDefault(&c.Buckets, 1)
	setDefault(&c.Burst, 100)
	setDefault(&c.BurstWindow, time.Minute)
	setDefault(&c.PastLast, 422)
	setDefault(&c.SecondaryWait, 60*time.Second)
	setDefault(&c.Latency, 20*time.Millisecond)
	setDefault(&c.Concurrency, 100)
	setDefault(&c.Backoff, time.Second)
	setDefault(&c.Settle, 250*time.Millisecond)
	setDefault(&c.Unread, 50*time.Millisecond)
	setDefault(&c.MaxResources, 1_000_000)
	return c
}

// validate expects the defaults to be filled in.
func (c Config) validate() error {
	counts := []struct {
		name     string
		value    int
		low, top int
	}{
		{"Timelines", c.Timelines, 1, 1_000_000},
		{"Limit", c.Limit, 1, 1 << 40},
		{"AnonymousLimit", c.AnonymousLimit, 1, 1 << 40},
		{"Buckets", c.Buckets, 1, 1000},
		{"Burst", c.Burst, 1, 1 << 40},
		{"ShiftOnPage", c.ShiftOnPage, 0, pageWindow},
		{"SecondaryConcurrency", c.SecondaryConcurrency, 0, 1 << 40},
		{"Concurrency", c.Concurrency, 1, 1 << 40},
		{"MaxResources", c.MaxResources, 1, 1 << 40},
	}
	for _, f := range counts {
		if f.value < f.low || f.value > f.top {
			return fmt.Errorf("firehosetest: config: %s %d: must be %d to %d", f.name, f.value, f.low, f.top)
		}
	}
	seconds := []struct {
		name  string
		value time.Duration
	}{
		{"PollInterval", c.PollInterval}, {"MaxAge", c.MaxAge}, {"Window", c.Window}, {"SecondaryWait", c.SecondaryWait},
		{"BurstWindow", c.BurstWindow},
	}
	for _, f := range seconds {
		if err := wholeSeconds(f.value); err != nil {
			return fmt.Errorf("firehosetest: config: %s %w", f.name, err)
		}
	}
	for name, d := range map[string]time.Duration{"Latency": c.Latency, "Backoff": c.Backoff, "Settle": c.Settle, "Unread": c.Unread} {
		if d < 0 {
			return fmt.Errorf("firehosetest: config: %s %v: must not be negative", name, d)
		}
	}
	return c.validateChances()
}

func (c Config) validateChances() error {
	if err := validRate(c.Rate); err != nil {
		return fmt.Errorf("firehosetest: config: Rate %w", err)
	}
	if !(c.Late >= 0 && c.Late <= 1) {
		return fmt.Errorf("firehosetest: config: Late %v: must be 0 to 1", c.Late)
	}
	if !(c.Secondary >= 0 && c.Secondary <= 1) {
		return fmt.Errorf("firehosetest: config: Secondary %v: must be 0 to 1", c.Secondary)
	}
	if c.SecondaryForm < 0 || c.SecondaryForm >= retryForms {
		return fmt.Errorf("firehosetest: config: SecondaryForm %d: no such form", c.SecondaryForm)
	}
	sum := 0.0
	for i, f := range c.Faults {
		if !(f.Probability >= 0 && f.Probability <= 1) {
			return fmt.Errorf("firehosetest: config: Faults[%d].Probability %v: must be 0 to 1", i, f.Probability)
		}
		if err := f.Step.validate(); err != nil {
			return fmt.Errorf("firehosetest: config: Faults[%d].Step: %w", i, err)
		}
		sum += f.Probability
	}
	if sum > 1 {
		return fmt.Errorf("firehosetest: config: Faults: the probabilities add up to %v: must be at most 1", sum)
	}
	for i, o := range c.Outages {
		if err := o.validate(); err != nil {
			return fmt.Errorf("firehosetest: config: Outages[%d] %w", i, err)
		}
	}
	return c.validateParts()
}

func (c Config) validateParts() error {
	if c.Dialect < 0 || c.Dialect >= dialects {
		return fmt.Errorf("firehosetest: config: Dialect %d: no such dialect", c.Dialect)
	}
	if c.PastLast != 404 && c.PastLast != 422 {
		return fmt.Errorf("firehosetest: config: PastLast %d: must be 404 or 422", c.PastLast)
	}
	for i, p := range c.PollSteps {
		if p.After < 0 || i > 0 && p.After < c.PollSteps[i-1].After {
			return fmt.Errorf("firehosetest: config: PollSteps[%d].After %v: must be in order and not negative", i, p.After)
		}
		if err := wholeSeconds(p.Interval); err != nil {
			return fmt.Errorf("firehosetest: config: PollSteps[%d].Interval %w", i, err)
		}
	}
	if len(c.Hosts) > mostHosts {
		return fmt.Errorf("firehosetest: config: Hosts: %d of them: must be at most %d", len(c.Hosts), mostHosts)
	}
	names := map[string]bool{}
	for i, h := range c.Hosts {
		if err := h.validate(); err != nil {
			return fmt.Errorf("firehosetest: config: Hosts[%d]: %w", i, err)
		}
		if names[h.Name] {
			return fmt.Errorf("firehosetest: config: Hosts[%d]: name %q: must not be there twice", i, h.Name)
		}
		names[h.Name] = true
	}
	if c.ReplayFrom < 0 || c.ReplayFrom > longestReplay {
		return fmt.Errorf("firehosetest: config: ReplayFrom %v: must be 0 to 1,000 days", c.ReplayFrom)
	}
	if err := validArrivals(c.Replay); err != nil {
		return fmt.Errorf("firehosetest: config: Replay: %w", err)
	}
	return nil
}

// PollStep is a change of the poll interval.
type PollStep struct {
	After    time.Duration // since New
	Interval time.Duration // whole seconds; zero: none is told
}

func wholeSeconds(d time.Duration) error {
	if d < 0 || d%time.Second != 0 || d > 1<<31*time.Second {
		return fmt.Errorf("%v: must be whole seconds, 0 to 2^31", d)
	}
	return nil
}

func validRate(r float64) error {
	if !(r >= 0 && r <= 1e6) {
		return fmt.Errorf("%v: must be 0 to 1,000,000 events per second", r)
	}
	return nil
}
