package firehose

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
	"github.com/cannedos/cannedos/resource/ietf"
)

// Defaults and bounds of a [Config].
const (
	DefaultWorkers        = 16
	DefaultPublishers     = 1
	DefaultRequestTimeout = 30 * time.Second
	DefaultStopTimeout    = 20 * time.Second
	DefaultSinkTimeout    = 30 * time.Second
	DefaultSinkTries      = 5
	DefaultMaxBody        = 8 << 20
	DefaultPublishCount   = 256
	DefaultPublishBytes   = 64 << 20
	DefaultUserAgent      = "cannedos (+https://github.com/cannedos/cannedos)"

	MaxWorkers = 4096
)

// Config is what an [OS] is made from: plain data, in which every zero value is
// a documented default. New copies what it keeps.
type Config struct {
	// Name is the first step of every lineage in the log. Empty: "os".
	Name string

	// Resources are what to poll, from the first start on. With a durable DB,
	// one that an earlier run brought from here and that is no longer listed is
	// taken out at the next start.
	Resources []resource.Spec

	// ResourceFile names a file with one URI a line, polled like Resources.
	// Empty lines, and lines that begin with #, count for nothing. It is read
	// when the OS starts to serve. Empty: none.
	ResourceFile string

	// Profiles are what resources share, by name. The one named "" is the
	// default profile; without it, that is the zero Profile.
	Profiles map[string]resource.Profile

	// Tokens resolves credentials when a request is sent. Nil: no request
	// carries one.
	Tokens resource.TokenSource

	// Sink takes what changed. Nil: every response counts as taken.
	Sink Sink

	// DB keeps claims, results, parks, resets and wishes. Nil: they live in
	// memory and are forgotten when the process ends. The OS does not close it.
	// Two OSes may use one at the same time if they are different shards.
	DB db.DB

	// Queue holds the resources. Nil: queue.NewDurable over DB, or
	// queue.NewMemory without one. A Queue that is given is not closed.
	Queue queue.Queue

	// Transport sends the requests. Nil: an http.Transport whose connections
	// are bounded by Workers. It is wrapped by the one that reserves.
	Transport http.RoundTripper

	// Logger takes one line a poll at level debug, and what needs attention at
	// higher ones. Nil: discarded.
	Logger *slog.Logger

	// Observer is called for each [Event]: synchronously, so it should be fast,
	// and from many goroutines. Nil: none.
	Observer func(Event)

	// Dialects are ways to speak of limits beside those that are known: of
	// package resource, and of resource/ietf. They are tried first, in this
	// order. Nil: none.
	Dialects []resource.Dialect

	// UserAgent is sent where the profile sets none; GitHub refuses requests
	// without one. Empty: DefaultUserAgent.
	UserAgent string

	// Workers is the size of the Requestor pool, and so the most requests in
	// flight. Zero: DefaultWorkers. At most MaxWorkers.
	Workers int

	// Publishers is how many calls of Sink.Take may run at once. Zero:
	// DefaultPublishers.
	Publishers int

	// HostConcurrency bounds the requests to one origin that are in flight
	// together, over all credentials of the shard; shards don't count together. Zero: only Workers, and for each scope its
	// profile and dialect, bound them.
	HostConcurrency int

	// Domains are those whose hosts count together: an origin that limits all of
	// its subdomains at once is then asked, and left alone, as one host, for each
	// credential. Each is named as example.org, and stands for that host and all
	// below it. Nil: each origin counts by itself.
	Domains []string

	// RequestTimeout bounds one poll, redirects and body included. After a
	// crash, a scope with a request under way is left alone for this long.
	// Zero: DefaultRequestTimeout.
	RequestTimeout time.Duration

	// StopTimeout bounds the time in which work in flight may be finished after
	// the context of Serve has ended. Zero: DefaultStopTimeout.
	StopTimeout time.Duration

	// SinkTimeout is when the context of one call of Sink.Take ends. A sink that
	// is deaf to it holds up its publisher, which Health shows. Zero:
	// DefaultSinkTimeout.
	SinkTimeout time.Duration

	// SinkTries is how often a response is offered before its resource goes to
	// the publish-error queue. Zero: DefaultSinkTries.
	SinkTries int

	// MaxBody bounds a body, decompressed, in bytes. A longer one is a failure:
	// nothing of it is kept. Zero: DefaultMaxBody.
	MaxBody int64

	// PublishCount and PublishBytes bound what waits for the sink. While they
	// are used up no request leaves. Bytes may be exceeded by one body for each
	// worker. Half as much again may wait for the next page of a feed; a reading
	// beyond that ends early (see [Follower]). Zero: DefaultPublishCount, DefaultPublishBytes.
	PublishCount int
	PublishBytes int64

	// Tiers name the queues in which resources wait for an instant, by how long.
	// The first one is QueueAnalyze; each of the others has a Freezer. Nil:
	// queue.DefaultTiers.
	Tiers []queue.Tier[string]

	// FreshnessCap and ParkCap are those of resource.Parser. Zero: its defaults.
	FreshnessCap time.Duration
	ParkCap      time.Duration

	// Jitter is the most that is added, at random, to the wait of a resource for its
	// interval, but no more than a tenth of that wait. It spreads resources that are
	// due together, such as a million of a first start, which otherwise come back as
	// close together as they were polled. Zero: none is added, and each is polled as
	// early as it may be.
	Jitter time.Duration

	// Shard is which part of the work of a fleet is this OS's. The zero Shard: all
	// of it.
	Shard Shard

	// Seed makes the jitter repeatable, for simulations. Zero: random.
	Seed uint64
}

// FieldError says which field of a Config is wrong, what it held and what is
// allowed there. It is the same type as in package resource.
type FieldError = resource.FieldError

// withDefaults returns a copy of c with its defaults filled in, or the first
// error as a [*FieldError].
func (c Config) withDefaults() (Config, error) {
	if err := c.validate(); err != nil {
		return Config{}, fmt.Errorf("firehose: config: %w", err)
	}
	c.Resources, c.Domains = slices.Clone(c.Resources), slices.Clone(c.Domains)
	profiles := make(map[string]resource.Profile, len(c.Profiles)+1)
	profiles[""] = resource.Profile{}
	for name, p := range c.Profiles {
		p.Header = p.Header.Clone()
		profiles[name] = p
	}
	c.Profiles = profiles
	orInt := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	orTime := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	orInt(&c.Workers, DefaultWorkers)
	orInt(&c.Publishers, DefaultPublishers)
	orInt(&c.SinkTries, DefaultSinkTries)
	orInt(&c.PublishCount, DefaultPublishCount)
	orTime(&c.RequestTimeout, DefaultRequestTimeout)
	orTime(&c.StopTimeout, DefaultStopTimeout)
	orTime(&c.SinkTimeout, DefaultSinkTimeout)
	if c.MaxBody == 0 {
		c.MaxBody = DefaultMaxBody
	}
	if c.PublishBytes == 0 {
		c.PublishBytes = DefaultPublishBytes
	}
	if len(c.Tiers) == 0 {
		c.Tiers = queue.DefaultTiers()
	}
	c.Tiers = append([]queue.Tier[string](nil), c.Tiers...)
	if c.Name == "" {
		c.Name = "os"
	}
	if c.UserAgent == "" {
		c.UserAgent = DefaultUserAgent
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Transport == nil {
		c.Transport = boundedTransport(c.Workers)
	}
	return c, nil
}

func (c *Config) validate() error {
	seen := make(map[resource.ID]int, len(c.Resources))
	for i := range c.Resources {
		spec := &c.Resources[i]
		path := fmt.Sprintf("Resources[%d]", i)
		r, err := resource.New(*spec, "")
		if err != nil {
			return inField(path, err)
		}
		if _, ok := c.Profiles[spec.Profile]; !ok && spec.Profile != "" {
			return &FieldError{Field: path + ".Profile", Value: strconv.Quote(spec.Profile), Want: "the name of one of Profiles"}
		}
		if j, twice := seen[r.ID]; twice {
			return &FieldError{Field: path, Value: strconv.Quote(r.URI), Want: fmt.Sprintf("a resource that is not listed already: it is the one of Resources[%d]", j)}
		}
		seen[r.ID] = i
	}
	if err := c.validateParts(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(c.Profiles)) {
		p := c.Profiles[name]
		if err := p.Validate(); err != nil {
			return inField(fmt.Sprintf("Profiles[%q]", name), err)
		}
		if p.Dialect != "" {
			if _, err := resource.DialectNamed(c.dialects(), p.Dialect); err != nil {
				return inField(fmt.Sprintf("Profiles[%q]", name), err)
			}
		}
		if p.Credential != "" && c.Tokens == nil {
			return &FieldError{Field: fmt.Sprintf("Profiles[%q].Credential", name), Value: strconv.Quote(p.Credential), Want: "empty, or Tokens to resolve it"}
		}
	}
	if err := c.validateTiers(); err != nil {
		return err
	}
	if err := c.validateDomains(); err != nil {
		return err
	}
	if err := c.Shard.validate(); err != nil {
		return err
	}
	return c.validateNumbers()
}

// validateParts looks into the interfaces, for what would only show when it is
// called.
func (c *Config) validateParts() error {
	for _, part := range []struct {
		field string
		value any
	}{{"Sink", c.Sink}, {"Tokens", c.Tokens}, {"DB", c.DB}, {"Queue", c.Queue}, {"Transport", c.Transport}} {
		if isNilInside(part.value) {
			return &FieldError{Field: part.field, Value: fmt.Sprintf("a nil %T", part.value), Want: "a value, or nil itself for the default"}
		}
	}
	if all, ok := c.Sink.(fanOut); ok {
		for i, s := range all {
			if s == nil || isNilInside(s) {
				return &FieldError{Field: fmt.Sprintf("Sink[%d]", i), Value: "nil", Want: "a value for each of Sinks"}
			}
		}
	}
	if n := len(sinksAs[Follower](c.Sink)); n > 1 { // the pages that are read are those that the first one wants
		return &FieldError{Field: "Sink", Value: fmt.Sprintf("%d that are a Follower, such as Events", n), Want: "at most one of them among Sinks"}
	}
	for i, d := range c.Dialects {
		if err := (&resource.Profile{Dialect: d.Name}).Validate(); err != nil || d.Name == "" {
			return &FieldError{Field: fmt.Sprintf("Dialects[%d].Name", i), Value: strconv.Quote(d.Name), Want: "1 to 128 of letters, digits and - _ . / :"}
		}
		if d.Read == nil {
			return &FieldError{Field: fmt.Sprintf("Dialects[%d].Read", i), Value: "nil", Want: "a function"}
		}
	}
	if v, ok := c.Tokens.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return inField("Tokens", err)
		}
	}
	return nil
}

func (c *Config) validateTiers() error {
	if len(c.Tiers) > 0 && c.Tiers[0].Name != QueueAnalyze {
		return &FieldError{Field: "Tiers[0].Name", Value: strconv.Quote(c.Tiers[0].Name), Want: strconv.Quote(QueueAnalyze)}
	}
	for i, t := range c.Tiers[min(1, len(c.Tiers)):] {
		if t.Name == QueueRequests || t.Name == QueuePublish || slices.Contains(ErrorQueues(), t.Name) || isLine(t.Name) {
			return &FieldError{Field: fmt.Sprintf("Tiers[%d].Name", i+1), Value: strconv.Quote(t.Name), Want: "a name that the flow does not use for another queue"}
		}
	}
	return nil
}

func (c *Config) validateNumbers() error {
	for _, n := range []struct {
		field     string
		value, up int64
	}{
		{"Workers", int64(c.Workers), MaxWorkers}, {"Publishers", int64(c.Publishers), MaxWorkers},
		{"HostConcurrency", int64(c.HostConcurrency), MaxWorkers},
		{"SinkTries", int64(c.SinkTries), 1 << 16}, {"MaxBody", c.MaxBody, 1 << 40},
		{"PublishCount", int64(c.PublishCount), 1 << 30}, {"PublishBytes", c.PublishBytes, 1 << 50},
		{"RequestTimeout", int64(c.RequestTimeout), int64(time.Hour)}, {"StopTimeout", int64(c.StopTimeout), int64(time.Hour)},
		{"SinkTimeout", int64(c.SinkTimeout), int64(time.Hour)},
		{"Jitter", int64(c.Jitter), int64(resource.MaxInterval)},
		{"FreshnessCap", int64(c.FreshnessCap), int64(resource.MaxInterval)}, {"ParkCap", int64(c.ParkCap), int64(resource.MaxInterval)},
	} {
		if n.value >= 0 && n.value <= n.up {
			continue
		}
		value, up := strconv.FormatInt(n.value, 10), strconv.FormatInt(n.up, 10)
		switch n.field {
		case "RequestTimeout", "StopTimeout", "SinkTimeout", "Jitter", "FreshnessCap", "ParkCap":
			value, up = time.Duration(n.value).String(), time.Duration(n.up).String()
		}
		return &FieldError{Field: n.field, Value: value, Want: "0 (the default) to " + up}
	}
	for i := range len(c.UserAgent) {
		if b := c.UserAgent[i]; b < ' ' || b > '~' {
			return &FieldError{Field: "UserAgent", Value: strconv.Quote(c.UserAgent), Want: "printable ASCII"}
		}
	}
	return nil
}

// dialects returns those that an answer may speak, in the order in which they
// are tried: the user's, the IETF's, which says what it is by its fields, and
// those of package resource.
func (c *Config) dialects() []resource.Dialect {
	return slices.Concat(c.Dialects, []resource.Dialect{ietf.Dialect()}, resource.Dialects())
}

// inField places an error of package resource inside the named field.
func inField(path string, err error) error {
	if e, ok := err.(*FieldError); ok {
		return e.In(path)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// isNilInside reports whether an interface holds a nil pointer or function,
// which would only show when it is called.
func isNilInside(v any) bool {
	if v == nil {
		return false
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Chan:
		return r.IsNil()
	}
	return false
}

// boundedTransport is the default transport: as many connections to a host as
// there are workers, and no more idle ones in all than a few times that.
func boundedTransport(workers int) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:      true,
		MaxConnsPerHost:        workers,
		MaxIdleConnsPerHost:    workers,
		MaxIdleConns:           4 * workers,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}
}
