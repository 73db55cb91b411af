package resource

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"120", "1.5", "-1", "", "99999999999999999999", "1743500000", "Fri, 31 Dec 1999 23:59:59 GMT", "Sunday, 06-Nov-94 08:49:37 GMT"} {
		f.Add(s, int64(0))
	}
	f.Fuzz(func(t *testing.T, value string, skew int64) {
		server := at(time.Duration(skew))
		until, odd, ok := RetryAfter(value, at(0), server)
		if !ok {
			require.True(t, until.IsZero() && odd == "")
			return
		}
		wait := until.Sub(at(0))
		require.True(t, wait >= 0 && wait <= farFuture, wait)
		if seconds, err := strconv.ParseFloat(strings.Trim(value, " \t"), 64); err == nil && odd == "" {
			require.GreaterOrEqual(t, wait.Seconds(), math.Min(seconds, farFuture.Seconds()))
			require.LessOrEqual(t, wait.Seconds(), seconds+1)
		}
	})
}

func FuzzHTTPDate(f *testing.F) {
	for _, s := range []string{"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sunday, 06-Nov-94 08:49:37 PST", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		date, ok := HTTPDate(s)
		if !ok {
			require.True(t, date.IsZero())
			return
		}
		require.Equal(t, time.UTC, date.Location())
		again, ok := HTTPDate(date.Format(http.TimeFormat))
		require.True(t, ok)
		require.Equal(t, date.Truncate(time.Second), again)
	})
}

func FuzzCacheControl(f *testing.F) {
	for _, s := range []string{"max-age=60", "private, max-age=60, s-maxage=5", `a="b, max-age=3", max-age="4"`, "no-store", "max-age=99999999999999999999", `"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c := parseCacheControl([]string{line})
		require.True(t, c.maxAge >= 0 && c.maxAge <= (1<<31)*time.Second)
		require.True(t, c.hasMaxAge || c.maxAge == 0)
		less := parseCacheControl([]string{"max-age=1", line, "no-store"})
		require.True(t, less.hasMaxAge && less.noStore && less.maxAge <= time.Second, "more lines only restrict")
	})
}

func FuzzAnswer(f *testing.F) {
	add := func(status int, jitter float64, lines ...string) {
		f.Add(status, int64(-100*time.Millisecond), int64(time.Second), jitter, true, strings.Join(lines, "\n"), "secondary rate limit")
	}
	reset := "X-Ratelimit-Reset: " + unix(1000*sec)
	add(200, 0.5, "Etag: W/\"7a3f\"", "X-Poll-Interval: 60", "Cache-Control: private, max-age=60, s-maxage=60", "Date: "+httpDate(0))
	add(304, 0.1, "Etag: \"x\"", "Expires: 0", "Age: 5", "Vary: *")
	add(403, 0.9, "X-Ratelimit-Limit: 60", "X-Ratelimit-Remaining: 0", reset, "X-Ratelimit-Resource: core")
	add(429, 0, "Retry-After: 99999999999999999999", "Retry-After: "+httpDate(sec))
	add(301, 0, "Location: https://other.example.net/", "Retry-After: 5")
	add(410, math.NaN())
	add(401, math.Inf(1), "X-Github-Request-Id: 1")
	add(0, -1)
	add(429, 0, "Ratelimit-Limit: 10, 10;w=1", "Ratelimit-Remaining: 0", "Ratelimit-Reset: "+unix(90*sec), "Ratelimit-Resettime: "+httpDate(100*sec), "Ratelimit-Name: n")
	add(429, 0, "X-Ratelimit-Limit: 5", "X-Ratelimit-Remaining: 0", "X-Ratelimit-Reset-After: 1.337", "X-Ratelimit-Bucket: b", "X-Ratelimit-Scope: user")
	add(200, 0, "X-Ratelimit-Used: 1.5", "X-Ratelimit-Remaining: 598.5", "X-Ratelimit-Reset: 6m0s")
	add(430, 0, "X-Shopify-Shop-Api-Call-Limit: 41/40", "Retry-After: 2.0")
	add(429, 0, "Stripe-Rate-Limited-Reason: endpoint-rate", "Stripe-Should-Retry: false")
	add(200, 0, "X-Rate-Limit-Limit: 900", "X-Rate-Limit-Remaining: 0", "X-Rate-Limit-Reset: 60")
	add(403, 0, `X-Ratelimit: {"name":"API","period":10,"limit":50,"remaining":0,"until":"2026-01-01T00:00:20Z"}`)
	f.Fuzz(func(t *testing.T, status int, sent, finished int64, jitter float64, conditional bool, lines, excerpt string) {
		a := &Answer{
			Origin: "https://api.example.com", Status: status, Header: http.Header{}, Excerpt: []byte(excerpt), Conditional: conditional,
			Sent: at(time.Duration(sent)), Received: at(0), Finished: at(time.Duration(finished) % farFuture), Jitter: jitter, Target: excerpt, Permanent: excerpt,
		}
		for line := range strings.SplitSeq(lines, "\n") {
			name, value, _ := strings.Cut(line, ":")
			a.Header.Add(name, strings.TrimLeft(value, " "))
		}
		a.Path, a.Hint = excerpt, Hint{Interval: time.Duration(sent), SkipHours: uint32(finished), SkipDays: uint8(sent), Base: at(time.Duration(finished))}
		for _, d := range append(Dialects(), Dialect{}) {
			checkAnswer(t, &Parser{Dialect: d}, a)
		}
	})
}

// checkAnswer checks what holds for every answer, however odd.
func checkAnswer(t *testing.T, p *Parser, a *Answer) {
	r := newborn(t)
	r.Interval, r.Validators = 7*sec, Validators{ETag: `"old"`}
	l := p.Lesson(a)
	res := p.Apply(r, a, &l)

	if res.Outcome != Moved {
		require.False(t, r.NotBefore.Before(a.at().Add(r.Effective())), "earlier than the interval")
	}
	if until, _, ok := retryAfter(a); ok {
		require.False(t, r.NotBefore.Before(until), "earlier than Retry-After")
	}
	require.False(t, r.NotBefore.After(a.at().Add(farFuture)))
	require.Equal(t, res.Publish, res.Outcome == Modified || res.Outcome == Retired)
	require.Equal(t, res.Ended, r.State == Error || r.State == Gone)
	require.True(t, fieldValue(r.Validators.ETag) && fieldValue(r.Validators.LastModified))
	origin, err := Origin(r.Target())
	require.NoError(t, err)
	require.Equal(t, origin, r.Origin)
	b, err := r.MarshalBinary()
	require.NoError(t, err)
	require.NoError(t, new(Resource).UnmarshalBinary(b))

	require.Equal(t, l.HasQuota, !l.Reset.IsZero())
	require.True(t, r.Hint == r.Hint.normal())
	require.Equal(t, l.Kind == NoLimit, l.Evidence == "")
	if l.Kind != NoLimit && a.Status != 401 {
		require.NotEqual(t, l.Fallback, !l.Until.IsZero(), "an instant or the fallback")
	}
	for _, named := range []bool{true, false} {
		scope, inside := l.Split(named)
		for _, lesson := range []*Lesson{&scope, &inside} {
			bucket := known(50, at(1000*sec))
			bucket.Take()
			bucket.Settle(lesson, at(sec), at(2*sec), a.Status == 304)
			require.GreaterOrEqual(t, bucket.Remaining, int64(0))
			require.LessOrEqual(t, bucket.Remaining, max(50, lesson.Remaining))
			if lesson.Kind != NoLimit {
				require.False(t, bucket.Park.Before(at(3*sec)), "a rejection always parks")
				require.False(t, bucket.Park.Before(within(lesson.Until, at(2*sec))), "and never for less than it says")
			}
			require.NoError(t, new(Bucket).UnmarshalBinary(bucket.AppendBinary(nil), at(0)))
		}
	}
}

// FuzzReset covers every form of a reset: numbers with fractions, dates of RFC
// 9110 and RFC 3339, and durations.
func FuzzReset(f *testing.F) {
	for _, s := range []string{"60", "1.5", "0", unix(60 * sec), unix(60*sec) + "000", "400000000", "99999999999999999999", httpDate(60 * sec), "2026-01-01T00:01:00.25Z", "2026-01-01T01:01:00+0100", "6m0s", "20ms", "-5s", "1e3", ""} {
		f.Add(s, int64(0), uint8(0))
		f.Add(s, int64(-time.Hour), uint8(1))
	}
	f.Fuzz(func(t *testing.T, value string, skew int64, expect uint8) {
		a := got(200, "N", value, "Date", httpDate(time.Duration(skew)%maxSkew))
		r, doubt, ok := readReset(a, value, unit(expect%3))
		if !ok {
			require.Equal(t, reset{}, r)
			require.NotEmpty(t, doubt, "refused in silence")
			return
		}
		require.LessOrEqual(t, r.wait, MaxInterval)
		if n, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil && n >= 0 && n < firstEpoch {
			require.GreaterOrEqual(t, r.wait.Seconds(), n-1e-6, "a number is never read as less than seconds")
			require.Equal(t, unit(expect%3) != secondsLeft, doubt != "", "nor in silence")
		}
		var l Lesson
		require.True(t, l.tell(a, 1, 1, r))
		require.False(t, l.Reset.Before(a.Received))
		count, isCount := a.Count("N")
		wait, isSeconds := a.Seconds("N")
		require.Equal(t, isCount, isSeconds)
		if isCount {
			require.True(t, count >= 0 && wait >= 0)
			require.True(t, wait >= seconds(count), "what remains is rounded down, what is waited up")
		}
		when, isUnix := a.Unix("N")
		require.Equal(t, !when.IsZero(), isUnix)
		when, isDate := a.Date("N")
		require.Equal(t, !when.IsZero(), isDate)
		require.Equal(t, time.UTC, when.Location())
	})
}

func FuzzFeedHint(f *testing.F) {
	for _, s := range []string{
		`<ttl>90</ttl>`, `<skipHours><hour>0</hour><hour>24</hour></skipHours><skipDays><day>Monday</day></skipDays>`,
		`<sy:updatePeriod>hourly</sy:updatePeriod><sy:updateFrequency>2</sy:updateFrequency><sy:updateBase>2000-01-01T12:00+00:00</sy:updateBase>`,
		`<ttl>99999999999999999999</ttl>`, `&nbsp;<![CDATA[<ttl>]]><br>`,
	} {
		f.Add(rss(s), int64(0))
	}
	f.Add([]byte(`<feed xmlns:sy="http://purl.org/rss/1.0/modules/syndication/"><sy:updatePeriod>yearly</sy:updatePeriod>`), int64(time.Hour))
	f.Add([]byte{}, int64(-1))
	f.Fuzz(func(t *testing.T, body []byte, after int64) {
		h, ok := FeedHint(body)
		require.Equal(t, ok, !h.IsZero())
		require.True(t, h == h.normal() && h.Interval >= 0 && h.Interval <= MaxInterval)
		now := at(time.Duration(after))
		next := h.Next(now)
		require.True(t, !next.Before(now) && next.Sub(now) <= 8*24*time.Hour)
		require.Equal(t, next, h.Next(next), "it is allowed there")
		due := h.due(now, DefaultFreshnessCap)
		require.True(t, !due.Before(now) && due.Sub(now) <= DefaultFreshnessCap)
		b, err := (&Resource{Hint: h}).MarshalBinary()
		require.NoError(t, err)
		var back Resource
		require.NoError(t, back.UnmarshalBinary(b))
		require.Equal(t, h, back.Hint)
		text, err := json.Marshal(h)
		require.NoError(t, err)
		var again Hint
		require.NoError(t, json.Unmarshal(text, &again))
		require.Equal(t, h, again)
	})
}

func FuzzEndpoint(f *testing.F) {
	for _, s := range []string{"/2/users/42/tweets", "/v1/x/pi_3Mtw", "/api/channels/1/messages", "//", "/hooks/T0/s3cr3t", "/2/users/by/username/jack"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		name := endpoint(path)
		require.LessOrEqual(t, len(name), MaxBucket)
		for part := range strings.SplitSeq(strings.TrimPrefix(name, "/"), "/") {
			require.True(t, part == "" || part == "*" || plainWord(part) || len(part) <= 4, part)
		}
		require.False(t, strings.Contains(strings.TrimPrefix(topLevel(path), ":webhooks/"), "webhooks/"))
	})
}

func FuzzSpec(f *testing.F) {
	const marker = "hunter2"
	for _, s := range [][2]string{{"https://user:", "a.example/"}, {"https:/u:", "a.example"}, {"", "x"}, {"https://a.example/", "?q"}, {"HTTP://u:/", "[::1]:080/"}, {"https://a.example/%zz", "#"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, uri := range []string{before + marker + "@" + after, before, after} {
			r, err := New(Spec{URI: uri}, "")
			if err != nil {
				_, ok := errors.AsType[*FieldError](err)
				require.True(t, ok)
				if !strings.Contains(after, marker) && !strings.Contains(before, marker) {
					require.NotContains(t, err.Error(), marker)
				}
				continue
			}
			again, err := Origin(r.Origin)
			require.NoError(t, err)
			require.Equal(t, r.Origin, again)
			_, err = r.MarshalBinary()
			require.NoError(t, err)
			_, err = http.NewRequestWithContext(t.Context(), http.MethodGet, uri, nil)
			require.NoError(t, err)
		}
	})
}

func FuzzUnmarshalBinary(f *testing.F) {
	for _, r := range []Resource{{}, full()} {
		b, err := r.MarshalBinary()
		require.NoError(f, err)
		f.Add(b)
		f.Add(b[:len(b)/2])
		b, err = appendOld(nil, &r)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Resource
		if err := r.UnmarshalBinary(b); err != nil {
			require.True(t, errors.Is(err, ErrEncoding) || errors.Is(err, ErrNewer))
			require.Equal(t, Resource{}, r)
			return
		}
		canonical, err := r.MarshalBinary()
		require.NoError(t, err)
		require.LessOrEqual(t, len(canonical), MaxEncoded)
		var again Resource
		require.NoError(t, again.UnmarshalBinary(canonical))
		require.Equal(t, r, again)
		second, err := again.MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, canonical, second)
	})
}

func FuzzMarshalBinary(f *testing.F) {
	f.Add("https://api.example.com/", "https://api.example.com", `W/"0123456789abcdef"`, "cause", "core", int64(1e18), int64(time.Minute), uint64(7), uint32(9), uint8(3))
	f.Add("https://h:443/", "https://h", `"d41d8cd98f00b204e9800998ecf8427e"`, "Thu, 01 Jan 2026 00:00:00 GMT", "", int64(1e18), int64(1), uint64(7), uint32(9), uint8(3))
	f.Add("", "x", "", "", "", int64(-1), int64(-1), uint64(0), uint32(0), uint8(255))
	f.Fuzz(func(t *testing.T, uri, origin, etag, cause, bucket string, nano, wait int64, digest uint64, n uint32, small uint8) {
		r := Resource{
			Spec: Spec{URI: uri, Interval: time.Duration(wait), Priority: int8(small)}, Origin: origin, Bucket: bucket, Cause: cause,
			State: State(small), Why: Reason(n), NotBefore: time.Unix(0, nano).UTC(), Digest: digest, Polls: n, Failures: uint16(n), Seen: small,
			Validators: Validators{ETag: etag, LastModified: cause}, Moved: uri, Version: nano, Asked: time.Unix(0, nano+wait).UTC(),
		}
		b, err := r.MarshalBinary()
		if err != nil {
			_, ok := errors.AsType[*FieldError](err)
			require.True(t, ok)
			return
		}
		var back Resource
		require.NoError(t, back.UnmarshalBinary(b))
		require.Equal(t, r, back)
		b, err = appendOld(nil, &r)
		require.NoError(t, err)
		require.NoError(t, back.UnmarshalBinary(b))
		require.Equal(t, r, back, "and what a former program wrote")
	})
}

func FuzzUnmarshalBucket(f *testing.F) {
	b := known(10, at(1000*sec))
	f.Add(b.AppendBinary(nil))
	f.Add((&Bucket{}).AppendBinary(nil))
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, data []byte) {
		var b Bucket
		if err := b.UnmarshalBinary(data, at(0)); err != nil {
			require.True(t, errors.Is(err, ErrEncoding) || errors.Is(err, ErrNewer))
			require.Equal(t, Bucket{}, b)
			return
		}
		var again Bucket
		require.NoError(t, again.UnmarshalBinary(b.AppendBinary(nil), at(0)))
		require.Equal(t, b, again)
		b.Take()
		b.Settle(quota(1, at(sec)), at(0), at(0), false)
		b.TakeOver(at(sec))
		b.Admit(at(2 * sec))
	})
}

func FuzzJSON(f *testing.F) {
	for _, r := range []Resource{{}, full()} {
		text, err := json.Marshal(r)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte(`{"uri":"x","interval":"1h","why_code":300}`))
	f.Add([]byte(`{"requests":1,"per":"1s","wait":"1s","kind":"line"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		stable[Resource](t, text)
		stable[Spec](t, text)
		stable[Profile](t, text)
		stable[Limit](t, text)
		stable[Explanation](t, text)
		stable[Hint](t, text)
	})
}

// stable checks that what was decoded is encoded and decoded to the same.
func stable[T any](t *testing.T, text []byte) {
	var v, again T
	if json.Unmarshal(text, &v) != nil {
		return
	}
	out, err := json.Marshal(v)
	if err != nil {
		return // an instant beyond what RFC 3339 holds
	}
	require.NoError(t, json.Unmarshal(out, &again))
	second, err := json.Marshal(again)
	require.NoError(t, err)
	require.Equal(t, string(out), string(second))
}
