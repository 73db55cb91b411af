package firehosetest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Origin is a fake of GitHub's events API with an oracle. Its methods may be
// called at any time by several goroutines. Its clock is [time.Now]: inside a
// synctest bubble make it there.
type Origin struct {
	cfg   Config // as given to New
	zips  sync.Pool
	proxy transport

	mu sync.Mutex
	*oracle
	born      instant
	main      *host            // all that have no name
	hosts     map[string]*host // by name
	feed      *feed            // at /events; nil: made events
	interval  time.Duration
	intervals map[string]time.Duration // by path
	maxAge    time.Duration            // zero: as the interval
	segments  segments
	timelines []*timeline
	scripts   map[string][]Step // by path, and page from the second on
	aliases   map[credential]credential
	revoked   map[credential]*revocation
	reported  bool // Published was called

	connections map[string]struct{} // addresses from which requests came
}

// New makes an origin. It starts nothing and needs no closing. The error names
// the field of the configuration that is not allowed.
func New(cfg Config) (*Origin, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.Faults = append([]Fault(nil), cfg.Faults...)
	cfg.PollSteps = append([]PollStep(nil), cfg.PollSteps...)
	o := &Origin{
		cfg:       cfg,
		oracle:    newOracle(),
		interval:  cfg.PollInterval,
		intervals: map[string]time.Duration{},
		maxAge:    cfg.MaxAge,
		timelines: make([]*timeline, cfg.Timelines+1),
		scripts:   map[string][]Step{},
		aliases:   map[credential]credential{},
		revoked:   map[credential]*revocation{},

		connections: map[string]struct{}{},
	}
	o.proxy.origin = o
	o.oracle.cap, o.oracle.max = cfg.Concurrency, cfg.MaxResources
	o.oracle.backoff, o.oracle.settle, o.oracle.unread = cfg.Backoff, cfg.Settle, cfg.Unread
	now := o.now()
	o.segments = segments{{at: now, slot: firstSlot, rate: cfg.Rate}}
	o.born = now
	o.outages = startOutages(cfg.Outages, now)
	o.startHosts(cfg)
	if cfg.Replay != nil {
		o.feed = newFeed(cfg.Replay, mix(cfg.Seed), now-instant(cfg.ReplayFrom))
	}
	return o, nil
}

// Paths lists page one of the timelines, as many as Config.Timelines. The one
// at /events is not among them.
func (o *Origin) Paths() []string {
	paths := make([]string, o.cfg.Timelines)
	for n := range paths {
		paths[n] = "/timelines/" + strconv.Itoa(n) + "/events"
	}
	return paths
}

// RoundTripper answers requests to any host without sockets: every scheme and
// host is an origin of its own over the same timelines. It works in a synctest
// bubble, obeys the context of a request also while it waits, and sends the
// User-Agent of net/http if a request says nothing of it. An answer is known
// to its client when its body has been read or closed; one without a body, at
// once. A body that is neither read nor closed stays in flight.
func (o *Origin) RoundTripper() http.RoundTripper { return &o.proxy }

// Verdict tells what the oracle saw so far.
func (o *Origin) Verdict() Verdict {
	o.mu.Lock()
	defer o.mu.Unlock()
	v := o.oracle.verdict(o.now())
	if o.reported {
		for _, t := range o.timelines {
			if t != nil && t.served != nil {
				v.LostItems += t.served.pending()
			}
		}
		if o.feed != nil {
			v.LostItems += o.feed.pending()
		}
	}
	return v
}

// Killed says that all clients were killed at an instant. Call it after the
// kill and before a client is started again. What is in flight, and what was
// completed within Config.Unread before the instant or since, may never have
// been read; breaking a rule that only such an answer told is unknowable.
// Until the next request nothing counts as missed, for a minute.
func (o *Origin) Killed(at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.oracle.killed(o.at(at), o.now())
	if o.feed != nil {
		o.feed.killed(o.at(at) - instant(o.unread))
	}
}

// Published says that the client published an event. Ids that this origin
// never made count as published and as nothing else.
func (o *Origin) Published(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reported = true
	o.counts.Published++
	if o.feed != nil && o.feed.publish(id, o.now(), &o.counts) {
		return
	}
	number, k, ok := parseID(id, len(o.timelines))
	if !ok || k > int64(o.segments.slot(o.now())) {
		return
	}
	if o.timeline(number).serving().report(k) {
		o.counts.Duplicates++
	}
}

// Expect says that the client means to poll a path (with its query, without
// page) at most once per wish, so that no more than that is permitted. It
// changes nothing of what is early.
func (o *Origin) Expect(path string, wish time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wishes[path] = wish
}

// Script answers the next requests for page one of a path by steps, whatever
// their query, in their order; more steps are appended. For a later page
// append "?page=2" to the path. Requests that meet a limit in force or an
// outage take no step.
func (o *Origin) Script(path string, steps ...Step) error {
	for i, s := range steps {
		if err := s.validate(); err != nil {
			return fmt.Errorf("firehosetest: script %s: step %d: %w", path, i, err)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.scripts[path] = append(o.scripts[path], steps...)
	return nil
}

// Outage cuts every connection from one instant to another, before an answer.
func (o *Origin) Outage(from, to time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.outages = addOutage(o.outages, outage{from: o.at(from), to: o.at(to)})
}

// SetRate changes Config.Rate; zero is silence.
func (o *Origin) SetRate(perSecond float64) error {
	if err := validRate(perSecond); err != nil {
		return fmt.Errorf("firehosetest: rate %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.segments = o.segments.change(perSecond, o.now())
	return nil
}

// SetPollInterval changes X-Poll-Interval, of the named paths (without query)
// or else of all that were not named before; zero sends none.
func (o *Origin) SetPollInterval(d time.Duration, paths ...string) error {
	if err := wholeSeconds(d); err != nil {
		return fmt.Errorf("firehosetest: poll interval %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(paths) == 0 {
		o.interval = d
	}
	for _, p := range paths {
		o.intervals[p] = d
	}
	return nil
}

// SetMaxAge changes Config.MaxAge; zero follows the poll interval.
func (o *Origin) SetMaxAge(d time.Duration) error {
	if err := wholeSeconds(d); err != nil {
		return fmt.Errorf("firehosetest: max age %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.maxAge = d
	return nil
}

// SetSkew changes Config.Skew, which is that of all hosts but Config.Hosts.
// Windows and parks in force keep their ends.
func (o *Origin) SetSkew(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.main.Skew = d
}

// SetSecondary changes Config.Secondary, which is that of all hosts but
// Config.Hosts.
func (o *Origin) SetSecondary(probability float64) error {
	if !(probability >= 0 && probability <= 1) {
		return fmt.Errorf("firehosetest: secondary %v: must be 0 to 1", probability)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.main.Secondary = probability
	return nil
}

// timeline returns a timeline, made when it is first asked for.
func (o *Origin) timeline(number int) *timeline {
	t := o.timelines[number]
	if t == nil {
		t = &timeline{number: number, seed: mix(o.cfg.Seed + mix(uint64(number)+1))}
		o.timelines[number] = t
	}
	return t
}

// route returns the number of the timeline at a path, or -1.
func (o *Origin) route(path string) int {
	path = strings.TrimPrefix(path, movedPrefix)
	if path == "/events" {
		return o.cfg.Timelines
	}
	rest, ok := strings.CutPrefix(path, "/timelines/")
	if !ok {
		return -1
	}
	digits, ok := strings.CutSuffix(rest, "/events")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 0 || n >= o.cfg.Timelines || strconv.Itoa(n) != digits {
		return -1
	}
	return n
}

// movedPrefix precedes the paths to which redirects without a location lead.
const movedPrefix = "/moved"
