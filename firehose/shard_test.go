package firehose_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// hostOf returns the URI of a host that belongs to a shard, the n-th one.
func hostOf(shard firehose.Shard, n int) string {
	for i := 0; ; i++ {
		origin := fmt.Sprintf("https://h%d.test", i)
		if firehose.ShardOf(resource.Scope{Origin: origin}, shard.Count) != shard.Number {
			continue
		}
		if n--; n < 0 {
			return origin + "/"
		}
	}
}

// startShards serves all shards of a fleet of count.
func startShards(t *testing.T, net *script, config firehose.Config, count int) (all []*rig) {
	for n := range count {
		config.Shard = firehose.Shard{Number: n, Count: count}
		all = append(all, start(t, net, config))
	}
	return all
}

// The shards of a fleet poll everything once each interval, each what is its own.
func TestShardsShareTheWork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply { return ok(fmt.Sprint(c.n), "") })
		store, log := db.NewMemory(), &bytes.Buffer{}
		config := firehose.Config{
			DB: store, Resources: fleetOver(60, 2), Tokens: resource.Keyring(fixed(t, "one")),
			Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		}
		const count = 3
		all := startShards(t, net, config, count)
		until(time.Hour)
		require.Len(t, net.all(""), 120*61)
		require.Equal(t, count, strings.Count(log.String(), "resources of other shards skipped"), "one line for each shard")
		require.Equal(t, 1, recordsOf(t, store, "fingerprint"), "one key for all")
		polled := 0
		for n, r := range all {
			mine := map[string]int{}
			for _, v := range r.sink.all() {
				mine[v.Resource.URI]++
				shard, err := config.ShardOf(v.Resource.Spec)
				require.NoError(t, err)
				require.Zero(t, shard, "a Config that is not sharded")
				require.Equal(t, n, firehose.ShardOf(v.Resource.Scope(), count), v.Resource.URI)
			}
			for uri, times := range mine {
				require.Equal(t, 61, times, uri)
			}
			require.Greater(t, len(mine), 20, "of 120 for three")
			polled += len(mine)
			for _, space := range []string{"queue", "bucket", "registry"} {
				require.Zero(t, recordsOf(t, store, space), space)
			}
			require.Equal(t, len(mine), recordsOf(t, store, fmt.Sprintf("queue/%dof%d", n, count)))
			require.NoError(t, r.stop())
		}
		require.Equal(t, 120, polled)
	})
}

// fleetOver is resources at so many hosts, each of them with so many.
func fleetOver(hosts, each int) (all []resource.Spec) {
	for i := range hosts {
		for j := range each {
			all = append(all, resource.Spec{URI: fmt.Sprintf("https://h%d.test/%d", i, j), Interval: time.Minute})
		}
	}
	return all
}

// Where a shard has ended, another process takes over what it knew, and the other
// shards take no notice.
func TestAShardMoves(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() db.DB) {
		ctx := t.Context()
		one, two := firehose.Shard{Number: 0, Count: 2}, firehose.Shard{Number: 1, Count: 2}
		parked, paused, plain, other, added := hostOf(one, 0), hostOf(one, 1), hostOf(one, 2), hostOf(two, 0), hostOf(one, 3)
		net := newScript(func(c call) reply {
			if c.URL == parked {
				return status(429, "Retry-After", "3600")
			}
			return ok("x", "")
		})
		store := open()
		config := firehose.Config{DB: store, Resources: resource.List(parked, paused, plain, other)}
		all := startShards(t, net, config, 2)
		until(time.Minute + time.Second)
		require.NoError(t, all[0].Pause(ctx, idOf(t, paused)))
		require.NoError(t, all[0].Add(ctx, resource.Spec{URI: added, Interval: 10 * time.Minute}))
		until(2*time.Minute + time.Second)
		require.NoError(t, all[0].stop())
		until(4*time.Minute + 30*time.Second)
		require.Len(t, net.all(plain), 3)
		require.Len(t, net.all(other), 5, "goes on")

		config.Shard = one
		next := start(t, net, config)
		require.NoError(t, next.Ready(ctx))
		require.Equal(t, resource.Paused, next.explain(paused).State)
		until(59 * time.Minute)
		require.Len(t, net.all(parked), 1)
		require.Len(t, net.all(paused), 2)
		require.Equal(t, 4*time.Minute+30*time.Second, net.times(plain)[3])
		require.Equal(t, secs(61, 661), net.times(added)[:2])
		require.Len(t, net.all(other), 60)
		until(time.Hour + time.Minute)
		require.Len(t, net.all(parked), 2)
		require.NoError(t, next.stop())
		require.NoError(t, all[1].stop())
		require.NoError(t, store.Close())
	})
}

// A DB is divided once. Whoever comes with another count would not find what the
// others have left there, and is told so; nothing is sent.
func TestTheCountOfShardsStays(t *testing.T) {
	for name, c := range map[string]struct {
		before, now firehose.Shard
		value, want string
	}{
		"more":       {firehose.Shard{Number: 1, Count: 2}, firehose.Shard{Number: 1, Count: 3}, "3", "2, by which"},
		"whole":      {firehose.Shard{Number: 1, Count: 2}, firehose.Shard{}, "0", "2, by which"},
		"was whole":  {firehose.Shard{}, firehose.Shard{Number: 0, Count: 1}, "1", "0, by which"},
		"other one":  {firehose.Shard{Number: 1, Count: 2}, firehose.Shard{Number: 0, Count: 2}, "", ""},
		"still that": {firehose.Shard{}, firehose.Shard{}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := db.NewMemory()
				net := newScript(func(call) reply { return ok("x", "") })
				r := start(t, net, firehose.Config{DB: store, Resources: fleetOver(10, 1), Shard: c.before})
				until(time.Second)
				require.NoError(t, r.stop())
				sent := len(net.all(""))

				until(2 * time.Minute)
				r = start(t, net, firehose.Config{DB: store, Resources: fleetOver(10, 1), Shard: c.now})
				until(3 * time.Minute)
				if c.want == "" {
					require.Greater(t, len(net.all("")), sent)
					require.NoError(t, r.stop())
					return
				}
				require.Len(t, net.all(""), sent)
				field, isField := errors.AsType[*firehose.FieldError](r.stop())
				require.True(t, isField)
				require.Equal(t, "Shard.Count", field.Field)
				require.Equal(t, c.value, field.Value)
				require.Contains(t, field.Want, c.want)
				if c.now.Count > 0 {
					os, err := firehose.New(firehose.Config{DB: store, Shard: c.now})
					require.NoError(t, err)
					_, isField = errors.AsType[*firehose.FieldError](os.Add(t.Context(), resource.Spec{URI: hostOf(c.now, 0)}))
					require.True(t, isField, "nothing is written where nobody would find it")
				}
			})
		})
	}
}

// Of two fleets that begin at once with one DB, one is told that it can't.
func TestTheCountOfShardsIsSetOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := db.NewMemory()
		net := newScript(func(call) reply { return ok("x", "") })
		var all []*rig
		for n := range 6 {
			all = append(all, start(t, net, firehose.Config{DB: store, Shard: firehose.Shard{Number: n / 2, Count: 3 + n%2}}))
		}
		until(time.Minute)
		ready := map[int]int{}
		for n, r := range all {
			if r.Health().Ready {
				ready[n%2]++
			} else {
				require.ErrorContains(t, r.stop(), "Shard.Count")
			}
		}
		require.Len(t, ready, 1)
		require.Equal(t, 3, ready[0]+ready[1])
	})
}

// What is added to the wrong shard is refused with the right one; the rest is in.
func TestAddElsewhere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := db.NewMemory()
		net := newScript(func(call) reply { return ok("x", "") })
		config := firehose.Config{DB: store, Profiles: map[string]resource.Profile{"p": {Credential: "one"}}, Tokens: resource.Keyring(fixed(t, "one"))}
		all := startShards(t, net, config, 4)
		until(time.Second)
		specs := fleetOver(40, 1)
		for i := range 40 {
			specs = append(specs, resource.Spec{URI: fmt.Sprintf("https://a.test/%d", i), Profile: []string{"", "p"}[i%2], Interval: time.Minute})
		}
		config.Shard = firehose.Shard{Number: 1, Count: 4}
		err := all[1].Add(t.Context(), specs...)
		require.ErrorIs(t, err, firehose.ErrElsewhere)
		lines, refused := strings.Split(err.Error(), "\n"), 0
		for _, spec := range specs {
			shard, err := config.ShardOf(spec)
			require.NoError(t, err)
			if shard != 1 {
				require.Contains(t, lines[refused], spec.URI+": ")
				require.True(t, strings.HasSuffix(lines[refused], fmt.Sprintf("shard %d of 4", shard)), lines[refused])
				refused++
				require.NoError(t, all[shard].Add(t.Context(), spec))
			}
		}
		require.Len(t, lines, refused)
		until(time.Minute)
		for _, spec := range specs {
			require.Len(t, net.all(spec.URI), 1, spec.URI)
		}
		for _, r := range all {
			require.NoError(t, r.stop())
		}
	})
}

// A permanent redirect is stored if it stays in the shard.
func TestAPermanentRedirectOutOfTheShard(t *testing.T) {
	one, two := firehose.Shard{Number: 0, Count: 2}, firehose.Shard{Number: 1, Count: 2}
	from := hostOf(one, 0)
	for to, stored := range map[string]bool{hostOf(one, 1): true, hostOf(two, 0): false} {
		bubble(t, func(t *testing.T) {
			net := redirects(301, map[string]string{from: to})
			config := firehose.Config{DB: db.NewMemory(), Resources: []resource.Spec{{URI: from, Interval: time.Minute}}}
			all := startShards(t, net, config, 2)
			until(10*time.Minute - 1)
			require.Len(t, net.all(to), 10)
			require.Len(t, all[0].sink.responses, 10)
			if stored {
				require.Len(t, net.all(from), 3)
				require.Equal(t, to, all[0].explain(from).URI)
			} else {
				require.Len(t, net.all(from), 10)
				require.Equal(t, from, all[0].explain(from).URI)
			}
			for _, r := range all {
				require.NoError(t, r.stop())
			}
		})
	}
}

// The hosts of a domain that count together are in one shard for each credential.
func TestTheHostsOfADomainAreInOneShard(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(call) reply { return ok("x", "") })
		config := firehose.Config{DB: db.NewMemory(), Domains: []string{"blogs.test"}}
		for i := range 20 {
			config.Resources = append(config.Resources, resource.Spec{URI: fmt.Sprintf("https://b%d.blogs.test/", i), Interval: time.Minute})
		}
		all := startShards(t, net, config, 4)
		until(59 * time.Second)
		require.Len(t, net.all(""), 20)
		n := firehose.ShardOf(resource.Scope{Origin: "https://*.blogs.test"}, 4)
		require.EqualValues(t, 20, all[n].Stats().Polls)
		config.Shard.Count = 4
		shard, err := config.ShardOf(config.Resources[7])
		require.NoError(t, err)
		require.Equal(t, n, shard)
		for _, r := range all {
			require.NoError(t, r.stop())
		}
	})
}

// A resource whose credential gets another name changes the shard: the one lets it
// go and the other takes it, whichever starts first. One that came by Add is not
// lost.
func TestAResourceChangesItsShard(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply { return ok(fmt.Sprint(c.n), "") })
		specs := make([]resource.Spec, 40)
		for i := range specs {
			specs[i] = resource.Spec{URI: fmt.Sprintf("https://a.test/%d", i), Profile: fmt.Sprint(i), Interval: time.Minute}
		}
		log := &bytes.Buffer{}
		config := firehose.Config{DB: db.NewMemory(), Resources: specs[:30], Profiles: map[string]resource.Profile{}, Logger: slog.New(slog.NewTextHandler(log, nil))}
		name := func(prefix string) {
			var sources []resource.TokenSource
			config.Profiles = map[string]resource.Profile{}
			for i := range specs {
				config.Profiles[fmt.Sprint(i)] = resource.Profile{Credential: fmt.Sprint(prefix, i)}
				sources = append(sources, fixed(t, fmt.Sprint("old", i)), fixed(t, fmt.Sprint("new", i)))
			}
			config.Tokens = resource.Keyring(sources...)
		}
		name("old")
		all := startShards(t, net, config, 2)
		config.Shard.Count = 2
		for _, spec := range specs[30:] {
			n, err := config.ShardOf(spec)
			require.NoError(t, err)
			require.NoError(t, all[n].Add(t.Context(), spec))
		}
		until(5*time.Minute - time.Second)
		for _, r := range all {
			require.NoError(t, r.stop())
		}
		require.Len(t, net.all(""), 40*5)
		require.NotContains(t, log.String(), "another shard")

		name("new")
		all = startShards(t, net, config, 2)
		until(10*time.Minute + time.Second)
		for _, spec := range specs {
			times := net.times(spec.URI)
			require.LessOrEqual(t, len(times), 11, "by one shard")
			require.GreaterOrEqual(t, len(times), 10, "and not lost")
		}
		require.Contains(t, log.String(), "added resources belong to another shard now")
		for n, r := range all {
			for _, v := range r.sink.all() {
				if slices.Contains(config.Resources, v.Resource.Spec) {
					require.Equal(t, n, firehose.ShardOf(v.Resource.Scope(), 2), v.Resource.URI)
				}
			}
			require.NoError(t, r.stop())
		}
	})
}
