package resource

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// One crawler strips the quotes and the W/ of a tag before it sends it back, and
// never gets a 304.
//
// Peer ghtorrent-1: the quotes, the W/ and more are taken out of a tag before
// it is sent back.
func TestG4_ValidatorsByteForByte(t *testing.T) {
	for _, etag := range []string{
		`"abc"`, `W/"7a3f0c"`, `""`, `W/""`, `unquoted`, `"with \"inner\" quotes"`, `w/"lower case"`, `"é"`, "\"\xff\"", ` "padded" `,
	} {
		r := newborn(t)
		poll(r, got(200, "Etag", etag))
		require.Equal(t, etag, r.Validators.ETag)
		b, err := r.MarshalBinary()
		require.NoError(t, err)
		var back Resource
		require.NoError(t, back.UnmarshalBinary(b))
		require.Equal(t, etag, back.Validators.ETag)
	}
}

func TestH5_WeakComparison(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`W/"1"`, `W/"1"`, true}, {`W/"1"`, `W/"2"`, false}, {`W/"1"`, `"1"`, true}, {`"1"`, `"1"`, true},
		{`""`, `W/""`, true}, {`"a"`, `"A"`, false}, {`w/"1"`, `W/"1"`, false},
	} {
		require.Equal(t, c.want, weakEqual(c.a, c.b), c)
		require.Equal(t, c.want, weakEqual(c.b, c.a), c)
	}
	r := newborn(t)
	poll(r, got(200, "Etag", `""`))
	require.False(t, r.Validators.IsZero(), `"" is a tag`)
}

func TestH7_LastModifiedIsEchoed(t *testing.T) {
	for _, lm := range []string{"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "1994-11-06", "yesterday"} {
		r := newborn(t)
		poll(r, got(200, "Last-Modified", lm))
		require.Equal(t, lm, r.Validators.LastModified)
		poll(r, got(304, "Last-Modified", lm))
		require.Equal(t, lm, r.Validators.LastModified)
	}
}

func TestH8_MergingA304(t *testing.T) {
	const a, b = "Thu, 01 Jan 2026 00:00:00 GMT", "Fri, 02 Jan 2026 00:00:00 GMT"
	for _, c := range []struct {
		name    string
		had     Validators
		headers []string
		want    Validators
		outcome Outcome
	}{
		{"nothing new", Validators{`"1"`, a}, nil, Validators{`"1"`, a}, NotModified},
		{"same tag, new date", Validators{`"1"`, a}, []string{"Etag", `"1"`, "Last-Modified", b}, Validators{`"1"`, b}, NotModified},
		{"new date for a tag unsaid", Validators{`"1"`, a}, []string{"Last-Modified", b}, Validators{`"1"`, b}, NotModified},
		{"became weak", Validators{`"1"`, ""}, []string{"Etag", `W/"1"`}, Validators{`W/"1"`, ""}, NotModified},
		{"became strong", Validators{`W/"1"`, ""}, []string{"Etag", `"1"`}, Validators{`"1"`, ""}, NotModified},
		{"first tag", Validators{"", a}, []string{"Etag", `"1"`, "Last-Modified", a}, Validators{`"1"`, a}, NotModified},
		{"another strong tag", Validators{`"1"`, a}, []string{"Etag", `"2"`}, Validators{}, Failed},
		{"a strong tag for a weak one", Validators{`W/"1"`, a}, []string{"Etag", `"2"`}, Validators{}, Failed},
		// Storing what belongs to a representation that never came would make its
		// changes disappear behind the next 304.
		{"another weak tag", Validators{`W/"1"`, a}, []string{"Etag", `W/"2"`, "Last-Modified", b}, Validators{`W/"1"`, a}, NotModified},
		{"another date, which is all there is", Validators{"", a}, []string{"Last-Modified", b}, Validators{"", a}, NotModified},
		{"another date with a tag", Validators{"", a}, []string{"Last-Modified", b, "Etag", `"2"`}, Validators{"", a}, NotModified},
	} {
		r := newborn(t)
		r.Validators = c.had
		res, _ := poll(r, got(304, c.headers...))
		require.Equal(t, c.outcome, res.Outcome, c.name)
		require.Equal(t, c.want, r.Validators, c.name)
		require.False(t, res.Publish, c.name)
	}
	r := newborn(t)
	r.Validators = Validators{`"1"`, ""}
	poll(r, got(304, "Cache-Control", "max-age=600"))
	require.Equal(t, at(10*time.Minute), r.NotBefore, "a new max-age counts")
	poll(r, got(304, "Etag", `"2"`))
	require.Equal(t, ReasonProtocol, r.Why)
}

func TestH9_304ToAnUnconditionalRequest(t *testing.T) {
	r := newborn(t)
	r.Validators, r.Failures = Validators{ETag: `"x"`}, 1
	a := got(304, "Etag", `"x"`)
	a.Conditional = false
	res, _ := poll(r, a)
	require.Equal(t, Result{Outcome: Failed}, res)
	require.True(t, r.Validators.IsZero(), "asked unconditionally next")
	require.Equal(t, WaitingForServerAlive, r.State)
	require.Equal(t, ReasonProtocol, r.Why)
	require.EqualValues(t, 2, r.Failures)
	require.Zero(t, r.Quiet)
}

// A feed that stops sending validators was asked with its old ones for ever.
func TestH10_200WithoutValidatorsClears(t *testing.T) {
	r := newborn(t)
	poll(r, got(200, "Etag", `"1"`, "Last-Modified", httpDate(0)))
	poll(r, got(200, "Last-Modified", httpDate(time.Hour)))
	require.Equal(t, Validators{LastModified: httpDate(time.Hour)}, r.Validators)
	poll(r, got(200))
	require.True(t, r.Validators.IsZero())
}

func TestH11_SameTagOrBodyIsUnchanged(t *testing.T) {
	digest := func(a *Answer, d uint64) *Answer { a.Digest = d; return a }
	r := newborn(t)
	steps := []struct {
		name string
		a    *Answer
		want Outcome
	}{
		{"first", digest(got(200, "Etag", `"1"`), 11), Modified},
		{"same tag", digest(got(200, "Etag", `"1"`), 12), NotModified},
		{"same body, new tag", digest(got(200, "Etag", `"2"`), 11), NotModified},
		{"both new", digest(got(200, "Etag", `"3"`), 13), Modified},
		{"no tag, same body", digest(got(200), 13), NotModified},
		{"no tag, new body", digest(got(200), 14), Modified},
		{"nothing to tell by", got(200), Modified},
		{"nothing again", got(200), Modified},
	}
	for _, s := range steps {
		res, _ := poll(r, s.a)
		require.Equal(t, s.want, res.Outcome, s.name)
		require.Equal(t, s.want == Modified, res.Publish, s.name)
	}
	require.EqualValues(t, 5, r.Modified)
	poll(r, digest(got(200), 15))
	poll(r, digest(got(200), 15))
	poll(r, digest(got(200), 15))
	require.EqualValues(t, 2, r.Quiet)
}

func TestH15_VaryOnAllMatchesNothing(t *testing.T) {
	for _, c := range []struct {
		lines []string
		kept  bool
	}{
		{[]string{"Vary", "Accept, Authorization"}, true},
		{[]string{"Vary", "Accept*"}, true},
		{[]string{"Vary", "*"}, false},
		{[]string{"Vary", "Accept", "Vary", "Accept-Encoding, * "}, false},
	} {
		r := newborn(t)
		poll(r, got(200, append(c.lines, "Etag", `"1"`)...))
		require.Equal(t, c.kept, !r.Validators.IsZero(), c.lines)
		r.Validators = Validators{ETag: `"1"`}
		poll(r, got(304, append(c.lines, "Etag", `"1"`)...))
		require.Equal(t, c.kept, !r.Validators.IsZero(), c.lines)
	}
}

// What no request could carry, or what is beyond the bound, would make every
// later request, or every later encoding, fail.
func TestH5_ValidatorsThatCannotBeSentBackAreNotKept(t *testing.T) {
	for name, etag := range map[string]string{
		"line break": "\"a\r\nX-Evil: 1\"", "zero": "\"\x00\"", "delete": "\"\x7f\"", "too long": `"` + strings.Repeat("x", MaxValidator) + `"`,
	} {
		r := newborn(t)
		poll(r, got(200, "Etag", etag, "Last-Modified", etag))
		require.True(t, r.Validators.IsZero(), name)
	}
	r := newborn(t)
	longest := strings.Repeat("x", MaxValidator)
	poll(r, got(200, "Etag", longest))
	require.Equal(t, longest, r.Validators.ETag)
}
