package resource

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

// decisions are one of each way in which the Analyzer's decision ends.
func decisions(now time.Time) []struct {
	name string
	r    Resource
	s    Snapshot
	want Decision
} {
	quota := Bucket{Answered: true, Known: true, Limit: 5000, Remaining: 4000, Reset: now.Add(time.Hour)}
	empty, scope := quota, Bucket{Answered: true, Cap: 1}
	empty.Remaining = 0
	due := Resource{Polls: 1, NotBefore: now.Add(-time.Second)}
	later := now.Add(time.Hour)
	return []struct {
		name string
		r    Resource
		s    Snapshot
		want Decision
	}{
		{"interval", Resource{State: WaitingForInterval, NotBefore: later}, Snapshot{}, Decision{Kind: At, State: WaitingForInterval, At: later}},
		{"ready", due, Snapshot{Scope: scope, Quota: quota}, Decision{Why: ReasonDue}},
		{"limit", due, Snapshot{Scope: scope, Quota: empty}, Decision{Kind: Line, State: WaitingForReset, At: later.Add(AfterReset), Why: ReasonPrimary}},
		{"parked", due, Snapshot{Scope: Bucket{Park: later, Why: ReasonSecondary}}, Decision{Kind: Line, State: WaitingForReset, At: later, Why: ReasonSecondary, Wide: true}},
		{"host", due, Snapshot{Host: Host{Trips: 1, Until: later}}, Decision{Kind: Line, State: WaitingForServerAlive, At: later, Why: ReasonBreaker, Wide: true}},
		{"claimed", Resource{Owner: Owner{1}, ClaimUntil: later}, Snapshot{}, Decision{Kind: At, State: HasOwner, At: later.Add(DefaultInterval), Why: ReasonClaimed}},
		{"paused", Resource{State: Paused}, Snapshot{}, Decision{Kind: At, State: Paused, At: now.Add(pausedFor), Why: ReasonPaused}},
		{"ended", Resource{State: Gone, Why: ReasonGone}, Snapshot{}, Decision{Kind: Fault, State: Gone, Why: ReasonGone}},
	}
}

func BenchmarkAnalyze(b *testing.B) {
	now := time.Now()
	for _, c := range decisions(now) {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Decide(&c.r, &c.s, now)
			}
		})
	}
}

// unchanged is a 304 of GitHub's events API with the headers that it sends.
func unchanged() *Answer {
	now := time.Now()
	return &Answer{
		Origin: GitHubOrigin, Status: http.StatusNotModified, Conditional: true, Sent: now.Add(-80 * time.Millisecond), Received: now,
		Header: header(
			"Date", now.UTC().Format(http.TimeFormat), "Cache-Control", "private, max-age=60, s-maxage=60",
			"Vary", "Accept, Authorization, Cookie, X-GitHub-OTP", "Etag", `W/"0f5e2b7c9d1a4e6f8b3c5d7e9f0a1b2c3d4e5f60718293a4b5c6d7e8f9010203"`,
			"Last-Modified", now.Add(-time.Minute).UTC().Format(http.TimeFormat), "X-Poll-Interval", "60",
			"X-Github-Media-Type", "github.v3; format=json", "X-Ratelimit-Limit", "5000", "X-Ratelimit-Remaining", "4987",
			"X-Ratelimit-Reset", "4000000000", "X-Ratelimit-Used", "13", "X-Ratelimit-Resource", "core",
			"X-Github-Request-Id", "A1B2:3C4D:5E6F", "Server", "github.com", "X-Content-Type-Options", "nosniff",
		),
	}
}

func BenchmarkParse(b *testing.B) {
	a := unchanged()
	reset := a.Received.Add(30 * time.Minute).Unix()
	a.Header.Set("X-Ratelimit-Reset", strconv.FormatInt(reset, 10))
	r := full()
	r.Hop, r.Moved, r.Seen, r.Hint = "", "", 0, Hint{}
	r.Validators.ETag = a.Header.Get("Etag")
	var p Parser
	if l := p.Lesson(a); !l.HasQuota {
		b.Fatalf("%+v", l)
	}
	b.ReportAllocs()
	for b.Loop() {
		l := p.Lesson(a)
		p.Apply(&r, a, &l)
	}
}

func BenchmarkEncode(b *testing.B) {
	r := polled()
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = r.AppendBinary(buf[:0])
	}
	b.ReportMetric(float64(len(buf)), "B")
}

func BenchmarkDecode(b *testing.B) {
	r := polled()
	text, _ := r.MarshalBinary()
	b.ReportAllocs()
	for b.Loop() {
		if err := r.UnmarshalBinary(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSettle(b *testing.B) {
	now := time.Now()
	bucket := Bucket{}
	l := quota(1<<40, now.Add(time.Hour))
	b.ReportAllocs()
	for b.Loop() {
		bucket.Take()
		bucket.Settle(l, now, now, false)
		l.Remaining--
	}
}

// polled is a resource as it usually is: polled for a while, nothing odd.
func polled() Resource {
	r := full()
	r.Owner, r.Claimed, r.ClaimUntil, r.Hop, r.Moved, r.Cause, r.Hint = Owner{}, time.Time{}, time.Time{}, "", "", "", Hint{}
	r.State, r.Why = WaitingForInterval, ReasonPollInterval
	return r
}

// Decoding makes one string for all texts, and deciding none.
func TestAllocations(t *testing.T) {
	r := polled()
	text, err := r.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _ = r.UnmarshalBinary(text) }); n > 1 {
		t.Errorf("decoding allocates %v times", n)
	}
	now := time.Now()
	for _, c := range decisions(now) {
		var d Decision
		if n := testing.AllocsPerRun(100, func() { d = Decide(&c.r, &c.s, now) }); n > 0 {
			t.Errorf("deciding %s allocates %v times", c.name, n)
		}
		if d != c.want {
			t.Errorf("deciding %s: %+v, not %+v", c.name, d, c.want)
		}
	}
	var p Parser
	a := unchanged()
	a.Header.Set("X-Ratelimit-Reset", strconv.FormatInt(a.Received.Add(sec).Unix(), 10))
	if n := testing.AllocsPerRun(100, func() { l := p.Lesson(a); p.Apply(&r, a, &l) }); n > 0 {
		t.Errorf("parsing a 304 of GitHub's allocates %v times", n)
	}
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { buf, _ = r.AppendBinary(buf[:0]) }); n > 0 {
		t.Errorf("encoding allocates %v times", n)
	}
}
