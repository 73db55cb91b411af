package firehose_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// One service limits all blogs below its domain at once, while clients that count
// by host ask the next blog at once.
//
// Peer freshrss-2: a limit that counts over all subdomains of a domain was
// noted for one of them.
func TestG16_TheHostsOfADomainCountTogether(t *testing.T) {
	const a, b, other = "https://a.blogs.test/feed", "https://b.blogs.test/feed", "https://notblogs.test/feed"
	for name, domains := range map[string][]string{"together": {"blogs.test"}, "each by itself": nil} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := db.NewMemory()
				net := newScript(func(c call) reply {
					if c.URL == a && c.n == 0 {
						return status(http.StatusTooManyRequests, "Retry-After", "300")
					}
					r := ok(c.URL, "")
					if c.URL == a {
						r.slow = time.Second
					}
					return r
				})
				config := firehose.Config{Resources: resource.List(a), Domains: domains, DB: store}
				r := start(t, net, config)
				until(time.Second)
				require.NoError(t, r.Add(t.Context(), resource.Spec{URI: b}, resource.Spec{URI: other}))
				until(200 * time.Second)
				require.NotEmpty(t, net.all(other))
				if domains == nil {
					require.NotEmpty(t, net.all(b))
					return
				}
				require.Empty(t, net.all(b))
				e := r.explain(b)
				require.Equal(t, "https://*.blogs.test", e.Bucket)
				require.NoError(t, r.stop())

				config.Transport = net
				config.Sink = r.sink
				again := start(t, net, config) // the park of the domain was written down
				until(299 * time.Second)
				require.Empty(t, net.all(b))
				until(400 * time.Second)
				require.NotEmpty(t, net.all(b))
				require.NotEmpty(t, net.all(a)[1:])
				require.NoError(t, again.stop())
			})
		})
	}
}

func TestDomainsThatAreNone(t *testing.T) {
	for _, bad := range [][]string{
		{""}, {"localhost"}, {"https://example.org"}, {"*.example.org"}, {"Example.org"}, {"example.org."}, {"-a.org"}, {"127.0.0.1"},
		{"a_b.org"}, {strings.Repeat("a", 64) + ".org"}, {"example.org", "example.org"}, {"example.org", "a.example.org"}, {"a.example.org", "example.org"},
	} {
		_, err := firehose.New(firehose.Config{Domains: bad})
		var field *firehose.FieldError
		require.ErrorAs(t, err, &field, bad)
		require.Contains(t, field.Field, "Domains[")
	}
	_, err := firehose.New(firehose.Config{Domains: []string{"example.org", "notexample.org", "xn--bcher-kva.example"}})
	require.NoError(t, err)
}
