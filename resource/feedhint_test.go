package resource

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rss is a feed whose channel has these elements before its items.
func rss(channel string) []byte {
	return []byte(`<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:sy="http://purl.org/rss/1.0/modules/syndication/"><channel><title>T</title>` + channel + `
<item><title>x</title><ttl>9</ttl></item></channel></rss>`)
}

func TestLFeeds_WhatIsRead(t *testing.T) {
	base := time.Date(2000, 1, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		body []byte
		want Hint
	}{
		"ttl in minutes":     {rss(`<ttl>90</ttl>`), Hint{Interval: 90 * time.Minute}},
		"ttl, spaces, CDATA": {rss("<ttl> <![CDATA[ 90 ]]>\n</ttl>"), Hint{Interval: 90 * time.Minute}},
		"ttl beyond a year":  {rss(`<ttl>99999999999999999999</ttl>`), Hint{Interval: MaxInterval}},
		"ttl of nonsense":    {rss(`<ttl>-5</ttl><ttl>soon</ttl><ttl></ttl>`), Hint{}},
		"skipHours":          {rss(`<skipHours><hour>0</hour><hour>23</hour><hour> 07 </hour><hour>25</hour><hour>-1</hour></skipHours>`), Hint{SkipHours: 1 | 1<<7 | 1<<23}},
		"24 is midnight":     {rss(`<skipHours><hour>24</hour></skipHours>`), Hint{SkipHours: 1}},
		"skipDays":           {rss(`<skipDays><day>Saturday</day><day>sunday</day><day>Caturday</day></skipDays>`), Hint{SkipDays: 1<<time.Saturday | 1<<time.Sunday}},
		"all of them":        {rss(`<skipDays>` + days("Monday Tuesday Wednesday Thursday Friday Saturday Sunday") + `</skipDays>`), Hint{}},
		"twice an hour":      {rss(`<sy:updatePeriod>hourly</sy:updatePeriod><sy:updateFrequency>2</sy:updateFrequency>`), Hint{Interval: 30 * time.Minute}},
		"a period alone":     {rss(`<sy:updatePeriod>Weekly</sy:updatePeriod>`), Hint{Interval: 7 * 24 * time.Hour}},
		"a frequency alone":  {rss(`<sy:updateFrequency>4</sy:updateFrequency>`), Hint{Interval: 6 * time.Hour}},
		"monthly, with base": {rss(`<sy:updatePeriod>monthly</sy:updatePeriod><sy:updateBase>2000-01-01T12:00+00:00</sy:updateBase>`), Hint{Interval: 30 * 24 * time.Hour, Base: base}},
		"yearly":             {rss(`<sy:updatePeriod>yearly</sy:updatePeriod><sy:updateBase>2000-01-01T13:00:00+01:00</sy:updateBase>`), Hint{Interval: 365 * 24 * time.Hour, Base: base}},
		"a base of nonsense": {rss(`<sy:updatePeriod>daily</sy:updatePeriod><sy:updateBase>then</sy:updateBase>`), Hint{Interval: 24 * time.Hour}},
		"a base in 1970":     {rss(`<sy:updatePeriod>daily</sy:updatePeriod><sy:updateBase>1970-01-01</sy:updateBase>`), Hint{Interval: 24 * time.Hour, Base: time.Unix(86400, 0).UTC()}},
		"a base alone":       {rss(`<sy:updateBase>2000-01-01T12:00+00:00</sy:updateBase>`), Hint{}},
		"fortnightly":        {rss(`<sy:updatePeriod>fortnightly</sy:updatePeriod>`), Hint{}},
		"too frequently":     {rss(`<sy:updatePeriod>hourly</sy:updatePeriod><sy:updateFrequency>9999999</sy:updateFrequency>`), Hint{}},
		"never":              {rss(`<sy:updatePeriod>hourly</sy:updatePeriod><sy:updateFrequency>0</sy:updateFrequency>`), Hint{Interval: time.Hour}},
		"the longer counts":  {rss(`<ttl>60</ttl><sy:updatePeriod>hourly</sy:updatePeriod><sy:updateFrequency>4</sy:updateFrequency><sy:updateBase>2000-01-01</sy:updateBase>`), Hint{Interval: time.Hour}},
		"behind an item":     {rss(`<item/><ttl>90</ttl>`), Hint{}},
		"behind an entry":    {[]byte(`<feed><entry/><sy:updatePeriod>hourly</sy:updatePeriod></feed>`), Hint{}},
		"a text in parts":    {rss(`<ttl>` + strings.Repeat("0", 40) + `<!-- -->` + strings.Repeat("0", 40) + `5</ttl>`), Hint{}},
		"beside the channel": {[]byte(`<rss><sy:updatePeriod>hourly</sy:updatePeriod><x><sy:updatePeriod>daily</sy:updatePeriod></x></rss>`), Hint{}},
		"below the channel":  {rss(`<image><sy:updatePeriod>hourly</sy:updatePeriod></image>`), Hint{}},
		"below the feed":     {[]byte(`<feed><author><sy:updatePeriod>hourly</sy:updatePeriod></author></feed>`), Hint{}},
		"in something else":  {rss(`<x><hour>3</hour><day>Monday</day></x>`), Hint{}},
		"both the same":      {rss(`<ttl>60</ttl><sy:updatePeriod>hourly</sy:updatePeriod><sy:updateBase>2000-01-01T12:00+00:00</sy:updateBase>`), Hint{Interval: time.Hour, Base: base}},
		"elsewhere":          {rss(`<image><ttl>90</ttl><skipHours><hour>1</hour></skipHours></image><hour>2</hour><day>Monday</day>`), Hint{}},
		"another namespace":  {rss(`<x:updatePeriod xmlns:x="urn:x">hourly</x:updatePeriod>`), Hint{}},
		"undeclared prefix":  {[]byte(`<rss><channel><sy:updatePeriod>hourly</sy:updatePeriod></channel></rss>`), Hint{Interval: time.Hour}},
		"RSS 1.0": {[]byte(`<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/" xmlns:s="http://purl.org/rss/1.0/modules/syndication/">
			<channel rdf:about="x"><s:updatePeriod>hourly</s:updatePeriod></channel><item><s:updatePeriod>daily</s:updatePeriod></item></rdf:RDF>`), Hint{Interval: time.Hour}},
		"Atom": {[]byte(`<feed xmlns="http://www.w3.org/2005/Atom" xmlns:sy="http://purl.org/rss/1.0/modules/syndication/"><title/><ttl>5</ttl><channel><ttl>5</ttl></channel>
			<sy:updatePeriod>daily</sy:updatePeriod><entry><sy:updatePeriod>hourly</sy:updatePeriod></entry></feed>`), Hint{Interval: 24 * time.Hour}},
		"Latin-1":                     {[]byte("<?xml version='1.0' encoding='ISO-8859-1'?><rss><channel><title>caf\xe9</title><ttl>60</ttl></channel></rss>"), Hint{Interval: time.Hour}},
		"cut off":                     {[]byte(`<rss><channel><ttl>60</ttl><title>T`), Hint{Interval: time.Hour}},
		"malformed":                   {[]byte(`<rss><channel><ttl>60</ttl><p>&nbsp;<br></channel><ttl>90</ttl><<`), Hint{Interval: time.Hour}},
		"behind the bound":            {rss(strings.Repeat(" ", maxFeedHead) + `<ttl>60</ttl>`), Hint{}},
		"deep":                        {[]byte(`<rss><channel>` + strings.Repeat("<a>", 20000)), Hint{}},
		"a page":                      {[]byte(`<html><channel><ttl>60</ttl></channel></html>`), Hint{}},
		"JSON":                        {[]byte(`{"ttl": 60}`), Hint{}},
		"nothing":                     {nil, Hint{}},
		"a document type and a style": {[]byte(`<!DOCTYPE rss [<!ENTITY a "b">]><?xml-stylesheet href="x"?><rss><channel><ttl>60</ttl></channel></rss>`), Hint{Interval: time.Hour}},
	} {
		h, ok := FeedHint(c.body)
		require.Equal(t, c.want, h, name)
		require.Equal(t, !c.want.IsZero(), ok, name)
	}
}

func days(names string) string {
	return "<day>" + strings.ReplaceAll(names, " ", "</day><day>") + "</day>"
}

func TestLFeeds_NextAllowedInstant(t *testing.T) {
	// The epoch of these tests is a Thursday, 00:00 UTC.
	weekend := uint8(1<<time.Saturday | 1<<time.Sunday)
	for name, c := range map[string]struct {
		h           Hint
		after, want time.Duration
	}{
		"nothing skipped":         {Hint{Interval: time.Hour}, 90 * sec, 90 * sec},
		"in an allowed hour":      {Hint{SkipHours: 1 << 1}, 90 * sec, 90 * sec},
		"in a skipped hour":       {Hint{SkipHours: 1 << 0}, 90 * sec, time.Hour},
		"the hour before it":      {Hint{SkipHours: 1 << 1}, time.Hour - 1, time.Hour - 1},
		"at its beginning":        {Hint{SkipHours: 1 << 1}, time.Hour, 2 * time.Hour},
		"several in a row":        {Hint{SkipHours: 1<<0 | 1<<1 | 1<<2 | 1<<23}, 0, 3 * time.Hour},
		"over midnight":           {Hint{SkipHours: 1<<22 | 1<<23 | 1<<0}, 22 * time.Hour, 25 * time.Hour},
		"all but one":             {Hint{SkipHours: allHours &^ (1 << 5)}, 6 * time.Hour, 29 * time.Hour},
		"a day":                   {Hint{SkipDays: 1 << time.Thursday}, time.Hour, 24 * time.Hour},
		"a weekend":               {Hint{SkipDays: weekend}, 50 * time.Hour, 96 * time.Hour},
		"a weekend, and then":     {Hint{SkipDays: weekend, SkipHours: 1<<0 | 1<<1}, 50 * time.Hour, 98 * time.Hour},
		"one hour a week":         {Hint{SkipDays: allDays &^ (1 << time.Thursday), SkipHours: allHours &^ 1}, time.Hour, 7 * 24 * time.Hour},
		"all hours is no hour":    {Hint{SkipHours: allHours}, sec, sec},
		"all days is no day":      {Hint{SkipDays: allDays, SkipHours: 1}, sec, time.Hour},
		"bits that mean nothing":  {Hint{SkipHours: 1 << 30, SkipDays: 1 << 7}, sec, sec},
		"all, and such bits, too": {Hint{SkipHours: math.MaxUint32, SkipDays: math.MaxUint8}, sec, sec},
	} {
		require.Equal(t, at(c.want), c.h.Next(at(c.after)), name)
	}
	local := at(90 * sec).In(time.FixedZone("elsewhere", 5*3600+1800))
	next := Hint{SkipHours: 1}.Next(local)
	require.True(t, next.Equal(at(time.Hour)), "hours are those of UTC: %v", next)
	now := time.Now()
	require.Contains(t, Hint{SkipHours: 1 << now.UTC().Hour()}.Next(now).String(), " m=", "the monotonic reading stays")
}

// hinted is a feed's 200.
func hinted(h Hint, pairs ...string) *Answer {
	a := got(200, pairs...)
	a.Hint = h
	return a
}

// Peer miniflux-2: freshness and ttl count after a 200 only; a 304 falls back
// to the shortest interval.
func TestLFeeds_TheHintLengthensTheWaitOn200And304(t *testing.T) {
	r := newborn(t)
	r.Interval = time.Minute
	poll(r, hinted(Hint{Interval: time.Hour}, "Etag", `"1"`))
	for range 3 {
		require.Equal(t, at(time.Hour), r.NotBefore)
		require.Equal(t, ReasonFeed, r.Why)
		require.Equal(t, "L-Feeds", r.Why.Key())
		require.Equal(t, WaitingForInterval, r.State)
		poll(r, got(304, "Etag", `"1"`)) // has no body: the hint of the last 200 is kept
	}
	poll(r, got(503))
	require.Equal(t, at(time.Minute), r.NotBefore, "a failure is asked about again as others are")
	require.Equal(t, time.Hour, r.Hint.Interval)
	poll(r, got(200))
	require.Equal(t, at(time.Minute), r.NotBefore, "a 200 that says nothing clears it")
	require.True(t, r.Hint.IsZero())

	r.Interval = 2 * time.Hour
	poll(r, hinted(Hint{Interval: time.Hour}))
	require.Equal(t, at(2*time.Hour), r.NotBefore, "the longest counts")
	require.Equal(t, ReasonInterval, r.Why)
	r.Interval = 0
	poll(r, hinted(Hint{Interval: time.Hour}, "Retry-After", "7200"))
	require.Equal(t, at(2*time.Hour), r.NotBefore)
	require.Equal(t, Parked, r.State, "a wait that the origin asked for")
}

func TestLFeeds_TheIntervalIsClampedAndTheSkippedHoursAreNot(t *testing.T) {
	r := newborn(t)
	poll(r, hinted(Hint{Interval: 365 * 24 * time.Hour}))
	require.Equal(t, at(DefaultFreshnessCap), r.NotBefore)
	p := Parser{FreshnessCap: time.Hour}
	a := hinted(Hint{Interval: 24 * time.Hour})
	l := p.Lesson(a)
	p.Apply(r, a, &l)
	require.Equal(t, at(time.Hour), r.NotBefore)
	require.Equal(t, 24*time.Hour, r.Hint.Interval, "kept as it was told")
	a = hinted(Hint{SkipDays: 1<<time.Thursday | 1<<time.Friday})
	p.Apply(r, a, &l)
	require.Equal(t, at(48*time.Hour), r.NotBefore)
	require.Equal(t, ReasonFeed, r.Why)
	a = hinted(Hint{Interval: -5, SkipHours: math.MaxUint32, SkipDays: math.MaxUint8, Base: at(0)})
	p.Apply(r, a, &l)
	require.True(t, r.Hint.IsZero(), "nonsense is none")
	_, err := r.MarshalBinary()
	require.NoError(t, err)
}

func TestLFeeds_SkippedHoursCountWhateverTheAnswer(t *testing.T) {
	skip := Hint{SkipHours: 1 << 0}
	for name, a := range map[string]*Answer{
		"unchanged": got(304), "failed": got(502), "not found": got(404), "limited": got(429, "Retry-After", "60"), "no answer": got(0), "accepted": got(202),
	} {
		r := newborn(t)
		poll(r, hinted(skip))
		require.Equal(t, at(time.Hour), r.NotBefore)
		poll(r, a)
		require.Equal(t, at(time.Hour), r.NotBefore, name)
		require.Equal(t, ReasonFeed, r.Why, name)
	}
	r := newborn(t)
	poll(r, hinted(skip))
	poll(r, away(302, other, ""))
	require.Equal(t, at(0), r.NotBefore, "a hop goes on")
	r = newborn(t)
	poll(r, hinted(skip))
	poll(r, got(400))
	require.Equal(t, Error, r.State)
}

func TestLFeeds_ABaseSaysWhenTheUpdatesAre(t *testing.T) {
	for _, c := range []struct {
		base, want time.Duration
	}{
		{-40 * time.Minute, 20 * time.Minute}, {-100 * 24 * time.Hour, time.Hour}, {10 * time.Minute, 10 * time.Minute}, {0, time.Hour}, {25 * time.Hour, time.Hour},
	} {
		r := newborn(t)
		poll(r, hinted(Hint{Interval: time.Hour, Base: at(c.base)}))
		require.Equal(t, at(c.want), r.NotBefore, c.base)
	}
	r := newborn(t)
	r.Interval = 30 * time.Minute
	poll(r, hinted(Hint{Interval: time.Hour, Base: at(20 * time.Minute)}))
	require.Equal(t, at(30*time.Minute), r.NotBefore, "never sooner than anything else asks for")
}

// Everybody who reads the same feed is told the same instant.
func TestLFeeds_ReadersDoNotComeTogether(t *testing.T) {
	a := hinted(Hint{SkipHours: 1<<0 | 1<<1})
	a.Jitter = 0.5
	r := newborn(t)
	poll(r, a)
	require.Equal(t, at(2*time.Hour+15*sec), r.NotBefore)
	a.Hint = Hint{Interval: time.Hour, Base: at(0)}
	poll(r, a)
	require.Equal(t, at(time.Hour+15*sec), r.NotBefore)
	a.Hint = Hint{Interval: time.Hour}
	poll(r, a)
	require.Equal(t, at(time.Hour), r.NotBefore, "an interval from one's own last poll needs no spreading")
}

func TestLFeeds_JSONForPeople(t *testing.T) {
	h := Hint{Interval: 90 * time.Minute, SkipHours: 1<<3 | 1<<23, SkipDays: 1<<time.Sunday | 1<<time.Friday, Base: at(0)}
	text, err := json.Marshal(h)
	require.NoError(t, err)
	require.JSONEq(t, `{"interval":"1h30m0s","skip_hours":[3,23],"skip_days":["sunday","friday"],"base":"2026-01-01T00:00:00Z"}`, string(text))
	var back Hint
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, h, back)
	for in, want := range map[string]string{
		`{"interval":"soon"}`:    `resource: hint.interval: "soon": want a duration of 0 or more, such as 1m30s`,
		`{"skip_hours":[24]}`:    `resource: hint.skip_hours: 24: want hours from 0 to 23`,
		`{"skip_hours":[-1]}`:    `resource: hint.skip_hours: -1: want hours from 0 to 23`,
		`{"skip_days":["Luni"]}`: `resource: hint.skip_days: "Luni": want English names of weekdays`,
	} {
		require.EqualError(t, json.Unmarshal([]byte(in), &back), want)
		require.Equal(t, h, back)
	}
	require.Error(t, json.Unmarshal([]byte(`[]`), &back))
	text, err = json.Marshal(Resource{})
	require.NoError(t, err)
	require.NotContains(t, string(text), "hint")
}
