package firehose_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// The flags of the soak; go run ./internal/prove soak sets them.
var (
	soakResources = flag.Int("soak.resources", lighter(1000, 200), "resources of the soak")
	soakInterval  = flag.Duration("soak.interval", time.Second, "interval that its origin asks for, whole seconds")
	soakFor       = flag.Duration("soak.for", 5*time.Second, "how long it goes on, in real time")
	soakHosts     = flag.Int("soak.hosts", 16, "hosts of its origin")
	soakGrace     = flag.Duration("soak.grace", 3*time.Second, "how late a poll may come: more than a machine that does other work stands still")
	soakSeed      = flag.Uint64("soak.seed", 1, "seed of what changes at its origin")
)

const soakWorkers = 64

// soakResult is what the soak prints. Sizes are medians, in MiB, of the three
// thirds of its time.
type soakResult struct {
	Seed       uint64      `json:"seed"`
	Resources  int         `json:"resources"`
	Interval   float64     `json:"interval_s"`
	Grace      float64     `json:"grace_s"`
	Seconds    float64     `json:"seconds"`
	Rate       float64     `json:"polls_per_s"`     // in the last two thirds
	Cores      float64     `json:"cores"`           // that the polling process used, in the last two thirds
	Collector  float64     `json:"collector_share"` // of its CPU time
	Resident   [3]float64  `json:"resident_mib"`
	Live       [3]float64  `json:"live_heap_mib"` // after the latest collection
	InUse      [3]float64  `json:"heap_in_use_mib"`
	Goroutines [3]float64  `json:"goroutines"`          // without those of connections
	Conns      [3]float64  `json:"connections"`         // to the origin: as many as workers at most, and closed when idle
	Backlog    [3]float64  `json:"most_due"`            // resources that were due and not on their way, at most
	Idle       [3]float64  `json:"least_idle_of_cores"` // of the machine, between two looks: others take from it, too
	Peak       float64     `json:"peak_mib"`            // resident
	Published  int64       `json:"published"`
	SendP50    float64     `json:"send_late_p50_ms"` // from the permitted instant, jitter included, to the sending
	SendP99    float64     `json:"send_late_p99_ms"`
	SendMax    float64     `json:"send_late_max_ms"`
	Origin     soakVerdict `json:"origin"`
}

// soakSample is one look at the polling process.
type soakSample struct {
	at                    time.Duration
	resident, live, inUse float64
	goroutines, conns     float64
	polls                 int64
	cpu                   cpuTimes
	used                  time.Duration // CPU time
	backlog               float64
	idle                  time.Duration // of all cores, since the machine began
}

// A fleet is polled over real sockets, from an origin in another process, for as
// long as it is told: politely, on time, and with memory and goroutines that do not
// grow. It comes in over one interval, as its users would bring it.
func TestSoak(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs all of 127.0.0.0/8 on the loopback interface, set up as Linux does")
	}
	config := soakConfig{Resources: *soakResources, Hosts: *soakHosts, Interval: *soakInterval, Grace: *soakGrace, Concurrency: 4, Seed: *soakSeed}
	origin := startSoakOrigin(t, config)
	result := soakResult{Seed: config.Seed, Resources: config.Resources, Interval: config.Interval.Seconds(), Grace: config.Grace.Seconds()}
	samples := result.poll(t, config, origin)
	result.Origin = origin.verdict(t)
	result.take(samples)
	result.Peak = float64(statusBytes(t, "VmHWM")) / (1 << 20)
	line, err := json.Marshal(result)
	require.NoError(t, err)
	t.Logf("soak: %s", line)
	result.check(t)
}

// check holds the promises. How flat memory is shows only after some minutes. How
// late polls were, short of the grace, belongs to the machine and is only printed.
func (r *soakResult) check(t *testing.T) {
	o := &r.Origin
	require.Zero(t, o.Impolite, "impolite requests")
	require.Equal(t, r.Resources, o.Polled, "resources that were polled at all")
	require.GreaterOrEqual(t, o.Fewest, 2, "polls of one resource")
	require.Zero(t, o.Missed, "polls that did not come within %v of when they were allowed", *soakGrace)
	if *soakFor < 2*time.Minute {
		return
	}
	most := 0.02
	if *soakFor < 10*time.Minute {
		most = 0.05 // the first third was hardly enough to come in
	}
	for name, thirds := range map[string][3]float64{"resident": r.Resident, "live heap": r.Live} {
		require.LessOrEqual(t, thirds[2], (1+most)*thirds[1], "%s: the last third beside the middle one", name)
	}
	require.InDelta(t, r.Goroutines[1], r.Goroutines[2], max(4, 0.02*r.Goroutines[1]), "goroutines")
	require.LessOrEqual(t, slices.Max(r.Conns[:]), float64(soakWorkers+8), "connections")
}

// poll runs the OS as a user would, and looks at it meanwhile.
func (r *soakResult) poll(t *testing.T, config soakConfig, origin *soakProcess) (samples []soakSample) {
	var published atomic.Int64
	rig, err := firehose.New(firehose.Config{
		Workers: soakWorkers, Seed: config.Seed, Profiles: map[string]resource.Profile{"": {Concurrency: config.Concurrency}},
		Sink: firehose.SinkFunc(func(context.Context, *resource.Response) error { published.Add(1); return nil }),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	begin := time.Now()
	go func() { done <- rig.Serve(ctx) }()
	require.NoError(t, rig.Ready(ctx))
	added := make(chan error, 1)
	go func() { added <- bring(ctx, rig, config, origin.port) }()
	look := time.NewTicker(max(50*time.Millisecond, *soakFor/240))
	defer look.Stop()
	for time.Since(begin) < *soakFor {
		select {
		case err := <-done:
			t.Fatalf("ended: %v", err)
		case <-look.C:
		}
		samples = append(samples, sampleSoak(t, rig, time.Since(begin)))
	}
	require.NoError(t, <-added)
	stats := rig.Stats()
	_, err = origin.stdin.Write([]byte{'\n'}) // what comes later is not missed
	require.NoError(t, err)
	cancel()
	require.NoError(t, <-done)
	r.Seconds, r.Published = time.Since(begin).Seconds(), published.Load()
	r.SendP50, r.SendP99, r.SendMax = millis(stats.Late.P50), millis(stats.Late.P99), millis(stats.Late.Max)
	return samples
}

func millis(d time.Duration) float64 { return float64(d) / 1e6 }

// bring adds the resources, evenly over one interval, by the clock: after a
// standstill, those that should be in by then come at once.
func bring(ctx context.Context, rig *firehose.OS, config soakConfig, port string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	begin := time.Now()
	for n := 0; n < config.Resources; {
		<-tick.C
		var specs []resource.Spec
		for upTo := int(float64(config.Resources) * min(1, time.Since(begin).Seconds()/config.Interval.Seconds())); n < upTo; n++ {
			specs = append(specs, resource.Spec{URI: fmt.Sprintf("http://127.0.0.%d:%s/repositories/events/about/%010d", n%config.Hosts+1, port, n)})
		}
		if err := rig.Add(ctx, specs...); err != nil {
			return err
		}
	}
	return nil
}

func sampleSoak(t *testing.T, rig *firehose.OS, at time.Duration) soakSample {
	m := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}}
	metrics.Read(m)
	stats, backlog := rig.Stats(), 0
	for _, q := range stats.Queues {
		backlog += q.Ready
	}
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	all := bytes.Count(stacks, []byte("\ngoroutine ")) + 1
	conns := bytes.Count(stacks, []byte("\nnet/http.(*persistConn).readLoop(")) + bytes.Count(stacks, []byte("\nnet/http.(*persistConn).writeLoop("))
	const mib = 1 << 20
	return soakSample{
		backlog: float64(backlog), idle: idleMachine(),
		at: at, resident: float64(statusBytes(t, "VmRSS")) / mib, live: float64(m[0].Value.Uint64()) / mib,
		inUse:      float64(m[1].Value.Uint64()+m[2].Value.Uint64()) / mib,
		goroutines: float64(all - conns), conns: float64(conns) / 2, polls: stats.Polls, cpu: cpuSeconds(), used: usedCPU(),
	}
}

// take makes figures of what was seen.
func (r *soakResult) take(samples []soakSample) {
	first := samples[len(samples)/3]
	last := samples[len(samples)-1]
	cpu := last.cpu.all - first.cpu.all
	r.Rate = math.Round(float64(last.polls-first.polls) / (last.at - first.at).Seconds())
	r.Cores, r.Collector = (last.used-first.used).Seconds()/(last.at-first.at).Seconds(), (last.cpu.collector-first.cpu.collector)/cpu
	for third := range 3 {
		part := samples[len(samples)*third/3 : len(samples)*(third+1)/3]
		r.Resident[third] = medianOf(part, func(s soakSample) float64 { return s.resident })
		r.Live[third] = medianOf(part, func(s soakSample) float64 { return s.live })
		r.InUse[third] = medianOf(part, func(s soakSample) float64 { return s.inUse })
		r.Goroutines[third] = medianOf(part, func(s soakSample) float64 { return s.goroutines })
		r.Conns[third] = medianOf(part, func(s soakSample) float64 { return s.conns })
		r.Idle[third] = math.Inf(1)
		for i, s := range part[1:] {
			r.Backlog[third] = max(r.Backlog[third], s.backlog)
			r.Idle[third] = min(r.Idle[third], math.Round(100*(s.idle-part[i].idle).Seconds()/(s.at-part[i].at).Seconds())/100)
		}
	}
}

// idleMachine is how long the cores of the machine were idle, all together; 0 where
// the system tells nothing.
func idleMachine() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text)) // cpu, user, nice, system, idle, ...
	ticks, _ := strconv.ParseInt(fields[4], 10, 64)
	return time.Duration(ticks) * 10 * time.Millisecond
}

func medianOf(samples []soakSample, of func(soakSample) float64) float64 {
	all := make([]float64, len(samples))
	for i, s := range samples {
		all[i] = of(s)
	}
	slices.Sort(all)
	return math.Round(all[len(all)/2]*10) / 10
}

// soakProcess is an origin in a process of its own.
type soakProcess struct {
	*exec.Cmd
	port  string
	stdin io.WriteCloser
	out   *json.Decoder
}

func startSoakOrigin(t *testing.T, config soakConfig) *soakProcess {
	text, err := json.Marshal(config)
	require.NoError(t, err)
	p := &soakProcess{Cmd: exec.CommandContext(t.Context(), os.Args[0])}
	p.Env, p.Stderr = append(os.Environ(), soakOriginEnv+"="+string(text)), os.Stderr
	p.stdin, err = p.StdinPipe()
	require.NoError(t, err)
	stdout, err := p.StdoutPipe()
	require.NoError(t, err)
	p.out = json.NewDecoder(stdout)
	require.NoError(t, p.Start())
	require.NoError(t, p.out.Decode(&p.port))
	return p
}

func (p *soakProcess) verdict(t *testing.T) (v soakVerdict) {
	require.NoError(t, p.stdin.Close())
	require.NoError(t, p.out.Decode(&v))
	require.NoError(t, p.Wait())
	return v
}
