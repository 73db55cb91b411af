package firehosetest

import (
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// getAt asks another host.
func getAt(t *testing.T, o *Origin, url string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return send(o.RoundTripper(), req)
}

// Each dialect tells its limit in its own words.
func TestDialectHeaders(t *testing.T) {
	epoch := time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC) // an hour after bubbles begin
	unix := strconv.FormatInt(epoch.Unix(), 10)
	tests := map[Dialect]map[string]string{
		GitHub: {"X-Ratelimit-Limit": "9", "X-Ratelimit-Remaining": "8", "X-Ratelimit-Used": "1", "X-Ratelimit-Reset": unix,
			"X-Ratelimit-Resource": "core", "X-Poll-Interval": "60"},
		GitLab: {"Ratelimit-Limit": "9", "Ratelimit-Remaining": "8", "Ratelimit-Observed": "1", "Ratelimit-Reset": unix,
			"Ratelimit-Resettime": epoch.Format(http.TimeFormat), "Ratelimit-Name": "throttle_authenticated_api"},
		IETF:         {"Ratelimit-Policy": `"burst";q=5;w=30, "daily";q=9;w=3600`, "Ratelimit": `"burst";r=4;t=30, "daily";r=8;t=3600`},
		ThreeHeaders: {"Ratelimit-Limit": "9", "Ratelimit-Remaining": "8", "Ratelimit-Reset": "3600"},
		Discord: {"X-Ratelimit-Limit": "9", "X-Ratelimit-Remaining": "8", "X-Ratelimit-Reset": unix + ".000",
			"X-Ratelimit-Reset-After": "3600.000", "X-Ratelimit-Bucket": "0"},
		RetryAfterOnly:   {},
		CacheControlOnly: {},
	}
	for dialect, want := range tests {
		t.Run(dialect.String(), func(t *testing.T) {
			in(t, Config{Hosts: []Host{{Name: "own.test", Dialect: dialect, Limit: 9, Burst: 5, BurstWindow: 30 * time.Second}}, Latency: Instant}, func(t *testing.T, o *Origin) {
				a := getAt(t, o, "https://own.test"+path0, "Authorization", "token")
				require.Equal(t, 200, a.StatusCode)
				require.Equal(t, "private, max-age=60, s-maxage=60", a.Header.Get("Cache-Control"))
				got := map[string]string{}
				for name := range a.Header {
					if strings.Contains(name, "Ratelimit") || name == "X-Poll-Interval" {
						got[name] = a.Header.Get(name)
					}
				}
				if dialect == Discord {
					require.NotEmpty(t, got["X-Ratelimit-Bucket"])
					got["X-Ratelimit-Bucket"] = "0"
				}
				require.Equal(t, want, got)
				require.Equal(t, "60", get(t, o, path0).Header.Get("X-Poll-Interval"), "other hosts are GitHub's")
			})
		})
	}
}

// A client that knows no limit meets it, in each dialect, and one that heeds it
// does not break a rule.
func TestDialectRejections(t *testing.T) {
	tests := []struct {
		dialect Dialect
		typ     string
		text    string
		wrongs  map[string]int64
	}{
		{GitHub, "application/json; charset=utf-8", "API rate limit exceeded", map[string]int64{"overdraft": 1, "parked": 1}},
		{GitLab, "text/plain; charset=utf-8", "Retry later", map[string]int64{"overdraft": 1, "parked": 1}},
		{IETF, "application/problem+json", `"violated-policies":["burst","daily"]`, map[string]int64{"overdraft": 1, "parked": 1}},
		{ThreeHeaders, "text/plain; charset=utf-8", "Too Many", map[string]int64{"overdraft": 1, "parked": 1}},
		{Discord, "application/json", `"retry_after":3540.000`, map[string]int64{"overdraft": 1, "parked": 1}},
		{RetryAfterOnly, "text/plain; charset=utf-8", "Too Many", map[string]int64{"parked": 1}},
	}
	for _, test := range tests {
		t.Run(test.dialect.String(), func(t *testing.T) {
			in(t, Config{Dialect: test.dialect, Limit: 2, Burst: 2, BurstWindow: time.Hour, Timelines: 4, Latency: Instant}, func(t *testing.T, o *Origin) {
				ask := func(n int) answer {
					return get(t, o, "/timelines/"+strconv.Itoa(n)+"/events", "Authorization", "token")
				}
				ask(0)
				ask(1)
				requireWrongs(t, o.Verdict(), map[string]int64{})
				time.Sleep(time.Minute)
				a := ask(2)
				require.Equal(t, test.dialect == GitHub, a.StatusCode == 403)
				require.Equal(t, test.typ, a.Header.Get("Content-Type"))
				require.Contains(t, a.text, test.text)
				time.Sleep(time.Minute)
				ask(3)
				requireWrongs(t, o.Verdict(), test.wrongs)
				wait := time.Until(time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC))
				if test.dialect != GitHub {
					seconds, err := strconv.Atoi(a.Header.Get("Retry-After"))
					require.NoError(t, err)
					require.Equal(t, wait+time.Minute, time.Duration(seconds)*time.Second)
				}
				time.Sleep(wait)
				require.Equal(t, 200, ask(2).StatusCode)
				requireWrongs(t, o.Verdict(), test.wrongs)
			})
		})
	}
}

// The second policy binds while the first one has plenty (I-7).
func TestDialectBurst(t *testing.T) {
	in(t, Config{Dialect: IETF, Limit: 100, Burst: 2, BurstWindow: 30 * time.Second, Timelines: 9, Latency: Instant}, func(t *testing.T, o *Origin) {
		ask := func(n int) answer { return get(t, o, "/timelines/"+strconv.Itoa(n)+"/events") }
		ask(0)
		require.Contains(t, ask(1).Header.Get("RateLimit"), `"burst";r=0;t=30, "daily";r=98`)
		a := ask(2)
		require.Equal(t, 429, a.StatusCode)
		require.Equal(t, "30", a.Header.Get("Retry-After"))
		require.Contains(t, a.text, `["burst"]`)
		requireWrongs(t, o.Verdict(), map[string]int64{"overdraft": 1})
		time.Sleep(29 * time.Second)
		ask(3)
		requireWrongs(t, o.Verdict(), map[string]int64{"overdraft": 1, "parked": 1})
		time.Sleep(time.Second)
		require.Contains(t, ask(4).Header.Get("RateLimit"), `"burst";r=1;t=30, "daily";r=97`)
		requireWrongs(t, o.Verdict(), map[string]int64{"overdraft": 1, "parked": 1})
	})
}

// What is told by max-age alone is a duty too.
func TestDialectMaxAge(t *testing.T) {
	in(t, Config{Dialect: CacheControlOnly, Limit: 1, Latency: Instant, Hosts: []Host{{Name: "slow.test:8080", Dialect: GitLab, PollInterval: 5 * time.Minute}}}, func(t *testing.T, o *Origin) {
		tag := get(t, o, path0).Header.Get("ETag")
		time.Sleep(59 * time.Second)
		get(t, o, path0, "If-None-Match", tag)
		requireWrongs(t, o.Verdict(), map[string]int64{"early": 1})
		require.Contains(t, getAt(t, o, "http://slow.test:8080"+path0).Header.Get("Cache-Control"), "max-age=300")
		require.Contains(t, getAt(t, o, "http://slow.test"+path0).Header.Get("Cache-Control"), "max-age=60")
		require.Empty(t, o.Buckets()[0].Windows)
	})
	in(t, Config{Hosts: []Host{{Name: "bare.test", Dialect: GitLab}}}, func(t *testing.T, o *Origin) {
		require.NotEmpty(t, getAt(t, o, "http://bare.test:99"+path0).Header.Get("RateLimit-Reset"))
	})
}

// A 304 costs nothing at GitHub, and one elsewhere.
func TestDialectCost(t *testing.T) {
	for dialect, left := range map[Dialect]string{GitHub: "8", GitLab: "7"} {
		in(t, Config{Dialect: dialect, Rate: 1e-9, Limit: 9, Latency: Instant}, func(t *testing.T, o *Origin) {
			tag := get(t, o, path0, "Authorization", "token").Header.Get("ETag")
			a := get(t, o, path0, "Authorization", "token", "If-None-Match", tag)
			require.Equal(t, 304, a.StatusCode)
			require.Equal(t, left, a.Header.Get("X-RateLimit-Remaining")+a.Header.Get("RateLimit-Remaining"))
		})
	}
}

// The clock of one host is wrong, by a constant, in Date and reset alike (H-4).
func TestHostSkew(t *testing.T) {
	in(t, Config{Latency: Instant, Hosts: []Host{{Name: "late.test", Dialect: GitLab, Skew: -3 * time.Hour}}}, func(t *testing.T, o *Origin) {
		for url, skew := range map[string]time.Duration{"http://late.test": -3 * time.Hour, "http://right.test": 0} {
			a := getAt(t, o, url+path0)
			date, err := http.ParseTime(a.Header.Get("Date"))
			require.NoError(t, err)
			require.Equal(t, time.Now().UTC().Add(skew), date)
			reset, err := strconv.ParseInt(a.Header.Get("RateLimit-Reset")+a.Header.Get("X-RateLimit-Reset"), 10, 64)
			require.NoError(t, err)
			require.Equal(t, date.Add(time.Hour).Unix(), reset)
		}
	})
}

// Outages of each kind, of one host and of all.
func TestOutageKinds(t *testing.T) {
	in(t, Config{Latency: Instant, Outages: []Outage{{From: time.Hour, To: 2 * time.Hour}}, Hosts: []Host{{
		Name: "down.test", Limit: 1, Outages: []Outage{{To: time.Minute, Status: 503}, {From: time.Minute, To: 2 * time.Minute, Refused: true}},
	}}}, func(t *testing.T, o *Origin) {
		require.Equal(t, 503, getAt(t, o, "http://down.test"+path0).StatusCode)
		require.Equal(t, 200, get(t, o, path0).StatusCode)
		time.Sleep(time.Minute)
		require.ErrorIs(t, getAt(t, o, "http://down.test"+path0).err, syscall.ECONNREFUSED)
		time.Sleep(time.Minute)
		require.Equal(t, 200, getAt(t, o, "http://down.test"+path0).StatusCode, "what failed cost nothing")
		time.Sleep(time.Hour)
		require.ErrorIs(t, getAt(t, o, "http://down.test"+path0).err, syscall.ECONNRESET)
		require.ErrorIs(t, get(t, o, path0).err, syscall.ECONNRESET)
	})
}

// Secondary limits exist at other hosts too, without GitHub's words.
func TestSecondaryOfDialects(t *testing.T) {
	in(t, Config{Latency: Instant, Hosts: []Host{{Name: "strict.test", Dialect: GitLab, Secondary: 1}}}, func(t *testing.T, o *Origin) {
		a := getAt(t, o, "http://strict.test"+path0)
		require.Equal(t, 429, a.StatusCode)
		require.Equal(t, "60", a.Header.Get("Retry-After"))
		require.NotContains(t, a.text, "secondary")
		time.Sleep(59 * time.Second)
		getAt(t, o, "http://strict.test"+path0)
		requireWrongs(t, o.Verdict(), map[string]int64{"parked": 1})
		require.Equal(t, 200, get(t, o, path0).StatusCode)
	})
}

// A poll interval that rises and falls as time goes by (G-2).
func TestPollSteps(t *testing.T) {
	in(t, Config{Latency: Instant, PollSteps: []PollStep{{time.Hour, 2 * time.Minute}, {2 * time.Hour, 0}, {3 * time.Hour, 10 * time.Second}}}, func(t *testing.T, o *Origin) {
		for _, want := range []string{"60", "120", "", "10"} {
			require.Equal(t, want, get(t, o, "/events?at="+want).Header.Get("X-Poll-Interval"))
			time.Sleep(time.Hour)
		}
	})
}

// A token is replaced: the old one is refused, the new one goes on with the
// same quota and other validators (E-8, S-401).
func TestRotate(t *testing.T) {
	in(t, Config{Rate: 1e-9, Limit: 9, Latency: Instant, Timelines: 3}, func(t *testing.T, o *Origin) {
		old, renewed := "Bearer old", "Bearer new"
		tag := get(t, o, path0, "Authorization", old).Header.Get("ETag")
		o.Rotate(old, renewed, time.Now().Add(time.Minute))
		time.Sleep(time.Minute - 1)
		require.Equal(t, 200, get(t, o, "/timelines/1/events", "Authorization", old).StatusCode)
		time.Sleep(time.Second)
		refused := get(t, o, path0, "Authorization", old, "If-None-Match", tag)
		require.Equal(t, 401, refused.StatusCode)
		require.Empty(t, refused.Header.Get("X-RateLimit-Limit"))
		a := get(t, o, path0, "Authorization", renewed)
		require.Equal(t, 200, a.StatusCode, "at once, with another token, and without its validator")
		require.Equal(t, "6", a.Header.Get("X-RateLimit-Remaining"), "the quota is the user's")
		require.NotEqual(t, tag, a.Header.Get("ETag"))
		requireWrongs(t, o.Verdict(), map[string]int64{})

		get(t, o, "/timelines/2/events", "Authorization", old)
		require.Equal(t, map[string]int64{"stale_token": 1}, wrongs(o.Verdict()), "another resource, and the same token")
		time.Sleep(time.Hour)
		get(t, o, path0, "Authorization", renewed, "If-None-Match", tag)
		require.EqualValues(t, 1, o.Verdict().BadValidator, "the tag of another token")
		require.EqualValues(t, 2, o.Verdict().Impolite)
	})
}

// A client that knows nothing of a rotation yet breaks no rule by it.
func TestRotateInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := mustOrigin(t, Config{Timelines: 4})
		c := newPolite(o.RoundTripper(), o.Paths()...)
		c.token = "old"
		c.at(t, o.Paths()...)
		o.Rotate("Bearer old", "Bearer new", time.Now())
		time.Sleep(2 * time.Minute)
		c.at(t, o.Paths()...)
		requireWrongs(t, o.Verdict(), map[string]int64{})
		time.Sleep(2 * time.Minute)
		c.token = "new"
		for _, m := range c.polls {
			m.tag = ""
		}
		c.at(t, o.Paths()...)
		requireWrongs(t, o.Verdict(), map[string]int64{})
		require.EqualValues(t, 8, o.Verdict().Modified)
	})
}

func TestHostErrors(t *testing.T) {
	for want, h := range map[string]Host{
		`Hosts[0]: name ""`:               {},
		`Hosts[0]: name "A.test"`:         {Name: "A.test"},
		"Hosts[0]: dialect 99":            {Name: "a", Dialect: 99},
		"Hosts[0]: limit -1":              {Name: "a", Limit: -1},
		"Hosts[0]: burst -1":              {Name: "a", Burst: -1},
		"Hosts[0]: secondary 2":           {Name: "a", Secondary: 2},
		"Hosts[0]: -1s: must be whole":    {Name: "a", Window: -time.Second},
		"Hosts[0]: outages[0] status 404": {Name: "a", Outages: []Outage{{Status: 404}}},
		"Hosts[0]: outages[0] status 503": {Name: "a", Outages: []Outage{{Status: 503, Refused: true}}},
	} {
		_, err := New(Config{Hosts: []Host{h}})
		require.ErrorContains(t, err, "firehosetest: config: "+want)
	}
	for want, cfg := range map[string]Config{
		"Dialect -1":            {Dialect: -1},
		"Hosts[1]: name \"a\"":  {Hosts: []Host{{Name: "a"}, {Name: "a"}}},
		"PastLast 500":          {PastLast: 500},
		"ReplayFrom -1ns":       {ReplayFrom: -1},
		"ShiftOnPage 301":       {ShiftOnPage: 301},
		"PollSteps[1].After 0s": {PollSteps: []PollStep{{After: 1}, {}}},
		"PollSteps[0].Interval": {PollSteps: []PollStep{{Interval: 1}}},
		"Hosts: 10001 of them":  {Hosts: make([]Host, 10_001)},
	} {
		_, err := New(cfg)
		require.ErrorContains(t, err, "firehosetest: config: "+want)
	}
}

func TestDialectNames(t *testing.T) {
	for d := range dialects {
		got, err := DialectNamed(d.String())
		require.NoError(t, err)
		require.Equal(t, d, got)
	}
	_, err := DialectNamed("klingon")
	require.ErrorIs(t, err, errDialect)
	require.Equal(t, "dialect 99", Dialect(99).String())
}

// What only a lost answer told of the second policy is unknowable.
func TestDialectBurstLost(t *testing.T) {
	in(t, Config{Dialect: IETF, Burst: 2, BurstWindow: time.Hour, Timelines: 3, Latency: Instant}, func(t *testing.T, o *Origin) {
		require.NoError(t, o.Script(path0, Step{Kind: Truncate}))
		require.Error(t, get(t, o, path0).err)
		o.Killed(time.Now())
		require.Equal(t, 200, get(t, o, "/timelines/1/events").StatusCode)
		requireWrongs(t, o.Verdict(), map[string]int64{})
		o.Killed(time.Now()) // it never read that nothing is left
		require.Equal(t, 429, get(t, o, "/timelines/2/events").StatusCode)
		requireWrongs(t, o.Verdict(), map[string]int64{"unknowable": 1})
	})
}
