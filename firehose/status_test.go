package firehose_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// The status matrix: where a resource is after an answer, in which state, and
// when it asks again. Beside it another origin is polled each ten seconds, and
// goes on.
func TestStatusMatrix(t *testing.T) {
	const interval = 10 * time.Second
	// within says that the second request comes that long after the first:
	// least is the server's word or the backoff, most is it with its jitter.
	type want struct {
		queue       string
		state       resource.State
		least, most time.Duration // zero least: no second request in an hour
		outcome     string
	}
	quick := want{"frozen-1000", resource.WaitingForServerAlive, interval, interval, "failed"}
	slow := want{"frozen-1000", resource.WaitingForServerAlive, 2 * interval, 30 * time.Second, "failed"}
	ended := func(s resource.State, outcome string) want {
		return want{firehose.QueueRequestsError, s, 0, 0, outcome}
	}
	limited := func(wait time.Duration, outcome string) want {
		return want{"frozen-1000", resource.WaitingForReset, wait, wait + min(wait/10, 30*time.Second), outcome}
	}
	polled := want{"frozen-1000", resource.WaitingForInterval, interval, interval, "empty"}
	cases := map[string]struct {
		reply reply
		want  want
	}{
		"202":                   {status(202), polled},
		"202 Retry-After":       {status(202, "Retry-After", "45"), want{"frozen-1000", resource.WaitingForInterval, 45 * time.Second, 45 * time.Second, "empty"}},
		"204":                   {status(204), polled},
		"206":                   {status(206), slow},
		"300":                   {status(300), slow},
		"304 unconditional":     {status(304), quick},
		"400":                   {status(400), ended(resource.Error, "rejected")},
		"401":                   {status(401), want{slow.queue, resource.WaitingForServerAlive, slow.least, slow.most, "unauthorized"}},
		"403":                   {status(403), ended(resource.Error, "forbidden")},
		"404":                   {status(404), slow},
		"408":                   {status(408), quick},
		"410":                   {status(410), want{"frozen-1000", resource.WaitingForInterval, interval, interval, "failed"}},
		"418":                   {status(418), slow},
		"422":                   {status(422), ended(resource.Error, "rejected")},
		"425":                   {status(425), quick},
		"429":                   {status(429), want{"", resource.WaitingForInterval, 60 * time.Second, 66 * time.Second, "limited"}},
		"429 Retry-After":       {status(429, "Retry-After", "90"), limited(90*time.Second, "limited")},
		"403 Retry-After":       {status(403, "Retry-After", "90"), limited(90*time.Second, "limited")},
		"451":                   {status(451), ended(resource.Error, "forbidden")},
		"500":                   {status(500), quick},
		"501":                   {status(501), slow},
		"502":                   {status(502), quick},
		"503":                   {status(503), quick},
		"503 Retry-After":       {status(503, "Retry-After", "90"), limited(90*time.Second, "limited")},
		"504":                   {status(504), quick},
		"999":                   {status(999), slow},
		"reset":                 {reply{err: errReset}, quick},
		"dns":                   {reply{err: &net.DNSError{Err: "no such host", Name: "a.test", IsNotFound: true}}, quick},
		"dial":                  {reply{err: &net.OpError{Op: "dial", Err: errReset}}, quick},
		"timeout":               {reply{slow: time.Hour}, want{"", resource.WaitingForServerAlive, 30*time.Second + interval, 30*time.Second + interval, "failed"}},
		"certificate":           {reply{err: &tls.CertificateVerificationError{Err: errors.New("expired")}}, slow},
		"unknown authority":     {reply{err: fmt.Errorf("tls: %w", x509.UnknownAuthorityError{})}, slow},
		"panic":                 {reply{boom: "the transport panics"}, quick},
		"301 nowhere":           {status(301), slow},
		"302 to another scheme": {status(302, "Location", "ftp://a.test/"), slow},
		"307 broken":            {status(307, "Location", "http://[::1"), slow},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := newScript(func(got call) reply {
					if got.URL == uriA {
						return c.reply
					}
					return ok(fmt.Sprint(got.n), "")
				})
				r := start(t, net, firehose.Config{Resources: []resource.Spec{
					{URI: uriA, Interval: interval}, {URI: uriC, Interval: interval},
				}})
				until(c.reply.slow%time.Hour + time.Millisecond)
				if c.reply.slow > 0 {
					until(30*time.Second + time.Millisecond)
				}
				e := r.explain(uriA)
				if c.want.queue != "" {
					require.Equal(t, c.want.queue, e.Queue)
				}
				require.EqualValues(t, 1, r.Stats().Outcomes[c.want.outcome])
				if c.want.least > 0 {
					require.True(t, strings.HasPrefix(e.Queue, "frozen") || strings.HasPrefix(e.Queue, "line"), e.Queue)
				}
				require.Equal(t, c.want.state, e.State, e.String())
				until(time.Hour)
				times := net.times(uriA)
				if c.want.least == 0 {
					require.Len(t, times, 1)
					buried := r.errorsIn(c.want.queue)
					require.Len(t, buried, 1)
					require.NotEmpty(t, buried[0].Cause)
					require.Contains(t, r.sink.kinds(), "buried")
				} else {
					require.GreaterOrEqual(t, len(times), 2)
					require.GreaterOrEqual(t, times[1], c.want.least)
					require.LessOrEqual(t, times[1], c.want.most)
				}
				require.Len(t, net.all(uriC), 361, "the other origin goes on")
				require.NoError(t, r.stop())
			})
		})
	}
}

// Failures in a row back off, jitter only adds, and a success forgets them
// (rule S-backoff).
//
// Peer miniflux-9: three errors end a feed until a human looks.
func TestSBackoff_GrowsAndIsForgotten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			if c.n == 8 {
				return ok("well again", "")
			}
			return status(502)
		})
		start(t, net, firehose.Config{Resources: []resource.Spec{{URI: uriA, Interval: time.Second}}})
		until(time.Hour)
		times := net.times(uriA)
		for i := range 8 {
			wait, base := times[i+1]-times[i], 2*time.Second<<i
			require.GreaterOrEqual(t, wait, base, "failure %d", i+1)
			require.LessOrEqual(t, wait, base*3/2, "failure %d", i+1)
		}
		require.Equal(t, time.Second, times[9]-times[8])
		require.Less(t, times[10]-times[9], 4*time.Second)
	})
}

// A 410 retires a resource when a second one confirms it; a Replay asks again.
//
// Peer miniflux-12: a 410 is an error like any other.
// Peer nutch-4: no page counts as gone for good: a 410 makes the interval
// longer.
func TestS410_GoneIsRetired(t *testing.T) {
	bubble(t, func(t *testing.T) {
		back := false
		net := newScript(func(c call) reply {
			if c.n == 0 || back {
				return ok("here", `"1"`)
			}
			return status(410)
		})
		r := start(t, net, firehose.Config{Resources: []resource.Spec{{URI: uriA, Interval: time.Minute}}})
		until(3 * time.Hour)
		require.Len(t, net.all(uriA), 3)
		require.Len(t, r.sink.responses, 2)
		last := r.sink.responses[1]
		require.Equal(t, resource.Retired, last.Outcome)
		require.Equal(t, 410, last.Status)
		require.Empty(t, last.Body)
		require.Equal(t, []string{"failing", "gone", "buried"}, r.sink.kinds())
		e := r.explain(uriA)
		require.Equal(t, resource.Gone, e.State)
		require.Equal(t, uriA+": gone, will not be requested again by itself: gone [S-410] (status 410, confirmed); in queue requests-error", e.String())
		net.do(func() { back = true })
		require.NoError(t, r.Replay(context.Background(), idOf(t, uriA)))
		until(3*time.Hour + time.Second)
		require.Len(t, net.all(uriA), 4)
		require.Equal(t, resource.WaitingForInterval, r.explain(uriA).State)
	})
}

// A 404 between two 410s, or a 304 to no condition, is no confirmation.
func TestH13_GoneNeedsTwoInARow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		codes := []int{410, 200, 410, 200, 410, 410}
		net := newScript(func(c call) reply { return status(codes[min(c.n, 5)]) })
		r := start(t, net, firehose.Config{Resources: []resource.Spec{{URI: uriA, Interval: time.Minute}}})
		until(time.Hour)
		require.Len(t, net.all(uriA), 6)
		require.Equal(t, resource.Gone, r.explain(uriA).State)
	})
}

// Retry-After in every form gives what is documented, nothing panics, and other
// resources go on (rules H-1 to H-4, D-21, D-22).
//
// Peer go-github-8: a date in Retry-After fails to parse as a number, and
// counts as no wait.
// Peer retryablehttp-3: a date that is past means at once, again and again.
func TestH1_RetryAfterVectors(t *testing.T) {
	const century = 100 * 365 * 24 * time.Hour
	date := func(d time.Duration) string { return epoch.Add(d).Format("Mon, 02 Jan 2006 15:04:05 GMT") }
	for value, wait := range map[string]time.Duration{
		"120": 120 * time.Second, "1.5": 2 * time.Second, " 7 ": 7 * time.Second, "0": time.Second,
		"99999999999999999999": century, "9999999999999999999999999999999": century, "4000000": 4000000 * time.Second,
		"-1": time.Minute, "": time.Minute, "soon": time.Minute, "1e3": time.Minute, "120, 130": time.Minute, "0x10": time.Minute,
		"+5": time.Minute, "1.": time.Minute, ".5": time.Minute, "\x00": time.Minute, "120\n30": 120 * time.Second, "x\n30": 30 * time.Second,
		date(95 * time.Second): 95 * time.Second, "Thursday, 01-Jan-26 00:02:00 GMT": 120 * time.Second,
		"Thu Jan  1 00:02:00 2026": 120 * time.Second, date(-time.Hour): time.Second,
		"Thu, 01 Jan 2026 00:02:00 PST": time.Minute, "Thu, 32 Jan 2026 00:02:00 GMT": time.Minute, "Thu, 01 Jan 0000 00:00:00 GMT": time.Minute,
		unix(100 * time.Second): 100 * time.Second, unix(100*time.Second) + "000": 100 * time.Second,
	} {
		t.Run(fmt.Sprintf("%q", value), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := newScript(func(c call) reply {
					if c.URL == uriA && c.n == 0 {
						r := status(429)
						r.header["Retry-After"] = value
						if value == "" { // present, and empty
							r.header["Retry-After"] = "\n"
						}
						return r
					}
					return status(200)
				})
				r := start(t, net, firehose.Config{Resources: []resource.Spec{
					{URI: uriA, Interval: time.Second}, {URI: uriC, Interval: 10 * time.Second},
				}})
				if wait > time.Second {
					until(1500 * time.Millisecond)
					e := r.explain(uriA)
					require.GreaterOrEqual(t, e.Wait, wait-1500*time.Millisecond, e.String())
					require.LessOrEqual(t, e.Wait, wait+min(wait/10, 30*time.Second), e.String())
				}
				until(3 * time.Minute)
				require.Len(t, net.all(uriC), 19, "the other resource goes on")
				if times := net.times(uriA); wait > 3*time.Minute {
					require.Len(t, times, 1)
					require.Equal(t, resource.Parked, r.explain(uriA).State)
					require.Contains(t, r.sink.kinds(), "parked")
				} else {
					require.GreaterOrEqual(t, times[1], wait)
				}
				require.NoError(t, r.stop())
			})
		})
	}
}

// A credential that is not accepted stops everything that uses it, until it has
// changed or one probe finds out (rule S-401); requests without it go on.
func TestS401_OneRequestFindsOutForTheCredential(t *testing.T) {
	bubble(t, func(t *testing.T) {
		rotated := false
		net := newScript(func(c call) reply {
			if c.Header.Get("Authorization") != "" && !rotated {
				return status(401)
			}
			return ok("x", "")
		})
		token, err := resource.BearerToken("made-up")
		require.NoError(t, err)
		config := firehose.Config{
			Tokens:   resource.Fixed("key", token, "https://a.test"),
			Profiles: map[string]resource.Profile{"with": {Credential: "key"}},
		}
		for i := range 20 {
			config.Resources = append(config.Resources, resource.Spec{URI: fmt.Sprintf("https://a.test/%d", i), Profile: "with", Interval: time.Second})
		}
		config.Resources = append(config.Resources, resource.Spec{URI: uriC, Interval: 10 * time.Second})
		r := start(t, net, config)
		until(59 * time.Second)
		require.Len(t, net.all(""), 1+6, "one of the credential")
		net.do(func() { rotated = true })
		until(time.Hour - time.Minute)
		require.Len(t, net.all("https://a.test/0"), 1, "the same token is not tried again for an hour")
		until(time.Hour + 10*time.Minute)
		for i := range 20 {
			require.NotEmpty(t, net.all(fmt.Sprintf("https://a.test/%d", i)))
		}
		require.NoError(t, r.stop())
	})
}

// Without a token nothing is sent where a credential is named.
func TestNoTokenNoRequest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply { return ok("x", "") })
		r := start(t, net, firehose.Config{
			Resources: []resource.Spec{{URI: uriA, Profile: "with", Interval: time.Minute}, {URI: uriC}},
			Profiles:  map[string]resource.Profile{"with": {Credential: "key"}},
			Tokens:    resource.Fixed("key", resource.Token{}, "https://elsewhere.test"),
		})
		until(time.Hour)
		require.Empty(t, net.all(uriA))
		e := r.explainSpec(resource.Spec{URI: uriA, Profile: "with"})
		require.Equal(t, resource.WaitingForServerAlive, e.State)
		require.Contains(t, e.Cause, "not meant for")
		require.Len(t, net.all(uriC), 61)
		require.EqualValues(t, 61, r.Stats().Polls)
	})
}
