package firehosetest

import (
	"fmt"
	"math"
	"net"
	"strings"
	"time"
)

// Host is how one host name answers, where it differs from the rest of its
// [Config]. All hosts serve the same timelines.
type Host struct {
	// Name is the host of the URL, with its port if that shall matter.
	Name string
	// Dialect is how limits are told. Default GitHub.
	Dialect Dialect
	// PollInterval is as in Config, and told as the dialect tells it. Default:
	// that of the path, see Origin.SetPollInterval.
	PollInterval time.Duration
	// Limit and Window are as in Config, for requests with and without
	// Authorization. Default: as in Config.
	Limit  int
	Window time.Duration
	// Burst and BurstWindow are as in Config. Default: as in Config.
	Burst       int
	BurstWindow time.Duration
	// Secondary is as in Config. Default 0.
	Secondary float64
	// Skew is added to the clock that this host shows. Default 0.
	Skew time.Duration
	// Outages are those of this host, beside Config.Outages.
	Outages []Outage
}

// mostHosts bounds Config.Hosts.
const mostHosts = 10_000

func (h Host) validate() error {
	switch {
	case h.Name == "" || h.Name != strings.ToLower(h.Name) || strings.ContainsAny(h.Name, "/ "):
		return fmt.Errorf("name %q: must be a host name in lower case", h.Name)
	case h.Dialect < 0 || h.Dialect >= dialects:
		return fmt.Errorf("dialect %d: no such dialect", h.Dialect)
	case h.Limit < 0 || h.Limit > 1<<40:
		return fmt.Errorf("limit %d: must be 0 to 2^40", h.Limit)
	case h.Burst < 0 || h.Burst > 1<<40:
		return fmt.Errorf("burst %d: must be 0 to 2^40", h.Burst)
	case !(h.Secondary >= 0 && h.Secondary <= 1):
		return fmt.Errorf("secondary %v: must be 0 to 1", h.Secondary)
	}
	for _, d := range [...]time.Duration{h.PollInterval, h.Window, h.BurstWindow} {
		if err := wholeSeconds(d); err != nil {
			return err
		}
	}
	for i, out := range h.Outages {
		if err := out.validate(); err != nil {
			return fmt.Errorf("outages[%d] %w", i, err)
		}
	}
	return nil
}

// host is the present state of one.
type host struct {
	Host
	oracle    *oracle
	anonymous int
	outages   []outage
}

// newHost fills in the defaults.
func newHost(own Host, cfg Config, o *oracle) *host {
	h := &host{Host: own, oracle: o, anonymous: own.Limit}
	if h.Limit == 0 {
		h.Limit, h.anonymous = cfg.Limit, cfg.AnonymousLimit
	}
	setDefault(&h.Window, cfg.Window)
	setDefault(&h.Burst, cfg.Burst)
	setDefault(&h.BurstWindow, cfg.BurstWindow)
	if h.Dialect == CacheControlOnly {
		h.Limit, h.anonymous = math.MaxInt, math.MaxInt
	}
	h.outages = startOutages(own.Outages, o.now())
	return h
}

// hostOf finds the host of an origin, with its port or without.
func (o *Origin) hostOf(where string) *host {
	if len(o.hosts) == 0 {
		return o.main
	}
	_, name, _ := strings.Cut(where, "://")
	if h := o.hosts[name]; h != nil {
		return h
	}
	if bare, _, err := net.SplitHostPort(name); err == nil {
		if h := o.hosts[bare]; h != nil {
			return h
		}
	}
	return o.main
}

// clock is the time that the host shows.
func (h *host) clock(i instant) time.Time { return h.oracle.wall(i).Add(h.Skew).UTC() }

// unclock is the instant at which the host shows a time.
func (h *host) unclock(t time.Time) instant { return h.oracle.at(t.Add(-h.Skew)) }
