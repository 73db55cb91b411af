package resource

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Peer go-github-8: a date in Retry-After fails to parse as a number, and
// counts as no wait.
// Peer retryablehttp-4: an instant sent by mistake in place of seconds is slept
// through: half a century.
// Peer nutch-3: neither tags nor Retry-After are read.
// Peer scrapy-2: Retry-After has been asked for since 2019, and is not read.
func TestH1_RetryAfterVectors(t *testing.T) {
	const century = farFuture
	for _, c := range []struct {
		value string
		wait  time.Duration
		odd   string
	}{
		{"120", 120 * time.Second, ""},
		{"0", 0, ""},
		{"Fri, 31 Dec 1999 23:59:59 GMT", 0, ""}, // in the past: now, and never negative
		{"Sunday, 06-Nov-94 08:49:37 GMT", 0, ""},
		{"Sun Nov  6 08:49:37 1994", 0, ""},
		{httpDate(90 * time.Second), 90 * time.Second, ""},
		{"Thursday, 01-Jan-26 00:02:00 GMT", 2 * time.Minute, ""},
		{"Thu Jan  1 00:02:00 2026", 2 * time.Minute, ""},
		{" 120 ", 120 * time.Second, ""}, // white space around a value is not part of it
		{"\t7", 7 * time.Second, ""},
		{"1.5", 2 * time.Second, ""},
		{"99999999999999999999", century, "Retry-After beyond a century"},
		{strings.Repeat("9", 5000), century, "Retry-After beyond a century"},
		// A registry sends the instant as Unix time; taken for seconds, a peer
		// announced a wait of half a century.
		{"1743500000", 0, "Unix seconds in Retry-After"},
		{unix(time.Hour), time.Hour, "Unix seconds in Retry-After"},
		{unix(time.Hour) + "000", time.Hour, "Unix milliseconds in Retry-After"},
		{"899999999", 899999999 * time.Second, ""}, // 28 years: to be reported, not to be shortened
		{"4000000001", century, "Retry-After beyond a century"},
	} {
		until, odd, ok := RetryAfter(c.value, at(0), at(0))
		require.True(t, ok, c.value)
		require.Equal(t, at(c.wait), until, c.value)
		require.Equal(t, c.odd, odd, c.value)
	}
}

func TestH3_InvalidIsIgnoredAndFractionsRoundUp(t *testing.T) {
	for _, value := range []string{
		"", " ", "-1", "+1", "120, 130", "1e3", "0x10", "1_000", "1.5.2", ".5", "5.", "1,5", "５", "soon", "120s", "NaN", "Inf",
		"Fri, 31 Dec 1999 23:59:59", "31 Dec 1999", "2026-01-01T00:00:00Z", "Fri, 31 Dec 1999 23:59:59 PST", "\x00", "120\n",
	} {
		_, _, ok := RetryAfter(value, at(0), at(0))
		require.False(t, ok, "%q", value)
	}
	for value, want := range map[string]time.Duration{
		"2.0": 2 * time.Second, "2.000000000000000000001": 3 * time.Second, "0.3": time.Second, "0.000": 0,
		"599.0": 599 * time.Second, "64.57": 65 * time.Second, "9.99999999999999999999999": 10 * time.Second,
	} {
		until, _, ok := RetryAfter(value, at(0), at(0))
		require.True(t, ok, value)
		require.Equal(t, at(want), until, value)
	}
}

// Peer gofri-7: Retry-After is read as a whole number and nothing else.
// Peer retryablehttp-2: one of the three forms of a date is read, and in it the
// zone PST is taken for UTC.
// Peer airbyte-2: of Retry-After numbers are read, and dates dropped.
func TestH2_AllThreeDateFormsAndOnlyUTC(t *testing.T) {
	want := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)
	for _, s := range []string{
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
		"Sunday, 06-Nov-94 08:49:37 UTC",
	} {
		date, ok := HTTPDate(s)
		require.True(t, ok, s)
		require.Equal(t, want, date, s)
	}
	for _, s := range []string{
		"Sun, 06 Nov 1994 08:49:37 PST", "Sunday, 06-Nov-94 08:49:37 PST", "Sunday, 06-Nov-94 08:49:37 BST",
		"Sunday, 06-Nov-94 08:49:37 GMT+3", "Sun, 06 Nov 1994 08:49:37 +0100", "Sun, 06 Nov 1994 08:49 GMT",
		"Thu, 01 Jan 1969 00:00:00 GMT", "Fri, 01 Jan 2300 00:00:00 GMT", "Sat, 30 Feb 2026 00:00:00 GMT", "0", "-1", "",
	} {
		_, ok := HTTPDate(s)
		require.False(t, ok, s)
	}
}

// The date is on the origin's clock. Whichever clock is wrong, the wait is the
// distance to the origin's own Date, from the receipt.
func TestH4_DateOnTheOriginsClock(t *testing.T) {
	for _, skew := range []time.Duration{0, time.Hour, -time.Hour, 40 * 24 * time.Hour} {
		a := got(429, "Date", httpDate(skew), "Retry-After", httpDate(skew+90*time.Second))
		until, _, ok := retryAfter(a)
		require.True(t, ok)
		require.Equal(t, at(90*time.Second), until, "skew %v", skew)
	}
	until, _, _ := retryAfter(got(429, "Retry-After", httpDate(90*time.Second)))
	require.Equal(t, at(90*time.Second), until, "without a Date our own clock counts")
	until, _, _ = retryAfter(got(429, "Retry-After", httpDate(90*time.Second), "Date", "Sun, 01 Jan 1990 00:00:00 GMT"))
	require.Equal(t, at(90*time.Second), until, "and with one that makes no sense")

	a := got(429, "Date", httpDate(0), "Retry-After", httpDate(90*time.Second))
	a.Received = at(900 * time.Millisecond) // Date has whole seconds: the wait errs on the late side
	until, _, _ = retryAfter(a)
	require.Equal(t, at(90900*time.Millisecond), until)
}

// The wait is measured on the monotonic clock of the receipt.
func TestH4_KeepsTheMonotonicReading(t *testing.T) {
	now := time.Now()
	for _, value := range []string{"5", "1.5", now.UTC().Add(time.Minute).Format(time.RFC850[:len(time.RFC850)-3] + "GMT"), "99999999999999999999"} {
		until, _, ok := RetryAfter(value, now, now)
		require.True(t, ok, value)
		require.Contains(t, until.String(), " m=", value)
	}
}

// Seconds multiplied into nanoseconds before the bound is checked wrap around,
// and a client asks at once that was told to wait for centuries.
//
// Peer go-github-9: seconds are multiplied into nanoseconds before they are
// bounded, and wrap around.
// Peer retryablehttp-6: seconds are multiplied before they are bounded.
func TestD22_RetryAfterSaturates(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 20000 {
		n := rng.Uint64() >> rng.IntN(64)
		until, odd, ok := RetryAfter(strconv.FormatUint(n, 10), at(0), at(0))
		require.True(t, ok, "seed %d: %d", seed, n)
		wait := until.Sub(at(0))
		require.True(t, wait >= 0 && wait <= farFuture, "seed %d: %d gives %v", seed, n, wait)
		if odd == "" {
			require.Equal(t, time.Duration(n)*time.Second, wait, "seed %d", seed)
		}
	}
	_, ok := count(header("N", "99999999999999999999"), "N")
	require.True(t, ok)
}
