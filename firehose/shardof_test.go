package firehose_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// Where a scope belongs is the same for ever: queues and DBs are divided by it.
func TestShardOfNeverChanges(t *testing.T) {
	for _, c := range []struct {
		credential, origin string
		of12, of4096       int
	}{
		{"", "", 9, 3541},
		{"", "https://api.github.com", 3, 1135},
		{"github", "https://api.github.com", 8, 1024},
		{"https://api.github.com", "", 0, 3616},
		{"git", "hubhttps://api.github.com", 2, 2522},
		{"", "https://*.example.org", 2, 122},
		{"", "http://127.0.0.1:8080", 4, 44},
		{"user-1", "https://a.test", 9, 3509},
		{"ключ", "https://xn--bcher-kva.example", 2, 1546},
		{strings.Repeat("k", 300), "https://a.test", 8, 3228},
	} {
		scope := resource.Scope{Credential: c.credential, Origin: c.origin}
		require.Equal(t, []int{c.of12, c.of4096}, []int{firehose.ShardOf(scope, 12), firehose.ShardOf(scope, 4096)}, scope.String())
		for _, count := range []int{-1, 0, 1} {
			require.Zero(t, firehose.ShardOf(scope, count))
		}
	}
}

// Shards are of like size, whatever the names have in common.
func TestShardsAreOfLikeSize(t *testing.T) {
	for name, scope := range map[string]func(n int) resource.Scope{
		"hosts": func(n int) resource.Scope {
			return resource.Scope{Origin: fmt.Sprintf("https://host-%d.example.org", n)}
		},
		"credentials": func(n int) resource.Scope {
			return resource.Scope{Credential: fmt.Sprint(2 * n), Origin: "https://api.github.com"}
		},
	} {
		for _, count := range []int{2, 3, 12, 64, 100} {
			const each = 1000
			sizes := make([]int, count)
			for n := range each * count {
				sizes[firehose.ShardOf(scope(n), count)]++
			}
			for _, size := range sizes {
				require.InDelta(t, each, size, 160, "%s in %d", name, count) // five times the deviation of chance
			}
		}
	}
}

// Who routes additions goes by the same credential and domain as the OS.
func TestConfigShardOf(t *testing.T) {
	config := firehose.Config{
		Shard:    firehose.Shard{Count: 1000},
		Profiles: map[string]resource.Profile{"": {}, "named": {Credential: "two"}},
		Tokens:   resource.Keyring(fixed(t, "one")),
		Domains:  []string{"blogs.test"},
	}
	for spec, scope := range map[resource.Spec]resource.Scope{
		{URI: uriA}:                                  {Credential: "one", Origin: "https://a.test"},
		{URI: "https://A.TEST:443/other"}:            {Credential: "one", Origin: "https://a.test"},
		{URI: uriA, Profile: "named"}:                {Credential: "two", Origin: "https://a.test"},
		{URI: uriC}:                                  {Origin: "https://c.test"},
		{URI: uriC, Profile: "named"}:                {Credential: "two", Origin: "https://c.test"},
		{URI: "https://x.blogs.test/feed"}:           {Origin: "https://*.blogs.test"},
		{URI: "https://blogs.test/", Profile: ""}:    {Origin: "https://*.blogs.test"},
		{URI: "http://y.blogs.test:8080/index"}:      {Origin: "http://*.blogs.test:8080"},
		{URI: "https://notblogs.test/", Priority: 3}: {Origin: "https://notblogs.test"},
	} {
		n, err := config.ShardOf(spec)
		require.NoError(t, err)
		require.Equal(t, firehose.ShardOf(scope, 1000), n, spec.URI)
		config.Shard.Number = 999 - config.Shard.Number // it doesn't matter
	}
	n, err := firehose.Config{}.ShardOf(resource.Spec{URI: uriA})
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestConfigShardOfWhatIsWrong(t *testing.T) {
	for field, c := range map[string]struct {
		config firehose.Config
		spec   resource.Spec
	}{
		"Profile":      {firehose.Config{}, resource.Spec{URI: uriA, Profile: "none"}},
		"URI":          {firehose.Config{}, resource.Spec{URI: "gopher://a.test"}},
		"Shard.Number": {firehose.Config{Shard: firehose.Shard{Number: 2, Count: 2}}, resource.Spec{URI: uriA}},
		"Domains[0]":   {firehose.Config{Domains: []string{"A"}}, resource.Spec{URI: uriA}},
	} {
		_, err := c.config.ShardOf(c.spec)
		wrong, ok := errors.AsType[*firehose.FieldError](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, field, wrong.Field)
	}
}

func TestShardsThatAreNone(t *testing.T) {
	for _, c := range []struct {
		shard              firehose.Shard
		field, value, want string
	}{
		{firehose.Shard{Count: -1}, "Shard.Count", "-1", "0 (not sharded) to 4096"},
		{firehose.Shard{Count: 4097}, "Shard.Count", "4097", "0 (not sharded) to 4096"},
		{firehose.Shard{Number: 1}, "Shard.Number", "1", "0 where Shard.Count is 0 (not sharded)"},
		{firehose.Shard{Number: -1}, "Shard.Number", "-1", "0 where Shard.Count is 0 (not sharded)"},
		{firehose.Shard{Number: -1, Count: 12}, "Shard.Number", "-1", "0 to 11, since Shard.Count is 12"},
		{firehose.Shard{Number: 12, Count: 12}, "Shard.Number", "12", "0 to 11, since Shard.Count is 12"},
	} {
		_, err := firehose.New(firehose.Config{Shard: c.shard})
		wrong, ok := errors.AsType[*firehose.FieldError](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, firehose.FieldError{Field: c.field, Value: c.value, Want: c.want}, *wrong)
	}
	for _, shard := range []firehose.Shard{{}, {Count: 1}, {Number: 4095, Count: 4096}} {
		_, err := firehose.New(firehose.Config{Shard: shard})
		require.NoError(t, err)
	}
	require.Equal(t, "all", firehose.Shard{}.String())
	require.Equal(t, "3 of 12", firehose.Shard{Number: 3, Count: 12}.String())
}
