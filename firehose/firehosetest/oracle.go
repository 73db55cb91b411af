package firehosetest

import (
	"crypto/rand"
	"crypto/sha256"
	"hash/maphash"
	"math"
	"time"
)

// instant is a point on an oracle's clock, in nanoseconds; the oracle is born
// at one second. Zero means that it never happened. It is eight bytes and
// monotonic, so that a step of the wall clock judges nobody.
type instant int64

// never is an instant that does not come.
const never = instant(math.MaxInt64)

func (i instant) add(d time.Duration) instant {
	if i > never-instant(d) {
		return never
	}
	return i + instant(d)
}

func (i instant) since(earlier instant) time.Duration { return time.Duration(i - earlier) }

// credential is a keyed hash of the value of Authorization.
type credential [16]byte

type scopeKey struct {
	origin string
	cred   credential
}

// oracle judges requests against what their client had been told. It has no
// lock: its owner, an Origin or a Watcher, holds its own.
type oracle struct {
	birth time.Time
	key   [32]byte // of credentials
	seed  maphash.Seed

	cap     int           // requests in flight per scope
	backoff time.Duration // after a failure
	settle  time.Duration // before an answer is known on other sockets
	unread  time.Duration // before a kill
	max     int           // resources
	blind   bool          // sees only what clients are told, not the true budget
	slack   time.Duration // of told resets

	origins map[string]*origin
	scopes  map[scopeKey]*scope
	homes   map[credential]string // where each was first used
	size    int                   // resources in scopes

	counts    Verdict
	late      histogram
	permitted int64 // polls that broke no rule of time
	inFlight  int
	flights   map[*flight]struct{}
	kill      hold
	wishes    map[string]time.Duration // by target, see Origin.Expect
	hops      map[hopKey]*hop

	outages []outage // of all origins
	kills   []outage // from one until the next request
	spans   []outage // scratch of darkness
}

// origin is one scheme, host and port.
type origin struct {
	name   string
	scopes []*scope
	down   hold // failures of any scope, until a success

	outages []outage
}

// scope is one credential at one origin.
type scope struct {
	origin    *origin
	cred      credential
	resources map[resourceKey]*resource
	buckets   []*bucket
	inFlight  int
	park      park // by secondary limits
	held      hold
	redirects map[string]struct{} // origins to which it was redirected
	secondary secondary
	dark      []outage // by secondary limits
}

// bucket is one quota of a scope.
type bucket struct {
	scope *scope
	name  string
	park  park // by rejections
	held  hold
	quota
	burst *quota // second policy of the IETF dialect; nil: none
	pace  pace

	windows []WindowFigures
}

// windowFact is the reset of a window and when it was first told.
type windowFact struct{ reset, at instant }

// learn takes over a newer window. Resets that differ by less than the slack
// are the same one.
func (f *windowFact) learn(reset, now instant, slack time.Duration) {
	if reset > f.reset.add(slack) {
		*f = windowFact{reset, now}
	}
}

type resourceKey struct {
	target string // path and query without page
	page   int
}

// resource is page one of a resource, or a child.
type resource struct {
	scope    *scope
	bucket   *bucket
	key      resourceKey
	requests uint64
	inFlight int // of living clients
	dead     int // of killed ones

	known facts   // what its client was told for sure
	last  facts   // by the last answer
	fate  fate    // of the last answer
	from  *flight // which the last answer ended

	due  dueness
	tags tagMemory
}

// fate says what became of an answer.
type fate int

const (
	noAnswer    fate = iota
	complete         // its last byte was handed over
	partial          // it arrived, and its client closed the body: complete, without validators
	cutByOrigin      // a living client saw it fail
	cutByClient      // the client went away or cancelled
	unread           // the client was killed
)

// facts are what one answer told of its resource.
type facts struct {
	at    instant // when it was told
	next  instant // no poll before
	floor instant // no request before, after a failure
	park  instant // no request before, by a limit
	fresh bool    // it was a 200 or 304: it says which validators hold
	tag   bool    // it gave an ETag
	vary  uint64  // for this Accept
}

// merge takes over what a complete answer told.
func (f *facts) merge(later facts) {
	if later.next != 0 {
		f.next = later.next
	}
	f.floor, f.park = later.floor, later.park
	if later.fresh {
		f.tag, f.vary = later.tag, later.vary
	}
}

// park is a span in which nothing may be sent.
type park struct {
	until, told instant // as told by complete answers
	lost        instant // as told by answers that did not arrive
}

func newOracle() *oracle {
	o := &oracle{
		birth:   time.Now(),
		seed:    maphash.MakeSeed(),
		origins: map[string]*origin{},
		scopes:  map[scopeKey]*scope{},
		homes:   map[credential]string{},
		flights: map[*flight]struct{}{},
		wishes:  map[string]time.Duration{},
		hops:    map[hopKey]*hop{},
	}
	_, _ = rand.Read(o.key[:]) // never fails, by its contract
	return o
}

func (o *oracle) now() instant { return o.at(time.Now()) }

func (o *oracle) at(t time.Time) instant { return instant(t.Sub(o.birth) + time.Second) }

// wall is the inverse of at.
func (o *oracle) wall(i instant) time.Time { return o.birth.Add(time.Duration(i) - time.Second) }

func (o *oracle) credential(authorization string) credential {
	if authorization == "" {
		return credential{}
	}
	sum := sha256.Sum256(append(o.key[:len(o.key):len(o.key)], authorization...))
	return credential(sum[:16])
}

// find returns the resource that a request is for, made if need be, or nil
// when there are too many.
func (o *oracle) find(where string, cred credential, key resourceKey, bucketName string) *resource {
	sk := scopeKey{where, cred}
	s := o.scopes[sk]
	if s != nil {
		if r := s.resources[key]; r != nil {
			return r
		}
	}
	if o.size >= o.max {
		return nil
	}
	o.size++
	if s == nil {
		s = o.newScope(sk)
	}
	r := &resource{scope: s, bucket: s.bucket(bucketName, o.now()), key: key, due: dueness{slot: -1}}
	s.resources[key] = r
	return r
}

func (o *oracle) newScope(key scopeKey) *scope {
	g := o.origins[key.origin]
	if g == nil {
		g = &origin{name: key.origin}
		o.origins[key.origin] = g
	}
	s := &scope{origin: g, cred: key.cred, resources: map[resourceKey]*resource{}}
	g.scopes = append(g.scopes, s)
	o.scopes[key] = s
	if _, known := o.homes[key.cred]; !known {
		o.homes[key.cred] = key.origin
	}
	return s
}

// bucket returns the bucket of that name, made if need be. Names that come
// from answers are bounded by the resources that asked.
func (s *scope) bucket(name string, now instant) *bucket {
	for _, b := range s.buckets {
		if b.name == name {
			return b
		}
	}
	b := &bucket{scope: s, name: name, pace: pace{at: now, begun: now}}
	s.buckets = append(s.buckets, b)
	return b
}
