package firehosetest

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const path0 = "/timelines/0/events"

// rude is what an impolite client does, inside a bubble. Each of them is
// polite but for one thing.
type rude struct {
	t *testing.T
	o *Origin
	c *polite
}

func (r rude) poll(path string) answer {
	r.t.Helper()
	a := r.c.poll(r.t.Context(), path)
	require.NoError(r.t, a.err)
	return a
}

// wait is until the path may be polled.
func (r rude) wait(path string) {
	_, due := r.c.earliest()
	if own := r.c.polls[path].due; own.After(due) {
		due = own
	}
	time.Sleep(time.Until(due))
}

func (r rude) script(path string, steps ...Step) { require.NoError(r.t, r.o.Script(path, steps...)) }

// Each impolite client raises exactly its counter, at the origin and at a
// Watcher in the client's own process.
func TestImpoliteClients(t *testing.T) {
	tests := []struct {
		name  string
		cfg   Config
		do    func(r rude)
		want  map[string]int64
		watch map[string]int64 // if the Watcher can't know as much
	}{
		{name: "G-1 early by a millisecond", do: func(r rude) {
			r.poll(path0)
			time.Sleep(time.Minute - 40*time.Millisecond)
			r.poll(path0)
		}, want: map[string]int64{"early": 1}},
		{name: "G-1 early after 304", cfg: Config{Rate: 1e-9}, do: func(r rude) {
			r.poll(path0)
			r.wait(path0)
			require.Equal(r.t, 304, r.poll(path0).StatusCode)
			time.Sleep(30 * time.Second)
			r.poll(path0)
		}, want: map[string]int64{"early": 1}},
		{name: "G-2 ignoring a longer interval", cfg: Config{PollInterval: 10 * time.Second}, do: func(r rude) {
			r.poll(path0)
			r.wait(path0)
			require.NoError(r.t, r.o.SetPollInterval(time.Minute))
			r.poll(path0)
			time.Sleep(11 * time.Second)
			r.poll(path0)
		}, want: map[string]int64{"early": 1}},
		{name: "S-503 ignoring Retry-After", do: func(r rude) {
			r.script(path0, Step{Kind: Status, Status: 503, RetryAfter: 300 * time.Second})
			r.poll(path0)
			time.Sleep(299 * time.Second)
			r.poll(path0)
		}, want: map[string]int64{"early": 1}},
		{name: "H-4 ignoring a Retry-After date of a skewed clock", cfg: Config{Skew: -time.Hour - time.Second/2}, do: func(r rude) {
			r.script(path0, Step{Kind: Status, Status: 503, RetryAfter: 300 * time.Second, Form: RetryDate})
			a := r.poll(path0)
			date, err := http.ParseTime(a.Header.Get("Retry-After"))
			require.NoError(r.t, err)
			require.True(r.t, date.Before(time.Now()), "by the client's own clock it is over")
			time.Sleep(10 * time.Second)
			r.poll(path0)
		}, want: map[string]int64{"early": 1}},
		{name: "H-4 ignoring a secondary limit by date", do: func(r rude) {
			r.script(path0, Step{Kind: Secondary, RetryAfter: 120 * time.Second, Form: RetryANSI})
			require.Equal(r.t, 403, r.poll(path0).StatusCode)
			time.Sleep(100 * time.Second)
			r.poll(path0)
		}, want: map[string]int64{"parked": 1}},
		{name: "G-16 another resource while parked", cfg: Config{Timelines: 2}, do: func(r rude) {
			r.script(path0, Step{Kind: Secondary})
			r.poll(path0)
			time.Sleep(59 * time.Second)
			r.poll("/timelines/1/events")
		}, want: map[string]int64{"parked": 1}},
		{name: "G-13 a minute without Retry-After", do: func(r rude) {
			r.script(path0, Step{Kind: Secondary, Form: RetryNone})
			require.Empty(r.t, r.poll(path0).Header.Get("Retry-After"))
			time.Sleep(59 * time.Second)
			r.poll(path0)
		}, want: map[string]int64{"parked": 1}},
		{name: "G-16 a hot loop while parked", do: func(r rude) {
			r.script(path0, Step{Kind: Secondary})
			for range 11 {
				r.poll(path0)
			}
		}, want: map[string]int64{"parked": 10}},
		{name: "G-12 parked by exhaustion", cfg: Config{Limit: 3, Timelines: 9}, do: func(r rude) {
			// Five at once before anything is known of the window: two too many,
			// which none of them could know. The sixth could.
			r.c.at(r.t, "/timelines/1/events", "/timelines/2/events", "/timelines/3/events", "/timelines/4/events", "/timelines/5/events")
			time.Sleep(time.Minute)
			r.poll("/timelines/1/events")
		}, want: map[string]int64{"parked": 1}},
		{name: "G-7 overdraft", cfg: Config{Limit: 2, Timelines: 3}, do: func(r rude) {
			r.poll(path0)
			require.Equal(r.t, "0", r.poll("/timelines/1/events").Header.Get("X-RateLimit-Remaining"))
			time.Sleep(time.Minute)
			require.Equal(r.t, 403, r.poll(path0).StatusCode)
		}, want: map[string]int64{"overdraft": 1}},
		{name: "D-2 overdraft by a pool that does not reserve", cfg: Config{Limit: 2, Timelines: 4}, do: func(r rude) {
			r.poll(path0)
			r.c.at(r.t, "/timelines/1/events", "/timelines/2/events", "/timelines/3/events")
		}, want: map[string]int64{"overdraft": 2}, watch: map[string]int64{}},
		{name: "D-4 a pool that races", do: func(r rude) { r.c.at(r.t, path0, path0) },
			want: map[string]int64{"overlap": 1}},
		{name: "G-11 above the cap", cfg: Config{Concurrency: 1, Timelines: 3}, do: func(r rude) {
			r.c.at(r.t, r.o.Paths()...)
		}, want: map[string]int64{"concurrency": 2}, watch: map[string]int64{}},
		{name: "G-10 above 100", cfg: Config{Timelines: 101, Faults: []Fault{{1, Step{Kind: Slow}}}}, do: func(r rude) {
			r.c.at(r.t, r.o.Paths()...)
		}, want: map[string]int64{"concurrency": 1}},
		{name: "G-4 stripped quotes", do: func(r rude) {
			r.poll(path0)
			r.wait(path0)
			m := r.c.polls[path0]
			m.tag = strings.Trim(strings.TrimPrefix(m.tag, "W/"), `"`)
			require.Equal(r.t, 200, r.poll(path0).StatusCode)
		}, want: map[string]int64{"bad_validator": 1}},
		{name: "G-4 stripped W/", do: func(r rude) {
			r.poll(path0)
			r.wait(path0)
			m := r.c.polls[path0]
			m.tag = strings.TrimPrefix(m.tag, "W/")
			r.poll(path0)
		}, want: map[string]int64{"bad_validator": 1}},
		{name: "H-5 changed case", do: func(r rude) {
			r.poll(path0)
			r.wait(path0)
			m := r.c.polls[path0]
			m.tag = `W/` + strings.ToUpper(m.tag[2:])
			r.poll(path0)
		}, want: map[string]int64{"bad_validator": 1}},
		{name: "E-8 the validator of another resource", cfg: Config{Timelines: 2}, do: func(r rude) {
			r.poll(path0)
			r.poll("/timelines/1/events")
			r.wait(path0)
			r.c.polls[path0].tag = r.c.polls["/timelines/1/events"].tag
			r.poll(path0)
		}, want: map[string]int64{"bad_validator": 1}},
		{name: "H-6 unconditional", do: func(r rude) {
			r.poll(path0)
			r.wait(path0)
			r.c.polls[path0].tag = ""
			r.poll(path0)
		}, want: map[string]int64{"unconditional": 1}},
		{name: "E-6 unconditional on page two", do: func(r rude) {
			r.c.pages = true
			r.poll(path0)
			r.wait(path0)
			r.c.polls[path0+"?page=2"].tag = ""
			r.poll(path0)
		}, want: map[string]int64{"unconditional": 1}},
		{name: "DESIGN asking again after a restart", do: func(r rude) {
			r.poll(path0)
			time.Sleep(10 * time.Second)
			r.o.Killed(time.Now())
			r.poll(path0) // its validators survived, its deadline did not
		}, want: map[string]int64{"early": 1}},
		{name: "DESIGN a restart that forgets parks", do: func(r rude) {
			r.script(path0, Step{Kind: Secondary})
			r.poll(path0)
			time.Sleep(10 * time.Second)
			r.o.Killed(time.Now())
			r.poll(path0)
		}, want: map[string]int64{"parked": 1}},
		{name: "DESIGN a restart that forgets validators", do: func(r rude) {
			r.poll(path0)
			time.Sleep(10 * time.Second)
			r.o.Killed(time.Now())
			time.Sleep(time.Hour)
			r.c.polls[path0].tag = ""
			r.poll(path0)
		}, want: map[string]int64{"unconditional": 1}},
		{name: "G-18 following a redirect with credentials", do: func(r rude) {
			r.script(path0, Step{Kind: Redirect, Location: Elsewhere})
			a := r.poll(path0)
			to, err := a.Location()
			require.NoError(r.t, err)
			require.Equal(r.t, "elsewhere.invalid", to.Host)
			req := r.c.request(r.t.Context(), path0)
			req.URL, req.Host = to, ""
			require.Equal(r.t, 200, send(r.c.rt, req).StatusCode)
		}, want: map[string]int64{"credential_leak": 1}},
		{name: "S-backoff a hot loop after a reset", do: func(r rude) {
			r.script(path0, Step{Kind: Reset, Times: 3})
			for range 3 {
				require.Error(r.t, r.c.poll(r.t.Context(), path0).err)
				time.Sleep(time.Second / 2)
			}
		}, want: map[string]int64{"early": 2}},
		{name: "G-15 a hot loop when forbidden", do: func(r rude) {
			r.script(path0, Step{Kind: Status, Status: 403, Times: 3})
			for range 3 {
				r.poll(path0)
			}
		}, want: map[string]int64{"early": 2}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := mustOrigin(t, test.cfg)
				w := Watch(o.RoundTripper())
				c := newPolite(w, o.Paths()...)
				c.token = "secret"
				test.do(rude{t, o, c})
				requireWrongs(t, o.Verdict(), test.want)
				if test.watch == nil {
					test.watch = test.want
				}
				requireWrongs(t, w.Verdict(), test.watch)
			})
		})
	}
}

// at sends to all paths at the same time and waits for all answers.
func (c *polite) at(t *testing.T, paths ...string) {
	var wg sync.WaitGroup
	answers := make([]answer, len(paths))
	for i, p := range paths {
		req := c.request(t.Context(), p)
		wg.Go(func() { answers[i] = send(c.rt, req) })
	}
	wg.Wait()
	for i, p := range paths {
		c.learn(p, answers[i])
	}
}

// An idle client passes no rule of time, and no test of diligence.
func TestIdleness(t *testing.T) {
	tests := []struct {
		name  string
		cfg   Config
		poll  func(ctx context.Context, c *polite)
		ratio float64 // polls to permitted, at most
	}{
		{name: "every second time", poll: func(ctx context.Context, c *polite) {
			for sleep(ctx, time.Until(c.polls[path0].due)+time.Minute) {
				c.poll(ctx, path0)
			}
		}, ratio: 0.52},
		{name: "once", poll: func(ctx context.Context, c *polite) { c.poll(ctx, path0); <-ctx.Done() }, ratio: 0.01},
		{name: "starving all but one", cfg: Config{Timelines: 10}, poll: func(ctx context.Context, c *polite) {
			for p := range c.polls {
				c.poll(ctx, p)
			}
			for sleep(ctx, time.Until(c.polls[path0].due)) {
				c.poll(ctx, path0)
			}
		}, ratio: 0.12},
		{name: "never again after a park", cfg: Config{Faults: []Fault{{1, Step{Kind: Secondary}}}, Latency: Instant}, poll: func(ctx context.Context, c *polite) {
			c.poll(ctx, path0)
			<-ctx.Done()
		}, ratio: 0.01},
		{name: "never again after a failure", cfg: Config{Faults: []Fault{{1, Step{Kind: Status, Status: 500}}}}, poll: func(ctx context.Context, c *polite) {
			c.poll(ctx, path0)
			<-ctx.Done()
		}, ratio: 0.01},
		{name: "leaving half of the budget", cfg: Config{Timelines: 100, Limit: 100}, poll: func(ctx context.Context, c *polite) {
			for n := 0; sleep(ctx, 72*time.Second); n++ {
				c.poll(ctx, "/timelines/"+itoa(int64(n%100))+"/events")
			}
		}, ratio: 0.55},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := mustOrigin(t, test.cfg)
				c := newPolite(o.RoundTripper(), o.Paths()...)
				ctx, cancel := context.WithTimeout(t.Context(), 12*time.Hour)
				defer cancel()
				test.poll(ctx, c)
				v := o.Verdict()
				t.Logf("%+v", v)
				requireWrongs(t, v, map[string]int64{})
				require.Less(t, float64(v.Polls), test.ratio*float64(v.Permitted))
			})
		})
	}
}
