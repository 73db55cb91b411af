package firehose

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// Figures that GitHub documents for its REST API, under "Rate limits for the
// REST API". They are for a [Quota] or a threshold of a plan, and nothing else:
// what an OS obeys is read from answers (rule G-8). They may change without
// notice.
const (
	GitHubAnonymousHourly    = 60    // requests an hour of one address, without a credential
	GitHubUserHourly         = 5000  // requests an hour of one user, over all tokens and OAuth apps of theirs
	GitHubEnterpriseHourly   = 15000 // requests an hour of a user, app or installation of an Enterprise Cloud organisation
	GitHubInstallationHourly = 5000  // requests an hour of an app installation, at least
	GitHubInstallationMost   = 12500 // and at most, outside of Enterprise Cloud: 50 more for each repository or user above 20
	GitHubActionsHourly      = 1000  // requests an hour and repository of the GITHUB_TOKEN of a workflow
	GitHubPointsPerMinute    = 900   // points of secondary limit a minute; a GET costs one
	GitHubConcurrent         = 100   // requests in flight together, REST and GraphQL together
	GitHubCPUPerMinute       = 90 * time.Second
	GitHubEventWindow        = 300 // events that one timeline shows, on 3 pages of 100
)

// EachCredential is, as Quota.Credential, every credential that no Quota of the
// same origin names. It stands for no anonymous request.
const EachCredential = "*"

// Quota is what an origin is taken to grant: an assumption of a plan, and
// never a limit of the OS.
type Quota struct {
	// Origin is whose it is, such as "https://api.github.com". Required.
	Origin string

	// Credential is the name of the credential that it is granted to:
	// EachCredential, or empty for requests without one.
	Credential string

	// Path is the beginning of the paths that draw from it; where several fit,
	// the longest counts. Empty: all that no other Quota takes.
	Path string

	// Name is what answers call the bucket, such as "core". Empty: they don't
	// name it, and the scope as a whole counts.
	Name string

	// Requests may be sent in each Window: 1 or more, in a second or more.
	Requests int64
	Window   time.Duration

	// NotModifiedFree says that a 304 to a request with a credential costs
	// nothing of it. At GitHub that is so (rule G-5).
	NotModifiedFree bool
}

// DefaultLatency is what an answer is taken to need where [Traits] don't say.
const DefaultLatency = 100 * time.Millisecond

// MaxFeedWindow bounds Feed.Window, in items.
const MaxFeedWindow = 100_000

// Traits are what is taken to be true of one resource. The zero value is the
// pessimistic one: every poll finds something new.
type Traits struct {
	// PollInterval is the X-Poll-Interval that answers carry, rounded up to a
	// second, since it can't carry less. Zero: none.
	PollInterval time.Duration

	// Latency is the time from a request to the end of its answer, at most an
	// hour. Zero: DefaultLatency.
	Latency time.Duration

	// ChangeEvery is the mean time between two changes, which come at random (a
	// Poisson process). The share of 304 follows from it and the interval.
	// Zero: every poll finds a change.
	ChangeEvery time.Duration

	// Unchanged is the share of the polls that are answered by a 304, from 0 to
	// 1, whatever the interval. It can't be given together with ChangeEvery or
	// Feed. Zero: see ChangeEvery.
	Unchanged float64

	// Feed says that it is an event feed. The zero Feed is none.
	Feed Feed
}

// Feed is an event feed as a plan sees it: a window that shows the newest items.
type Feed struct {
	// Rate is how many items a second come in, at random. Zero: it is no feed.
	Rate float64
	// Window is how many items can be seen at once, over all pages: 1 to
	// MaxFeedWindow. GitHub: GitHubEventWindow.
	Window int
	// Pages is how many requests read the whole window when page one is new: 1
	// to 100. Zero: 1.
	Pages int
}

// Defaults of the thresholds of a [PlanConfig].
const (
	DefaultMaxShare    = 0.9
	DefaultMaxShareOne = 0.5
	DefaultSlack       = 0.05
	DefaultGapChance   = 0.001
)

// PlanConfig is what to plan for: what is to be polled, as in a [Config], and
// what is taken to be true of the origins. It knows no [Shard]: of a fleet, all
// resources are planned together, with the workers of all. Every zero value is a
// documented default. Plan and Simulate copy what they keep.
type PlanConfig struct {
	// Resources, Profiles and Tokens are those of a Config. Of Tokens only the
	// names of credentials are asked for, never a token; a profile may name a
	// credential without them.
	Resources []resource.Spec
	Profiles  map[string]resource.Profile
	Tokens    resource.TokenSource

	// Workers is the size of the Requestor pool. Zero: DefaultWorkers.
	Workers int

	// Quotas are what the origins grant. A resource that none of them fits has
	// an unknown budget, which is flagged.
	Quotas []Quota

	// Traits says what is taken to be true of a resource. It is called once for
	// each. Nil: the zero Traits for all.
	Traits func(resource.Spec) Traits

	// MaxShare is the share of a quota, counted without Reserve, beyond which a
	// plan is refused: there would be nothing left for the user's other programs
	// (rule G-9). 1 refuses none. Zero: DefaultMaxShare.
	MaxShare float64

	// MaxShareOne is the share of a quota beyond which a single resource is
	// flagged (rule G-9). Zero: DefaultMaxShareOne.
	MaxShareOne float64

	// Slack is the share by which an interval may be exceeded, besides the time
	// that answers take, and still count as met. Zero: DefaultSlack.
	Slack float64

	// GapChance is the chance of a Gap at a poll, up to which a feed counts as
	// completely read. Zero: DefaultGapChance.
	GapChance float64

	// PointsPerMinute, Concurrent and CPUPerMinute are the secondary limits that
	// scopes whose dialect is github are held against (rule G-10). Zero: what
	// GitHub documents.
	PointsPerMinute int
	Concurrent      int
	CPUPerMinute    time.Duration
}

func (c PlanConfig) withDefaults() (PlanConfig, error) {
	for _, share := range []struct {
		field string
		value *float64
		zero  float64
	}{
		{"MaxShare", &c.MaxShare, DefaultMaxShare}, {"MaxShareOne", &c.MaxShareOne, DefaultMaxShareOne},
		{"Slack", &c.Slack, DefaultSlack}, {"GapChance", &c.GapChance, DefaultGapChance},
	} {
		if !(*share.value >= 0 && *share.value <= 1) { // not a number, too
			return c, &FieldError{Field: share.field, Value: formatFloat(*share.value), Want: "0 (the default) to 1"}
		}
		if *share.value == 0 {
			*share.value = share.zero
		}
	}
	for _, n := range []struct {
		field    string
		value    *int
		zero, up int
	}{
		{"Workers", &c.Workers, DefaultWorkers, MaxWorkers},
		{"PointsPerMinute", &c.PointsPerMinute, GitHubPointsPerMinute, 1 << 30},
		{"Concurrent", &c.Concurrent, GitHubConcurrent, 1 << 30},
	} {
		if *n.value < 0 || *n.value > n.up {
			return c, &FieldError{Field: n.field, Value: strconv.Itoa(*n.value), Want: "0 (the default) to " + strconv.Itoa(n.up)}
		}
		if *n.value == 0 {
			*n.value = n.zero
		}
	}
	if c.CPUPerMinute < 0 || c.CPUPerMinute > time.Hour {
		return c, &FieldError{Field: "CPUPerMinute", Value: c.CPUPerMinute.String(), Want: "0 (the default) to 1h0m0s"}
	}
	if c.CPUPerMinute == 0 {
		c.CPUPerMinute = GitHubCPUPerMinute
	}
	if isNilInside(c.Tokens) {
		return c, &FieldError{Field: "Tokens", Value: fmt.Sprintf("a nil %T", c.Tokens), Want: "a value, or nil itself for none"}
	}
	return c, c.normalize()
}

// normalize checks profiles and quotas, and gives the latter their origins'
// normal form.
func (c *PlanConfig) normalize() error {
	for _, name := range slices.Sorted(maps.Keys(c.Profiles)) {
		p := c.Profiles[name]
		if err := p.Validate(); err != nil {
			return inField(fmt.Sprintf("Profiles[%q]", name), err)
		}
	}
	c.Quotas = slices.Clone(c.Quotas)
	seen := make(map[Quota]int, 2*len(c.Quotas))
	for i := range c.Quotas {
		q, path := &c.Quotas[i], fmt.Sprintf("Quotas[%d]", i)
		if err := q.normalize(); err != nil {
			return inField(path, err)
		}
		place := Quota{Origin: q.Origin, Credential: q.Credential, Path: "path " + q.Path}
		if j, twice := seen[place]; twice {
			return &FieldError{Field: path + ".Path", Value: strconv.Quote(q.Path), Want: fmt.Sprintf("a path that Quotas[%d] does not have already, for the same origin and credential", j)}
		}
		seen[place] = i
		bucket := Quota{Origin: q.Origin, Credential: q.Credential, Name: q.Name}
		if j, twice := seen[bucket]; !twice {
			seen[bucket] = i
		} else if o := &c.Quotas[j]; o.Requests != q.Requests || o.Window != q.Window || o.NotModifiedFree != q.NotModifiedFree {
			return &FieldError{Field: path + ".Name", Value: strconv.Quote(q.Name), Want: fmt.Sprintf("another name, or the figures of Quotas[%d], which is the same bucket", j)}
		}
	}
	return nil
}

func (q *Quota) normalize() error {
	origin, err := resource.Origin(q.Origin)
	if e, ok := err.(*FieldError); ok {
		return &FieldError{Field: "Origin", Value: e.Value, Want: e.Want}
	}
	if rest := strings.TrimPrefix(strings.ToLower(q.Origin), origin); rest != "" && rest != "/" && strings.Contains(rest, "/") {
		return &FieldError{Field: "Origin", Value: strconv.Quote(q.Origin), Want: "scheme, host and port only, such as " + origin}
	}
	q.Origin = origin
	if q.Credential != EachCredential {
		p := resource.Profile{Credential: q.Credential}
		if err := p.Validate(); err != nil {
			return err
		}
	}
	switch {
	case q.Path != "" && q.Path[0] != '/':
		return &FieldError{Field: "Path", Value: strconv.Quote(q.Path), Want: "empty, or a path that begins with /"}
	case len(q.Name) > resource.MaxBucket:
		return &FieldError{Field: "Name", Value: strconv.Itoa(len(q.Name)) + " bytes", Want: "at most " + strconv.Itoa(resource.MaxBucket)}
	case q.Requests < 1 || q.Requests > 1<<40:
		return &FieldError{Field: "Requests", Value: strconv.FormatInt(q.Requests, 10), Want: "1 to " + strconv.Itoa(1<<40)}
	case q.Window < time.Second || q.Window > resource.MaxInterval:
		return &FieldError{Field: "Window", Value: q.Window.String(), Want: "1s to " + resource.MaxInterval.String()}
	}
	return nil
}

// normalize fills in defaults, or returns the first error.
func (t *Traits) normalize() error {
	for _, d := range []struct {
		field string
		value time.Duration
		up    time.Duration
	}{
		{"PollInterval", t.PollInterval, resource.MaxInterval}, {"Latency", t.Latency, time.Hour},
		{"ChangeEvery", t.ChangeEvery, 10 * resource.MaxInterval},
	} {
		if d.value < 0 || d.value > d.up {
			return &FieldError{Field: d.field, Value: d.value.String(), Want: "0 to " + d.up.String()}
		}
	}
	f := &t.Feed
	switch {
	case !(t.Unchanged >= 0 && t.Unchanged <= 1):
		return &FieldError{Field: "Unchanged", Value: formatFloat(t.Unchanged), Want: "0 to 1"}
	case t.Unchanged > 0 && t.ChangeEvery > 0:
		return &FieldError{Field: "Unchanged", Value: formatFloat(t.Unchanged), Want: "0 beside ChangeEvery: the share follows from that"}
	case !(f.Rate >= 0 && f.Rate <= 1e9):
		return &FieldError{Field: "Feed.Rate", Value: formatFloat(f.Rate), Want: "0 (no feed) to 1e9 items a second"}
	case f.Rate == 0 && *f != Feed{}:
		return &FieldError{Field: "Feed.Rate", Value: "0", Want: "more, or a zero Feed for none"}
	case f.Rate > 0 && (t.ChangeEvery > 0 || t.Unchanged > 0):
		return &FieldError{Field: "Feed.Rate", Value: formatFloat(f.Rate), Want: "0 beside ChangeEvery or Unchanged: a feed changes with its items"}
	case f.Rate > 0 && (f.Window < 1 || f.Window > MaxFeedWindow):
		return &FieldError{Field: "Feed.Window", Value: strconv.Itoa(f.Window), Want: "1 to " + strconv.Itoa(MaxFeedWindow)}
	case f.Pages < 0 || f.Pages > 100:
		return &FieldError{Field: "Feed.Pages", Value: strconv.Itoa(f.Pages), Want: "0 (which is 1) to 100"}
	}
	if t.Latency == 0 {
		t.Latency = DefaultLatency
	}
	t.PollInterval = (t.PollInterval + time.Second - 1).Truncate(time.Second)
	f.Pages = max(1, f.Pages)
	if f.Rate > 0 {
		t.ChangeEvery = seconds(1 / f.Rate)
	}
	return nil
}

func formatFloat(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// seconds is a number of seconds as a duration, at least a nanosecond, and at
// most what one can hold.
func seconds(s float64) time.Duration {
	if s >= math.MaxInt64/1e9 {
		return math.MaxInt64
	}
	return max(1, time.Duration(s*1e9))
}
