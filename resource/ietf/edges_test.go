package ietf

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/resource"
)

// One field of the older drafts is enough to make a RateLimit that is not well
// formed theirs.
func TestI4_OneOlderFieldIsEnough(t *testing.T) {
	for _, name := range []string{"RateLimit-Limit", "RateLimit-Remaining"} {
		require.NotEqual(t, Name, learn(got(200, "RateLimit", "10", name, "10")).Dialect, name)
	}
}

func TestI4_TheLongestField(t *testing.T) {
	pad := func(field string, size int) string { return field + strings.Repeat(" ", size-len(field)) }
	for _, field := range []string{"limit=10, remaining=4, reset=5", `"a";r=4;t=5`} {
		require.True(t, learn(got(200, "RateLimit", pad(field, maxField))).HasQuota, field)
		require.False(t, learn(got(200, "RateLimit", pad(field, maxField+1))).HasQuota, field)
	}
}

func TestI9_TheLongestWindowAndReset(t *testing.T) {
	year := int64(resource.MaxInterval / sec)
	for seconds, want := range map[int64]bool{year: true, year + 1: false} {
		n := strconv.FormatInt(seconds, 10)
		require.Equal(t, want, parsePolicies([]string{`"a";q=10;w=` + n})[0].per != 0)
		require.Equal(t, want, learn(got(200, "RateLimit", `"a";r=5;t=`+n)).HasQuota)
	}
}

// The first of two policies of one name counts, also where a problem names them.
func TestI7_OneNameTwice(t *testing.T) {
	l := learn(problemOf(got(429, "RateLimit-Policy", `"a";q=9;w=60, "a";q=8;w=60`, "RateLimit", `"a";r=0;t=10`), "quota-exceeded", `["a"]`))
	require.Empty(t, l.Also)
	l = learn(got(200, "RateLimit-Policy", `"a";q=9;w=60, "a";q=1000;qu="content-bytes"`, "RateLimit", `"a";r=5;t=10`))
	require.True(t, l.HasQuota, "what remains of a name in two units is taken for requests")
}

func TestI7_TheLongestName(t *testing.T) {
	name := strings.Repeat("n", resource.MaxBucket-20)
	require.Equal(t, name, learn(got(200, "RateLimit", `"`+name+`";r=1;t=2`)).Bucket)
	require.NotContains(t, learn(got(200, "RateLimit", `"`+name+`n";r=1;t=2`)).Bucket, "nn")
}

// What a problem names was violated, and nothing else.
func TestI10_OnlyWhatIsNamed(t *testing.T) {
	l := learn(problemOf(got(429, both("r=0;t=30", "r=50;t=3600")...), "quota-exceeded", `["daily"]`))
	require.True(t, l.Spared, "burst has nothing left, and is not what refused")
	require.True(t, l.Also[0].Rejected)
	l = learn(got(429, "RateLimit-Policy", `"burst";q=100;w=60,"daily";q=1000;w=86400`, "RateLimit", `"burst";r=0;t=30`))
	require.False(t, l.Spared)
	require.Empty(t, l.Also, "of daily nothing was told")
}

// Where there is no room for one more quota, the policy that a problem names
// can't be told apart any more, and the whole scope waits.
func TestI10_NamedBeyondWhatFits(t *testing.T) {
	var policies, limits []string
	for i := range resource.MaxAlso + 1 {
		policies = append(policies, `"p`+strconv.Itoa(i)+`";q=9;w=60`)
		limits = append(limits, `"p`+strconv.Itoa(i)+`";r=5;t=6`)
	}
	full := []string{"RateLimit-Policy", strings.Join(policies, ","), "RateLimit", strings.Join(limits, ",")}
	l := learn(problemOf(got(429, full...), "quota-exceeded", `["other"]`))
	require.Len(t, l.Also, resource.MaxAlso)
	require.True(t, l.Wide)
}

// The bound of a field is that of all its lines together.
func TestI4_TheLinesOfAFieldAreOne(t *testing.T) {
	line := `"a";r=4;t=5` + strings.Repeat(" ", maxField/2)
	require.False(t, learn(got(200, "RateLimit", line, "RateLimit", line)).HasQuota)
}

// An item that says nothing ends no list.
func TestI4_ItemsBehindABadOne(t *testing.T) {
	for _, bad := range []string{`a;q=1;r=1`, `("a");q=1;r=1`, `"a"`} {
		policies := parsePolicies([]string{bad + `, "b";q=2`})
		require.Len(t, policies, 1, bad)
		require.Equal(t, "b", policies[0].name)
		limits, _, _ := parseLimits([]string{bad + `, "b";r=2`})
		require.Len(t, limits, 1, bad)
		require.Equal(t, "b", limits[0].name)
	}
}

// What does not fit any more changes nothing of what does.
func TestI7_BeyondWhatFits(t *testing.T) {
	var limits []string
	for i := range resource.MaxAlso + 2 {
		limits = append(limits, `"p`+strconv.Itoa(i)+`";r=5;t=`+strconv.Itoa(i))
	}
	l := learn(got(200, "RateLimit", strings.Join(append(limits, `"p0";r=0;t=1`), ",")))
	require.Zero(t, l.Remaining, "also of those behind it")
	require.Len(t, l.Also, resource.MaxAlso)
	for i, q := range l.Also {
		require.Equal(t, at(time.Duration(i+1)*sec), q.Reset)
	}
}
