package firehose_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/firehose/firehosetest"
	"github.com/cannedos/cannedos/resource"
)

// The flags of the second simulation.
var (
	politeHours     = flag.Float64("polite.hours", 1, "simulated hours")
	politeSeed      = flag.Uint64("polite.seed", 1, "seed of the simulation")
	politeResources = flag.Int("polite.resources", lighter(2000, 800), "resources of the simulation")
)

// keys is a token source whose tokens are renewed while it is used.
type keys struct {
	mu     sync.Mutex
	tokens map[string]string // by credential
}

func (k *keys) Credential(string) string { return "" }

func (k *keys) Token(_ context.Context, credential, _ string) (resource.Token, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return resource.BearerToken(k.tokens[credential])
}

// rotate replaces a token at the origin and then, later, here.
func (k *keys) rotate(o *firehosetest.Origin, credential string, delay time.Duration) {
	k.mu.Lock()
	old := k.tokens[credential]
	k.mu.Unlock()
	o.Rotate("Bearer "+old, "Bearer "+old+"'", time.Now())
	time.AfterFunc(delay, func() {
		k.mu.Lock()
		k.tokens[credential] = old + "'"
		k.mu.Unlock()
	})
}

// politeResult is what the simulation prints.
type politeResult struct {
	Seed      uint64               `json:"seed"`
	Hours     float64              `json:"hours"`
	Resources int                  `json:"resources"`
	Restarts  int                  `json:"restarts"`
	Rotations int                  `json:"rotations"`
	Share     float64              `json:"least_share_of_a_budget"`
	Buckets   int                  `json:"saturated_buckets"`
	Unfair    float64              `json:"longest_wait_to_median"`
	Oracle    firehosetest.Verdict `json:"oracle"`
}

// Forty credentials at hosts of seven dialects whose clocks are wrong, with more
// resources than their quotas allow, outages, secondary limits, tokens that are
// renewed and restarts: no rule is broken, what may be used is used, and nobody
// starves.
func TestPoliteness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const credentials = 40
		resources, length := *politeResources, time.Duration(*politeHours*float64(time.Hour))
		rng := rand.New(rand.NewPCG(*politeSeed, 3))
		outages := func(status int, refused bool) (all []firehosetest.Outage) {
			for at := 20 * time.Minute; at < length; at += 3 * time.Hour {
				all = append(all, firehosetest.Outage{From: at, To: at + 5*time.Minute, Status: status, Refused: refused})
			}
			return all
		}
		hosts := []firehosetest.Host{
			firehosetest.GitHub:           {Skew: 90 * time.Minute, Outages: outages(502, false), Secondary: 1e-4},
			firehosetest.GitLab:           {Skew: -3 * time.Hour},
			firehosetest.IETF:             {Outages: outages(0, true)},
			firehosetest.ThreeHeaders:     {},
			firehosetest.Discord:          {Skew: time.Minute},
			firehosetest.RetryAfterOnly:   {},
			firehosetest.CacheControlOnly: {PollInterval: 10 * time.Minute},
		}
		for d := range hosts {
			hosts[d].Name, hosts[d].Dialect = firehosetest.Dialect(d).String()+".test", firehosetest.Dialect(d)
		}
		limit, window := resources/10, 20*time.Minute // of each credential, while a minute wants resources/40
		if length > 6*time.Hour {
			limit, window = resources/20, time.Hour // less, so that seven days pass in minutes
		}
		origin, err := firehosetest.New(firehosetest.Config{
			Seed: *politeSeed, Timelines: resources, Rate: 0.05, Limit: limit, Window: window, Burst: max(2, limit/10), Hosts: hosts,
			Latency: 50 * time.Millisecond, Concurrency: 4,
			Faults: []firehosetest.Fault{
				{Probability: 0.002, Step: firehosetest.Step{Kind: firehosetest.Status, Status: 500}},
				{Probability: 0.001, Step: firehosetest.Step{Kind: firehosetest.Reset}},
			},
		})
		require.NoError(t, err)
		source := &keys{tokens: map[string]string{}}
		config := firehose.Config{
			Tokens: source, DB: db.NewMemory(), Transport: origin.RoundTripper(), Seed: *politeSeed, Workers: 64,
			RequestTimeout: 10 * time.Second, Profiles: map[string]resource.Profile{}, Logger: slog.New(slog.DiscardHandler),
		}
		for i := range credentials {
			name := fmt.Sprintf("credential-%d", i)
			source.tokens[name] = fmt.Sprintf("made-up-%d", i)
			config.Profiles[name] = resource.Profile{Credential: name, Concurrency: 1}
		}
		for i, path := range origin.Paths() {
			config.Resources = append(config.Resources, resource.Spec{
				URI: "https://" + hosts[i%credentials%len(hosts)].Name + path, Profile: fmt.Sprintf("credential-%d", i%credentials),
			})
		}
		result := politeResult{Seed: *politeSeed, Hours: *politeHours, Resources: resources, Share: 1}
		for end := time.Now().Add(length); time.Now().Before(end); result.Restarts++ {
			os, err := firehose.New(config)
			require.NoError(t, err)
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- os.Serve(ctx) }()
			life := min(time.Until(end), time.Duration(30+rng.IntN(60))*time.Minute)
			time.Sleep(life / 2)
			for i := range credentials {
				if rng.IntN(4) == 0 {
					source.rotate(origin, fmt.Sprintf("credential-%d", i), time.Duration(rng.IntN(60))*time.Second)
					result.Rotations++
				}
			}
			time.Sleep(life - life/2)
			stop()
			require.NoError(t, <-done)
		}
		time.Sleep(2 * time.Minute) // for tokens that are still on their way
		for i := range credentials {
			for _, b := range origin.Buckets("Bearer " + source.tokens[fmt.Sprintf("credential-%d", i)]) {
				share, windows := b.Share(0)
				longest, median := b.Waits(nil)
				t.Logf("%s %s: share %.4f of %d windows, waits %v, median %v", b.Origin, b.Bucket, share, windows, longest, median)
				if windows > 0 {
					result.Buckets++
					result.Share = min(result.Share, share)
					result.Unfair = max(result.Unfair, longest.Seconds()/median.Seconds())
				}
			}
		}
		result.Oracle = origin.Verdict()
		line, err := json.Marshal(result)
		require.NoError(t, err)
		t.Logf("politeness: %s", line)
		require.Zero(t, result.Oracle.Impolite, "impolite requests")
		require.EqualValues(t, resources, result.Oracle.Resources, "resources that were polled at all")
		require.Greater(t, result.Buckets, credentials/2)
		require.LessOrEqual(t, result.Unfair, 2.0, "the longest wait of a bucket to the median")
		// What jitter adds to a reset, half a minute at most, weighs more in a short window.
		least := 0.97
		if window == time.Hour {
			least = 0.99
		}
		require.GreaterOrEqual(t, result.Share, least, "of what was allowed")
	})
}
