package firehose_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/firehose/feeds"
	"github.com/cannedos/cannedos/resource"
)

// When page one is new all are asked, each with its own validators, byte for byte;
// a page may be unchanged. When page one is unchanged nothing else is asked.
//
// Peer gharchive-4: it reads one page and remembers one, and follows no link.
func TestE6_EachPageHasValidatorsOfItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBoard(span(9, 1)...)
		r := read(t, b, firehose.Config{}, firehose.EventsConfig[feeds.Event]{})
		until(30 * time.Second)
		require.Equal(t, up(1, 9), r.items.ids())
		for page := 1; page <= 3; page++ {
			require.Len(t, b.all(pageOf(page)), 1)
			require.Empty(t, b.all(pageOf(page))[0].Header["If-None-Match"])
		}
		until(90 * time.Second)
		require.Len(t, b.all(""), 4, "page one is unchanged")

		b.do(func() { b.ids[0] = "10" }) // page one alone has changed
		until(150 * time.Second)
		require.Equal(t, append(up(1, 9), "10"), r.items.ids())
		for page := 2; page <= 3; page++ {
			calls := b.all(pageOf(page))
			require.Len(t, calls, 2)
			tag := fmt.Sprintf(`W/"%d-%x"`, page, map[int]string{2: "6.5.4", 3: "3.2.1"}[page])
			require.Equal(t, []string{tag}, calls[1].Header["If-None-Match"])
			require.Equal(t, []string{"the time of " + tag}, calls[1].Header["If-Modified-Since"])
		}
		require.Empty(t, r.items.gaps())
		require.EqualValues(t, 6, r.events.Stats().Pages)
		r.settled()
	})
}

// The feed ends where no page follows, or the one that is named does not exist.
func TestE1_TheEndOfAFeedIsNoError(t *testing.T) {
	for _, code := range []int{0, 204, 400, 404, 410, 422} {
		bubble(t, func(t *testing.T) {
			b := newBoard(span(6, 1)...)
			b.most = 2
			b.wrong = func(page int, c call) *reply {
				if page == 2 && code != 0 { // it names a page beyond the last
					r := b.page(2, c)
					r.header["Link"] = fmt.Sprintf(`<%s>; rel="next"`, pageOf(3))
					return &r
				}
				if page == 3 {
					return new(status(code, "X-Poll-Interval", "60"))
				}
				return nil
			}
			r := read(t, b, firehose.Config{}, firehose.EventsConfig[feeds.Event]{})
			until(30 * time.Second)
			b.add("7")
			until(90 * time.Second)
			require.Equal(t, up(1, 7), r.items.ids(), code)
			s := r.events.Stats()
			require.Zero(t, s.Cut, code)
			require.Zero(t, s.Gaps, code)
			require.EqualValues(t, 2, s.Readings)
			b.noEarlier(t, uriFeed, time.Minute)
			require.Less(t, b.times(uriFeed)[1], 62*time.Second, "nobody backs off")
			r.settled()
		})
	}
}

// A feed with a long past is read on to where enough was seen before, and no
// further: but for the first time, up to MaxPages.
//
// Peer go-github-13: the iterator over events reads on to the last page, whatever
// it has seen before.
func TestE3_AReadingEndsWhereAllIsKnown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBoard(span(60, 1)...)
		r := read(t, b, firehose.Config{}, firehose.EventsConfig[feeds.Event]{Overlap: 5, MaxPages: 15})
		until(30 * time.Second)
		require.Equal(t, up(16, 60), r.items.ids())
		require.Len(t, b.all(""), 15)
		b.add("62", "61")
		until(90 * time.Second)
		require.Equal(t, up(16, 62), r.items.ids())
		require.Len(t, b.all(""), 15+3, "62, 61, 60; 59 to 57; and 56, by which five are known")
		require.Empty(t, r.items.gaps())
	})
}

// The size of a page is what the answer shows, whatever was asked for.
//
// Peer gharchive-2: loss is reported only when a page has as many new items as
// were asked for, and more than the server ever gives were asked for.
func TestD12_ThePageIsAsLargeAsItIs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBoard(span(6, 1)...)
		b.wrong = func(page int, c call) *reply {
			if c.URL == uriFeed+"?per_page=500" {
				r := b.page(1, c)
				return &r
			}
			return nil
		}
		r := read(t, b, firehose.Config{Resources: resource.List(uriFeed + "?per_page=500")}, firehose.EventsConfig[feeds.Event]{})
		until(30 * time.Second)
		require.Equal(t, up(1, 6), r.items.ids())
		b.add("7", "8", "9")
		until(90 * time.Second)
		require.Len(t, r.items.ids(), 9)
		require.Empty(t, r.items.gaps())
	})
}

// Pages are requests like any other: at a declared pace they wait in the line,
// under the claim, and nobody sleeps for them.
func TestE6_PagesKeepTheDeclaredPace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBoard(span(9, 1)...)
		other := resource.Spec{URI: "https://c.test/c", Interval: time.Second, Profile: "other"}
		profiles := paced(10 * time.Second)
		profiles["other"] = resource.Profile{}
		b.wrong = func(page int, c call) *reply {
			if c.URL == other.URI {
				return new(status(304))
			}
			return nil
		}
		r := read(t, b, firehose.Config{Workers: 1, Resources: []resource.Spec{{URI: uriFeed}, other}, Profiles: profiles}, firehose.EventsConfig[feeds.Event]{})
		until(5 * time.Second)
		e := r.explain(uriFeed)
		require.Contains(t, e.Queue, "line/")
		require.Equal(t, resource.WaitingForReset, e.State)
		require.Len(t, b.all(uriFeed), 1)
		require.Equal(t, 1, r.Stats().Publishing)
		require.Empty(t, r.items.ids(), "the reading is one")
		until(30 * time.Second)
		require.Equal(t, secs(0, 10, 20), append(append(b.times(pageOf(1)), b.times(pageOf(2))...), b.times(pageOf(3))...))
		require.Equal(t, up(1, 9), r.items.ids())
		until(65 * time.Second)
		require.Equal(t, secs(0, 60), b.times(uriFeed), "the claim was renewed, and the interval counts from page one")
		require.GreaterOrEqual(t, len(b.all(other.URI)), 5, "the only worker does not sleep")
	})
}

// Where no more can be asked for, what there is is published, and a later poll
// reads on where this one stopped, even if page one is unchanged.
func TestE6_ACutReadingIsReadOn(t *testing.T) {
	gone := map[string]string{"X-Ratelimit-Limit": "60", "X-Ratelimit-Remaining": "0", "X-Ratelimit-Used": "60", "X-Ratelimit-Reset": unix(150 * time.Second), "X-Ratelimit-Resource": "core"}
	broken := ok(`[{"id":"5"},`, "")
	cases := map[string]struct {
		one, two reply // as the second reading gets them; zero: as usual
		next     time.Duration
	}{
		"used up":       {one: reply{header: gone}, next: 151 * time.Second},
		"403":           {two: status(403, "Retry-After", "100"), next: 160 * time.Second},
		"429":           {two: status(429, "Retry-After", "100"), next: 160 * time.Second},
		"500":           {two: status(500), next: 120 * time.Second},
		"503":           {two: status(503, "Retry-After", "100"), next: 160 * time.Second},
		"no answer":     {two: reply{err: errReset}, next: 120 * time.Second},
		"broken":        {two: broken, next: 120 * time.Second},
		"cut off":       {two: reply{body: "[", tail: errReset}, next: 120 * time.Second},
		"login page":    {two: reply{body: "<html>", header: map[string]string{"Content-Type": "text/html"}}, next: 120 * time.Second},
		"another scope": {two: status(302, "Location", "https://login.test/"), next: 120 * time.Second},
		"401":           {two: status(401), next: 120 * time.Second},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBoard(span(9, 1)...)
				r := read(t, b, firehose.Config{Resources: []resource.Spec{{URI: uriFeed, MediaType: "application/json"}}}, firehose.EventsConfig[feeds.Event]{})
				until(30 * time.Second)
				b.do(func() {
					b.ids = append(span(15, 10), b.ids...)
					b.wrong = func(page int, k call) *reply {
						switch {
						case c.one.header != nil:
							r := b.page(page, k)
							maps.Copy(r.header, c.one.header)
							if k.At > c.next {
								r.header["X-Ratelimit-Remaining"], r.header["X-Ratelimit-Reset"] = "50", unix(time.Hour)
							}
							return &r
						case page == 2 && k.n == 1 && (c.two.status != 0 || c.two.body != "" || c.two.err != nil):
							return &c.two
						}
						return nil
					}
				})
				until(90 * time.Second)
				require.Equal(t, append(up(1, 9), up(13, 15)...), r.items.ids(), "page one is published")
				require.EqualValues(t, 1, r.events.Stats().Cut)
				r.settled()
				until(c.next + 20*time.Second)
				require.Equal(t, append(append(up(1, 9), up(13, 15)...), up(10, 12)...), r.items.ids())
				require.Zero(t, r.events.Stats().Missing)
				ones, twos := b.all(uriFeed), b.all(pageOf(2))
				require.NotEmpty(t, ones[2].Header.Get("If-None-Match"))
				require.Len(t, twos, map[bool]int{true: 2, false: 3}[c.one.header != nil])
				require.GreaterOrEqual(t, twos[len(twos)-1].At, c.next)
				require.Less(t, twos[len(twos)-1].At, c.next+20*time.Second)
				b.noEarlier(t, uriFeed, time.Minute)
				until(5 * time.Minute)
				require.Len(t, r.items.ids(), 15)
				require.Len(t, b.all(pageOf(3)), 2, "and it is over")
				r.settled()
			})
		})
	}
}

// A page that is redirected within its origin is read where that leads; however
// often it is said to have moved, its URI is the one that the page before names.
func TestE6_APageThatHasMoved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBoard(span(9, 1)...)
		b.wrong = func(page int, c call) *reply {
			if c.URL == pageOf(2) {
				return new(status(301, "Location", uriFeed+"?moved&page=2"))
			}
			return nil
		}
		r := read(t, b, firehose.Config{}, firehose.EventsConfig[feeds.Event]{})
		for n := range 8 {
			until(time.Duration(n)*time.Minute + 30*time.Second)
			require.Len(t, r.items.ids(), 9+n)
			b.do(func() { b.ids[0] = fmt.Sprint(100 + n) })
		}
		require.Zero(t, r.events.Stats().Cut)
		require.NotEmpty(t, b.all(uriFeed + "?moved&page=2")[7].Header.Get("If-None-Match"))
	})
}

// What the answer to a page asks for holds as well as what page one does.
func TestE6_NoPageIsAskedForEarly(t *testing.T) {
	for name, header := range map[string]string{"X-Poll-Interval": "200", "Retry-After": "200", "Cache-Control": "max-age=200"} {
		for _, code := range []int{200, 404, 500} {
			if code != 200 && name != "Retry-After" {
				continue
			}
			bubble(t, func(t *testing.T) {
				b := newBoard(span(9, 1)...)
				b.wrong = func(page int, c call) *reply {
					if page != 2 {
						return nil
					}
					r := b.page(2, c)
					if code != 200 {
						r = status(code)
					}
					r.header[name] = header
					return &r
				}
				r := read(t, b, firehose.Config{}, firehose.EventsConfig[feeds.Event]{})
				for n := range 20 {
					until(time.Duration(n) * 30 * time.Second)
					b.add(fmt.Sprint(100 + n))
				}
				require.Greater(t, len(b.all(pageOf(2))), 2)
				b.noEarlier(t, pageOf(2), 200*time.Second)
				require.NotEqual(t, resource.Fault, r.explain(uriFeed).Kind)
			})
		}
	}
}
