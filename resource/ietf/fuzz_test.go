package ietf

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/resource"
)

func FuzzRateLimit(f *testing.F) {
	for _, s := range [][3]string{
		{`"burst";q=100;w=60,"daily";q=1000;w=86400`, `"burst";r=50;t=30,"daily";r=0;t=3600`, `["daily"]`},
		{`"a";q=10;qu="concurrent-requests", "b";q=1;qu="content-bytes";pk=:eA==:`, `"a";r=0`, `[]`},
		{`10;w=1`, `limit=10, remaining=4, reset=5`, `null`},
		{"\"a\";q=1\n\"a\";q=2", "\"a\";r=1\n\"a\";r=2;pk=:eA==:", `["a","z"]`},
		{`"";q=0`, `"";r=999999999999999;t=999999999999999`, `[""]`},
	} {
		for _, status := range []int{200, 429, 503} {
			f.Add(status, s[0], s[1], "30", s[2])
		}
	}
	f.Fuzz(func(t *testing.T, status int, policy, limits, retry, violated string) {
		a := got(status, "Retry-After", retry)
		a.Header["Ratelimit-Policy"], a.Header["Ratelimit"] = strings.Split(policy, "\n"), strings.Split(limits, "\n")
		check(t, a)
		check(t, problemOf(a, "quota-exceeded", violated))
		check(t, problemOf(a, "abnormal-usage-detected", violated))
	})
}

// check checks what holds for every answer, however odd.
func check(t *testing.T, a *resource.Answer) {
	p := resource.Parser{Dialect: Dialect()}
	l := p.Lesson(a)
	require.LessOrEqual(t, len(l.Also), resource.MaxAlso)
	require.True(t, l.Limit >= 0 && l.Remaining >= 0 && l.Spacing >= 0 && l.Concurrency >= 0)
	require.LessOrEqual(t, len(l.Bucket), resource.MaxBucket)
	require.Equal(t, l.HasQuota, !l.Reset.IsZero())
	require.Equal(t, l.Kind == resource.NoLimit, l.Evidence == "")
	if l.Kind != resource.NoLimit && a.Status != 401 {
		require.NotEqual(t, l.Fallback, !l.Until.IsZero(), "an instant or the fallback")
	}
	if l.Spared {
		require.False(t, l.Kind == resource.NoLimit || l.Wide)
	}
	rejected := l.Wide || !l.Spared
	seen := map[string]bool{l.Bucket: l.Named}
	for i := range l.Also {
		q := &l.Also[i]
		require.NotEmpty(t, q.Bucket)
		require.False(t, seen[q.Bucket], "%q twice", q.Bucket)
		seen[q.Bucket] = true
		own := l.For(q)
		rejected = rejected || own.Kind != resource.NoLimit
		var b resource.Bucket
		b.Take()
		b.Settle(&own, a.Sent, a.Received, false)
		require.Equal(t, own.Kind != resource.NoLimit, !b.Park.IsZero())
		if own.Kind != resource.NoLimit {
			require.False(t, b.Park.Before(own.Until))
		}
	}
	if l.Kind != resource.NoLimit {
		require.True(t, rejected, "a rejection is always somebody's")
	}
	r, err := resource.New(resource.Spec{URI: "https://api.example.com/"}, "")
	require.NoError(t, err)
	p.Apply(&r, a, &l)
	_, err = r.MarshalBinary()
	require.NoError(t, err)
}
