package firehose_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// redirects answers each URL of the map with that status and Location, and
// everything else with a body.
func redirects(code int, where map[string]string) *script {
	return newScript(func(c call) reply {
		if to := where[c.URL]; to != "" {
			return status(code, "Location", to)
		}
		return ok(c.URL+" "+fmt.Sprint(c.n), fmt.Sprintf(`"%d"`, c.n))
	})
}

// Permanent redirects are stored when three polls in a row have confirmed them,
// the others never (rules G-18, H-12, S-301, S-302).
//
// Peer miniflux-11: a 301 is not stored when a feed is refreshed, and a 302 is
// when it is added.
func TestH12_RedirectsInTheSameScope(t *testing.T) {
	for code, stored := range map[int]bool{301: true, 308: true, 302: false, 303: false, 307: false} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := redirects(code, map[string]string{uriA: "/b#part"})
				r := start(t, net, firehose.Config{Resources: resource.List(uriA)})
				until(10*time.Minute - 1)
				require.Len(t, net.all(uriB), 10)
				require.Len(t, r.sink.responses, 10)
				last := r.sink.responses[9]
				require.Equal(t, uriB, last.URL)
				e := r.explain(uriA)
				if stored {
					require.Len(t, net.all(uriA), 3)
					require.Equal(t, uriB, e.URI)
					require.Equal(t, []string{"relocated"}, r.sink.kinds())
					require.EqualValues(t, 13, r.Stats().Requests)
				} else {
					require.Len(t, net.all(uriA), 10)
					require.Equal(t, uriA, e.URI)
					require.Empty(t, r.sink.kinds())
					require.EqualValues(t, 20, r.Stats().Requests)
				}
				require.EqualValues(t, 10, r.Stats().Polls)
			})
		})
	}
}

// Of a chain the permanent ones at its beginning count.
func TestH12_TheBeginningOfAChain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			switch c.URL {
			case uriA:
				return status(301, "Location", "https://a.test/2")
			case "https://a.test/2":
				return status(308, "Location", "/3")
			case "https://a.test/3":
				return status(302, "Location", "/4")
			case "https://a.test/4":
				return status(301, "Location", "/5")
			}
			return ok(fmt.Sprint(c.n), "")
		})
		r := start(t, net, firehose.Config{Resources: resource.List(uriA)})
		until(10 * time.Minute)
		require.Equal(t, "https://a.test/3", r.explain(uriA).URI)
		require.Len(t, net.all("https://a.test/5"), 11)
		require.Len(t, net.all(uriA), 3)
	})
}

// A chain that leads nowhere, in a circle or too far is a failure with a slow
// backoff, and is followed for ten hops at most.
func TestRedirectLoops(t *testing.T) {
	for name, c := range map[string]struct {
		where map[string]string
		most  int
	}{
		"itself":      {map[string]string{uriA: uriA}, 1},
		"circle":      {map[string]string{uriA: uriB, uriB: uriA}, 2},
		"no location": {map[string]string{uriA: "\x00"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := redirects(301, c.where)
				r := start(t, net, firehose.Config{Resources: resource.List(uriA)})
				until(time.Second)
				require.Len(t, net.all(""), c.most)
				e := r.explain(uriA)
				require.Equal(t, resource.WaitingForServerAlive, e.State)
				require.GreaterOrEqual(t, e.Wait, time.Minute)
				until(30 * time.Minute)
				require.Less(t, len(net.all(uriA)), 7)
				require.Empty(t, r.sink.responses)
				require.Equal(t, uriA, r.explain(uriA).URI)
			})
		})
	}
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			return status(302, "Location", fmt.Sprintf("/%d", len(c.URL))+c.URL[len("https://a.test"):])
		})
		start(t, net, firehose.Config{Resources: resource.List(uriA)})
		until(time.Second)
		require.Len(t, net.all(""), 11)
	})
}

// A hop to another origin carries no credential of the first, and counts in the
// bucket of the other scope (rule G-18).
func TestG18_NoCredentialCrossesAnOrigin(t *testing.T) {
	for name, profile := range map[string]resource.Profile{"by origin": {}, "by profile": {Credential: "key"}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := redirects(302, map[string]string{uriA: uriC})
				r := start(t, net, firehose.Config{
					Resources: []resource.Spec{{URI: uriA, Profile: "p", Interval: time.Minute}},
					Profiles:  map[string]resource.Profile{"p": profile},
					Tokens:    resource.Keyring(resource.Fixed("key", bearer(t, "made-up"), "https://a.test")),
				})
				until(5*time.Minute - 1)
				require.Equal(t, secs(0, 60, 120, 180, 240), net.times(uriA))
				require.Equal(t, net.times(uriA), net.times(uriC), "at once")
				for _, c := range net.all(uriA) {
					require.Equal(t, "Bearer made-up", c.Header.Get("Authorization"))
				}
				for _, c := range net.all(uriC) {
					require.Empty(t, c.Header.Get("Authorization"))
				}
				require.Len(t, r.sink.responses, 5)
				require.Equal(t, uriC, r.sink.responses[0].URL)
				require.Equal(t, uriA, r.sink.responses[0].Resource.URI)
				keys := map[string]bool{}
				for _, b := range r.Stats().Buckets {
					keys[b.Key.String()] = true
				}
				require.Equal(t, map[string]bool{"key@https://a.test": true, "https://c.test": true}, keys)
				require.EqualValues(t, 5, r.Stats().Outcomes["moved"])
			})
		})
	}
}

// A hop waits for the bucket that it belongs to: it is not sent while the other
// origin is parked.
func TestG18_AHopWaitsForItsOwnBucket(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			switch {
			case c.URL == uriA && at() > time.Second:
				return status(307, "Location", uriC)
			case c.URL == uriA:
				return ok("", "")
			case at() < time.Second:
				return status(429, "Retry-After", "1000")
			}
			return ok("there", "")
		})
		start(t, net, firehose.Config{Resources: []resource.Spec{{URI: uriA, Interval: 10 * time.Second}, {URI: uriC, Interval: 10 * time.Second}}})
		until(1000*time.Second - 1)
		require.Len(t, net.all(uriC), 1)
		require.Len(t, net.all(uriA), 2)
		until(1200 * time.Second)
		require.Greater(t, len(net.all(uriC)), 20)
	})
}

// A permanent redirect to another origin is stored where no credential of the
// user's choosing would follow it, and else followed each time.
func TestG18_PermanentRedirectsAcrossOrigins(t *testing.T) {
	for name, c := range map[string]struct {
		profile resource.Profile
		from    string
		to      string
		stored  bool
	}{
		"plain":           {resource.Profile{}, uriA, uriC, true},
		"credential":      {resource.Profile{Credential: "key"}, uriA, uriC, false},
		"downgrade":       {resource.Profile{}, uriA, "http://a.test/a", false},
		"upgrade":         {resource.Profile{}, "http://a.test/a", uriA, true},
		"http to another": {resource.Profile{}, "http://a.test/a", uriC, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := redirects(301, map[string]string{c.from: c.to})
				spec := resource.Spec{URI: c.from, Profile: "p", Interval: time.Minute}
				// A source that gives its token to everybody who asks for it by name.
				r := start(t, net, firehose.Config{
					Resources: []resource.Spec{spec}, Profiles: map[string]resource.Profile{"p": c.profile},
					Tokens: naive{bearer(t, "made-up")},
				})
				until(10*time.Minute - 1)
				require.Len(t, net.all(c.to), 10)
				if c.stored {
					require.Len(t, net.all(c.from), 3)
					require.Equal(t, c.to, r.explainSpec(spec).URI)
				} else {
					require.Len(t, net.all(c.from), 10)
					require.Equal(t, c.from, r.explainSpec(spec).URI)
				}
				for _, call := range net.all(c.to) {
					require.Empty(t, call.Header.Get("Authorization"))
				}
				require.Len(t, r.sink.responses, 10)
			})
		})
	}
}

// naive is a token source without any care.
type naive struct{ token resource.Token }

func (naive) Credential(string) string { return "" }

func (n naive) Token(context.Context, string, string) (resource.Token, error) { return n.token, nil }

// Retry-After on a redirect is the least wait before the redirected request
// (rule H-1), which keeps the credential of its own origin.
//
// Peer retryablehttp-1: Retry-After counts with 429 and 503 only.
func TestH1_RetryAfterOfARedirect(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			if c.URL == uriA {
				return status(301, "Location", "/b", "Retry-After", "7")
			}
			return ok(fmt.Sprint(c.n), "")
		})
		r := start(t, net, firehose.Config{
			Resources: []resource.Spec{{URI: uriA, Profile: "p"}},
			Profiles:  map[string]resource.Profile{"p": {Credential: "second"}},
			Tokens: resource.Keyring(
				resource.Fixed("first", bearer(t, "1111"), "https://a.test"), resource.Fixed("second", bearer(t, "2222"), "https://a.test"),
			),
		})
		until(4 * time.Minute)
		require.Equal(t, secs(0, 67, 134), net.times(uriA))
		require.Equal(t, secs(7, 74, 141, 201), net.times(uriB), "and stored after three")
		for _, c := range net.all("") {
			require.Equal(t, "Bearer 2222", c.Header.Get("Authorization"))
		}
		require.Len(t, r.sink.responses, 4)
	})
}

// A redirect after a hop from another scope is no endless walk.
func TestRedirectFromScopeToScope(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := redirects(302, map[string]string{uriA: uriC, uriC: uriA})
		r := start(t, net, firehose.Config{Resources: resource.List(uriA)})
		until(time.Hour)
		require.Less(t, len(net.all("")), 16)
		require.Equal(t, resource.WaitingForServerAlive, r.explain(uriA).State)
		require.Empty(t, r.sink.responses)
	})
}
