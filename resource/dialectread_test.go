package resource

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func formatFloat(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }

func TestAnswer_ReadsHeaders(t *testing.T) {
	a := got(200, "A", " 12.9 ", "B", "-1", "C", "1e3", "D", strings.Repeat("9", 40), "E", unix(90*sec), "F", httpDate(90*sec), "G", "2026-01-01T00:01:30Z", "H", "", "Retry-After", "30", "Retry-After", "60")
	n, ok := a.Count("d")
	require.True(t, ok)
	require.GreaterOrEqual(t, n, int64(1<<60), "it saturates")
	for name, want := range map[string]int64{"a": 12, "E": epoch + 90} {
		n, ok := a.Count(name)
		require.True(t, ok, name)
		require.Equal(t, want, n, name)
	}
	for _, name := range []string{"B", "C", "F", "H", "I"} {
		_, ok := a.Count(name)
		require.False(t, ok, name)
		_, ok = a.Seconds(name)
		require.False(t, ok, name)
		_, ok = a.Unix(name)
		require.False(t, ok, name)
	}
	wait, ok := a.Seconds("a")
	require.True(t, ok)
	require.Equal(t, 13*sec, wait)
	wait, ok = a.Seconds("D")
	require.True(t, ok)
	require.Equal(t, farFuture.Truncate(sec), wait, "it saturates")
	_, ok = a.Unix("A")
	require.False(t, ok, "no instant")
	when, ok := a.Unix("e")
	require.True(t, ok)
	require.Equal(t, at(90*sec), when)
	for _, name := range []string{"f", "G"} {
		when, ok = a.Date(name)
		require.True(t, ok)
		require.Equal(t, at(90*sec), when)
	}
	_, ok = a.Date("E")
	require.False(t, ok)
	until, odd, ok := a.RetryAfter()
	require.True(t, ok)
	require.Empty(t, odd)
	require.Equal(t, at(60*sec), until)
	empty := Answer{}
	_, ok = empty.Count("A")
	require.False(t, ok, "without any header")
}

func TestLesson_QuotasOfNonsense(t *testing.T) {
	var l Lesson
	a := got(200, "Date", httpDate(30*sec))
	for _, ok := range []bool{
		l.QuotaFor(a, -1, 1, sec), l.QuotaFor(a, 1, -1, sec), l.QuotaFor(a, 1, 1, MaxInterval+1), l.QuotaFor(a, 1, 1, math.MaxInt64),
		l.QuotaUntil(a, 1, 1, at(MaxInterval+31*sec)),
	} {
		require.False(t, ok)
	}
	require.Equal(t, Lesson{}, l)
	require.True(t, l.QuotaFor(a, 3, 2, -sec))
	require.Equal(t, at(0), l.Reset, "past is now")
	require.True(t, l.QuotaUntil(a, 3, 2, at(90*sec)))
	require.Equal(t, at(60*sec), l.Reset, "on the clock of this process")
	require.Equal(t, at(90*sec), l.Window, "on the origin's")
	a.Received = time.Now()
	require.True(t, l.QuotaFor(a, 3, 2, sec))
	require.Contains(t, l.Reset.String(), " m=", "the monotonic reading stays")
	require.NotContains(t, l.Window.String(), " m=")
}

func TestLesson_Refuse(t *testing.T) {
	var l Lesson
	l.Refuse(got(429), SecondaryLimit, true, "it said so")
	require.Equal(t, Lesson{Kind: SecondaryLimit, Wide: true, Fallback: true, Evidence: "it said so"}, l)
	l.Refuse(got(429, "Retry-After", unix(5*sec)), OverloadLimit, false, "it said so")
	require.Equal(t, Lesson{Kind: OverloadLimit, Until: at(5 * sec), Evidence: "it said so, retry-after Unix seconds in Retry-After"}, l)
}

// Who learns what where one request drew from several quotas.
func TestI7_EachQuotaLearnsItsOwn(t *testing.T) {
	l := Lesson{
		Named: true, Bucket: "burst", HasQuota: true, Limit: 100, Remaining: 40, Reset: at(60 * sec), Window: at(60 * sec),
		Also: []Quota{
			{Bucket: "daily", Limit: 1000, Remaining: 0, Reset: at(3600 * sec), Window: at(3600 * sec), Spacing: 86 * sec, Rejected: true, Until: at(3601 * sec)},
			{Bucket: "bytes", Rejected: true},
			{Bucket: "hourly", Limit: 10, Remaining: 9, Reset: at(600 * sec), Window: at(600 * sec)},
		},
		Kind: PrimaryLimit, Until: at(3601 * sec), Spared: true, Concurrency: 3, Evidence: "e",
	}
	scope, own := l.Split(true)
	require.Equal(t, NoLimit, scope.Kind)
	require.Equal(t, NoLimit, own.Kind, "it was not this one")
	require.True(t, own.Failure && own.HasQuota, "but it is no forgiveness either")
	daily, bytes, hourly := l.For(&l.Also[0]), l.For(&l.Also[1]), l.For(&l.Also[2])
	require.Equal(t, PrimaryLimit, daily.Kind)
	require.Equal(t, at(3601*sec), daily.Until)
	require.Equal(t, 86*sec, daily.Spacing)
	require.True(t, bytes.Kind == PrimaryLimit && bytes.Fallback && !bytes.HasQuota)
	require.True(t, hourly.Kind == NoLimit && hourly.Failure && hourly.HasQuota)
	require.Equal(t, "hourly", hourly.Bucket)
	for _, c := range []struct {
		l    Lesson
		park time.Time
	}{{daily, at(3601 * sec)}, {bytes, at(62 * sec)}, {hourly, time.Time{}}, {own, time.Time{}}} {
		b := Bucket{}
		b.Take()
		b.Settle(&c.l, at(sec), at(2*sec), false)
		require.Equal(t, c.park, b.Park, c.l.Bucket)
	}
	l.Wide = true
	scope, own = l.Split(true)
	require.Equal(t, PrimaryLimit, scope.Kind)
	require.Equal(t, NoLimit, own.Kind)
	wide := l.For(&l.Also[0])
	require.Equal(t, NoLimit, wide.Kind, "the scope has it")
	l.Kind = NoLimit
	served := l.For(&l.Also[0])
	require.False(t, served.Failure)
}

// What a dialect of the user's says of further quotas is bounded like the rest.
func TestD22_ForeignQuotasAreBounded(t *testing.T) {
	say := func(status int, quotas ...Quota) Lesson {
		p := Parser{Dialect: Dialect{Name: "mine", Read: func(_ *Answer, l *Lesson) {
			l.Also, l.Spared, l.Spacing, l.Concurrency = quotas, true, -1, -1
		}}}
		return p.Lesson(got(status))
	}
	l := say(200, Quota{}, Quota{Bucket: strings.Repeat("b", MaxBucket+1)}, Quota{Bucket: "b", Limit: -1}, Quota{Bucket: "b", Remaining: -1}, Quota{Bucket: "b", Spacing: -1})
	require.Equal(t, []Quota{{Bucket: "b"}}, l.Also)
	require.False(t, l.Spared, "none of them rejected it")
	require.Zero(t, l.Spacing)
	require.Zero(t, l.Concurrency)
	many := make([]Quota, 20)
	for i := range many {
		many[i].Bucket = "b" + strconv.Itoa(i)
	}
	many[0].Rejected = true
	l = say(200, many...)
	require.Len(t, l.Also, MaxAlso)
	require.True(t, l.Spared)
	require.Nil(t, say(401, many...).Also, "not its quotas")
	require.False(t, say(200).Spared)
}
