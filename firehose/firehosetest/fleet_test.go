package firehosetest

import (
	"container/heap"
	"flag"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// fleet is a reference client of many resources, credentials and dialects: one
// line per credential, in the order in which its resources became due.
type fleet struct {
	t        *testing.T
	o        *Origin
	w        *Watcher
	accounts []*account
	due      fleetQueue
	likes    func(p *polled) bool // the first such of a line goes first; nil: the first
	reserve  int                  // left of each quota
}

// account is one credential at one host.
type account struct {
	url, token, renewed string
	quotas              map[string]*fleetQuota
	park                time.Time
	line                []*polled
}

type fleetQuota struct {
	remaining int
	reset     time.Time
}

// polled is one resource.
type polled struct {
	account *account
	path    string
	tag     string
	token   string // to which the tag belongs
	due     time.Time
	wait    time.Duration
	fails   int
}

type fleetQueue []*polled

func (q fleetQueue) Len() int           { return len(q) }
func (q fleetQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q fleetQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *fleetQueue) Push(x any)        { *q = append(*q, x.(*polled)) }
func (q *fleetQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

// newFleet spreads the origin's timelines over credentials, and these over the
// hosts.
func newFleet(t *testing.T, o *Origin, credentials int, hosts ...string) *fleet {
	f := &fleet{t: t, o: o, w: Watch(o.RoundTripper())}
	for i := range credentials {
		f.accounts = append(f.accounts, &account{
			url: "https://" + hosts[i%len(hosts)], token: fmt.Sprintf("Bearer %d", i), quotas: map[string]*fleetQuota{},
		})
	}
	for i, path := range o.Paths() {
		f.due = append(f.due, &polled{account: f.accounts[i%credentials], path: path, due: time.Now(), wait: time.Minute})
	}
	heap.Init(&f.due)
	return f
}

// run polls for so long, at every tick.
func (f *fleet) run(length time.Duration) {
	for end := time.Now().Add(length); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		now := time.Now()
		for len(f.due) > 0 && !f.due[0].due.After(now) {
			p := heap.Pop(&f.due).(*polled)
			p.account.line = append(p.account.line, p)
		}
		for _, a := range f.accounts {
			for len(a.line) > 0 && a.open(now, f.reserve) {
				n := 0
				for f.likes != nil && n < len(a.line) && !f.likes(a.line[n]) {
					n++
				}
				if n == len(a.line) {
					break
				}
				p := a.line[n]
				a.line = append(a.line[:n:n], a.line[n+1:]...)
				f.poll(p)
				heap.Push(&f.due, p)
			}
		}
	}
}

func (a *account) open(now time.Time, reserve int) bool {
	for _, q := range a.quotas {
		if q.remaining <= reserve && now.Before(q.reset) {
			return false
		}
	}
	return !now.Before(a.park)
}

func (f *fleet) poll(p *polled) {
	a := p.account
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, a.url+p.path, nil)
	require.NoError(f.t, err)
	req.Header.Set("Authorization", a.token)
	if p.tag != "" && p.token == a.token {
		req.Header.Set("If-None-Match", p.tag)
	}
	got := send(f.w, req)
	if got.err != nil {
		p.fail(time.Now())
		return
	}
	a.learn(got)
	p.learn(got)
}

func (p *polled) fail(now time.Time) {
	p.due = now.Add(max(min(time.Second<<p.fails, 30*time.Second), 5*time.Second))
	p.fails++
}

// learn takes over what an answer says of its resource.
func (p *polled) learn(got answer) {
	if n, err := strconv.Atoi(got.Header.Get("X-Poll-Interval")); err == nil {
		p.wait = time.Duration(n) * time.Second
	} else if age := maxAge(got.Header); age > 0 {
		p.wait = age
	}
	switch got.StatusCode {
	case 200, 304:
		p.tag, p.token, p.fails = got.Header.Get("ETag"), got.Request.Header.Get("Authorization"), 0
		p.due = got.received.Add(p.wait)
	case 401:
		p.account.token, p.due = p.account.renewed, got.received
	case 403, 429:
		p.due = got.received
	default:
		p.fail(got.received)
	}
}

// learn takes over what an answer says of its limits, in any dialect.
func (a *account) learn(got answer) {
	h := got.Header
	date, _ := http.ParseTime(h.Get("Date"))
	set := func(name, remaining string, wait time.Duration) {
		if n, err := strconv.Atoi(remaining); err == nil {
			a.quotas[name] = &fleetQuota{n, got.received.Add(wait)}
		}
	}
	since := func(epoch string) time.Duration {
		n, _ := strconv.ParseInt(epoch, 10, 64)
		return time.Unix(n, 0).Sub(date)
	}
	delta := func(seconds string) time.Duration {
		d, _ := time.ParseDuration(seconds + "s")
		return d
	}
	switch {
	case h.Get("X-Ratelimit-Reset-After") != "":
		set("main", h.Get("X-Ratelimit-Remaining"), delta(h.Get("X-Ratelimit-Reset-After")))
	case h.Get("X-Ratelimit-Reset") != "":
		set("main", h.Get("X-Ratelimit-Remaining"), since(h.Get("X-Ratelimit-Reset")))
	case h.Get("Ratelimit-Resettime") != "":
		set("main", h.Get("Ratelimit-Remaining"), since(h.Get("Ratelimit-Reset")))
	case h.Get("Ratelimit-Reset") != "":
		set("main", h.Get("Ratelimit-Remaining"), delta(h.Get("Ratelimit-Reset")))
	}
	for part := range strings.SplitSeq(h.Get("Ratelimit"), ", ") {
		if fields := strings.Split(part, ";"); len(fields) == 3 {
			set(fields[0], strings.TrimPrefix(fields[1], "r="), delta(strings.TrimPrefix(fields[2], "t=")))
		}
	}
	if n, err := strconv.Atoi(h.Get("Retry-After")); err == nil {
		a.park = got.received.Add(time.Duration(n) * time.Second)
	}
	if got.StatusCode == 401 { // the token's next answer says what holds
		a.token = a.renewed
	}
}

// rotate replaces the tokens of some accounts.
func (f *fleet) rotate(which func(i int) bool) {
	for i, a := range f.accounts {
		if which(i) {
			a.renewed = a.token + "'"
			f.o.Rotate(a.token, a.renewed, time.Now())
		}
	}
}

var fleetResources = flag.Int("fleet.resources", 2000, "resources of the fleet")

// Forty credentials, seven dialects, many resources, an hour: a polite client
// breaks no rule whatever happens, uses what it may, and lets nobody starve.
func TestFleet(t *testing.T) {
	resources := *fleetResources
	synctest.Test(t, func(t *testing.T) {
		skew := func(d time.Duration, out ...Outage) (h Host) { return Host{Skew: d, Outages: out} }
		hosts := []Host{
			GitHub: skew(90*time.Minute, Outage{From: 20 * time.Minute, To: 25 * time.Minute, Status: 502}),
			GitLab: skew(-3 * time.Hour), IETF: skew(0, Outage{From: 10 * time.Minute, To: 12 * time.Minute, Refused: true}),
			ThreeHeaders: {}, Discord: {}, RetryAfterOnly: {}, CacheControlOnly: {PollInterval: 10 * time.Minute},
		}
		var names []string
		for d := range hosts {
			hosts[d].Name, hosts[d].Dialect = Dialect(d).String()+".test", Dialect(d)
			names = append(names, hosts[d].Name)
		}
		hosts[GitHub].Secondary = 1e-4
		limit := resources / 10 // of each credential in twenty minutes, while a minute wants resources/40
		o := mustOrigin(t, Config{
			Seed: 1, Timelines: resources, Rate: 0.05, Limit: limit, Window: 20 * time.Minute, Burst: limit / 10, Hosts: hosts, Latency: Instant,
			Faults: []Fault{{0.002, Step{Kind: Status, Status: 500}}, {0.001, Step{Kind: Reset}}},
		})
		f := newFleet(t, o, 40, names...)
		began := time.Now()
		f.run(30 * time.Minute)
		f.rotate(func(i int) bool { return i%3 == 0 })
		f.run(51*time.Minute - time.Since(began))
		v := o.Verdict()
		t.Logf("%+v", v)
		requireWrongs(t, v, map[string]int64{})
		require.EqualValues(t, resources, v.Resources)
		require.Zero(t, f.w.Verdict().Impolite, "what a Watcher does not know it does not count: %+v", f.w.Verdict())
		saturated := 0
		for i, a := range f.accounts {
			figures := o.Buckets(a.token)
			require.Len(t, figures, 1)
			b := figures[0]
			require.Len(t, b.Resources, resources/40, i)
			share, windows := b.Share(0)
			longest, median := b.Waits(nil)
			t.Logf("%s: share %.4f of %d windows, waits %v, median %v", b.Origin, share, windows, longest, median)
			if windows > 0 {
				saturated++
				require.Greater(t, share, 0.98)
				require.LessOrEqual(t, longest, 2*median)
			}
		}
		require.Greater(t, saturated, 20)
	})
}
