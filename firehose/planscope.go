package firehose

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// terrain is a PlanConfig made ready: who draws from what. It is what Plan
// reckons with and Simulate runs on.
type terrain struct {
	cfg    PlanConfig
	units  []unit
	scopes []planScope // in order of first mention
}

// unit is one resource with what is taken to be true of it.
type unit struct {
	r      resource.Resource
	t      Traits
	scope  int // index in scopes
	bucket int // index in the scope's buckets
}

// every is the wait between the end of a poll and the next one: what
// resource.Effective says once the first answer has come.
func (u *unit) every() time.Duration {
	r := u.r
	r.PollInterval = u.t.PollInterval
	return r.Effective()
}

// planScope is a scope as the registry of buckets would configure it.
type planScope struct {
	key     resource.Scope
	dialect string // that is declared, or detected by the origin alone
	cap     int    // requests in flight together
	capped  bool   // the user set it
	spacing time.Duration
	paced   bool // the user set it
	reserve int64
	buckets []planBucket
}

// planBucket is a bucket that the plan knows of: of a Quota, or the scope itself.
type planBucket struct {
	name  string
	quota Quota // zero Requests: unknown
	units []int
}

// survey makes a terrain of a configuration. The error is a [*FieldError].
func (c PlanConfig) survey() (*terrain, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("firehose: plan: %w", err)
	}
	t := &terrain{cfg: c, units: make([]unit, 0, len(c.Resources))}
	quotas := map[string][]Quota{} // by origin
	for _, q := range c.Quotas {
		quotas[q.Origin] = append(quotas[q.Origin], q)
	}
	scopes := map[resource.Scope]int{}
	seen := make(map[resource.ID]int, len(c.Resources))
	for i := range c.Resources {
		if err := t.add(i, quotas, scopes, seen); err != nil {
			return nil, fmt.Errorf("firehose: plan: %w", err)
		}
	}
	return t, nil
}

// add enters one resource.
func (t *terrain) add(i int, quotas map[string][]Quota, scopes map[resource.Scope]int, seen map[resource.ID]int) error {
	spec, path := t.cfg.Resources[i], fmt.Sprintf("Resources[%d]", i)
	profile, ok := t.cfg.Profiles[spec.Profile]
	if !ok && spec.Profile != "" {
		return &FieldError{Field: path + ".Profile", Value: strconv.Quote(spec.Profile), Want: "the name of one of Profiles"}
	}
	origin, err := resource.Origin(spec.URI)
	if err != nil {
		return inField(path, err)
	}
	credential := profile.Credential
	if credential == "" && t.cfg.Tokens != nil {
		credential = t.cfg.Tokens.Credential(origin)
	}
	u := unit{}
	if u.r, err = resource.New(spec, credential); err != nil {
		return inField(path, err)
	}
	if j, twice := seen[u.r.ID]; twice {
		return &FieldError{Field: path, Value: strconv.Quote(u.r.URI), Want: fmt.Sprintf("a resource that is not listed already: it is the one of Resources[%d]", j)}
	}
	seen[u.r.ID] = i
	if t.cfg.Traits != nil {
		u.t = t.cfg.Traits(spec)
	}
	if err := u.t.normalize(); err != nil {
		return inField("Traits("+path+")", err)
	}
	n, known := scopes[u.r.Scope()]
	if !known {
		n = len(t.scopes)
		scopes[u.r.Scope()] = n
		t.scopes = append(t.scopes, newPlanScope(u.r.Scope()))
	}
	u.scope = n
	s := &t.scopes[n]
	s.configure(&profile)
	q := quotaFor(quotas[origin], &u.r)
	u.bucket = s.bucket(q)
	s.buckets[u.bucket].units = append(s.buckets[u.bucket].units, len(t.units))
	t.units = append(t.units, u)
	return nil
}

// newPlanScope is a scope of which no profile says anything.
func newPlanScope(key resource.Scope) planScope {
	s := planScope{key: key}
	for _, d := range resource.Dialects() { // those that are known by their origin
		if d.Detect != nil && d.Detect(key.Origin, nil) != "" {
			s.dialect, s.cap, s.spacing = d.Name, d.Concurrency, d.Limit.Spacing()
			break
		}
	}
	return s
}

// configure applies a profile as the registry does: where profiles of one scope
// differ, the strictest counts.
func (s *planScope) configure(p *resource.Profile) {
	if spacing := p.Limit.Spacing(); spacing > 0 && (!s.paced || spacing > s.spacing) {
		s.spacing, s.paced = spacing, true
	}
	s.reserve = max(s.reserve, p.Reserve)
	if d, err := resource.DialectNamed((&Config{}).dialects(), p.Dialect); p.Dialect != "" && err == nil {
		s.dialect = p.Dialect
		if !s.capped {
			s.cap = d.Concurrency
		}
		if !s.paced {
			s.spacing = d.Limit.Spacing()
		}
	}
	if p.Concurrency > 0 && (!s.capped || p.Concurrency < s.cap) {
		s.cap, s.capped = p.Concurrency, true
	}
}

// bucket is the index of the bucket of a quota, made on first use.
func (s *planScope) bucket(q Quota) int {
	i := slices.IndexFunc(s.buckets, func(b planBucket) bool { return b.name == q.Name && (b.quota.Requests > 0) == (q.Requests > 0) })
	if i < 0 {
		i = len(s.buckets)
		s.buckets = append(s.buckets, planBucket{name: q.Name, quota: q})
	}
	return i
}

func (s *planScope) keyOf(b *planBucket) resource.BucketKey {
	return resource.BucketKey{Scope: s.key, Name: b.name}
}

// quotaFor is the quota that a resource draws from: that of its credential
// before that of each, and of the longest path.
func quotaFor(all []Quota, r *resource.Resource) (best Quota) {
	path := "/"
	if u, err := url.Parse(r.URI); err == nil && u.Path != "" {
		path = u.Path
	}
	named := slices.ContainsFunc(all, func(q Quota) bool { return q.Credential == r.Credential })
	for _, q := range all {
		fits := q.Credential == r.Credential || !named && q.Credential == EachCredential && r.Credential != ""
		if fits && strings.HasPrefix(path, q.Path) && (best.Requests == 0 || cmp.Compare(len(q.Path), len(best.Path)) > 0) {
			best = q
		}
	}
	return best
}
