package firehose_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/bits"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// soakOriginEnv makes the test binary be the origin of the soak: a process of its
// own, told by JSON what it is to be.
const soakOriginEnv = "CANNEDOS_SOAK_ORIGIN"

// soakConfig is what an origin of the soak is to be.
type soakConfig struct {
	Resources   int           // by number, at /{number of zeros}number
	Hosts       int           // names that it has: 127.0.0.1 and on
	Interval    time.Duration // that it asks for: whole seconds
	Grace       time.Duration // how late a poll may come and still count as on time
	Concurrency int           // requests in flight that it allows, for each host
	Seed        uint64
}

// soakVerdict is what the origin has seen. Impolite is the sum of the four below
// it, and has to be zero.
type soakVerdict struct {
	Polls         int64   `json:"polls"`
	NotModified   int64   `json:"not_modified"`
	Impolite      int64   `json:"impolite"`
	Early         int64   `json:"early"`         // before the answer before allowed it
	Overlapping   int64   `json:"overlapping"`   // while the same resource was being answered
	Over          int64   `json:"over_cap"`      // more in flight than the host allows
	Unconditional int64   `json:"unconditional"` // without the validators of the answer before
	Polled        int     `json:"resources_polled"`
	Fewest        int     `json:"fewest_polls"` // of one resource
	Most          int     `json:"most_polls"`
	Missed        int64   `json:"missed"`        // polls that came later than the grace after they were allowed, or not at all
	StoodStill    float64 `json:"stood_still_s"` // the machine, or this process: no lateness
	Overdue       int     `json:"overdue"`       // resources whose poll had not come by then at the end: among the missed
	LateP50       float64 `json:"late_p50_ms"`   // arrival after the instant from which it was allowed, the first polls not counted
	LateP99       float64 `json:"late_p99_ms"`
	LateMax       float64 `json:"late_max_ms"`
}

// soakOrigin answers, and judges with a few bytes for each resource: it keeps up
// with a million of them beside the process that it judges. Waits are counted from
// before the answer is written, which is before any client can have it.
//
// Every poll is judged when it comes, so that no grace adds up to a poll that may be
// left out. The first poll of a resource is allowed from when it was to be brought:
// in order of number, evenly over one interval that begins with the first request.
// While the origin itself stands still, with its machine, nobody is late.
type soakOrigin struct {
	soakConfig
	birth time.Time

	mu      sync.Mutex
	all     []soakResource
	hosts   map[string]int // in flight
	began   int64          // when resource 0 was brought, in nanoseconds since birth
	looked  int64          // the latest time that this process was seen to run
	stills  []soakStill
	ended   int64 // when the count ends; 0: not yet
	verdict soakVerdict
	late    soakHistogram
}

// soakStill is a time for which the origin did not run.
type soakStill struct{ from, to int64 }

// soakLook is how often the origin looks whether it runs. It stood still if it has
// not for five times as long.
const soakLook = 100 * time.Millisecond

type soakResource struct {
	allowed int64 // from when on it may be asked again, in nanoseconds since birth
	polls   uint16
	version uint16
	busy    bool
}

func (o *soakOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
	if err != nil || n < 0 || n >= len(o.all) {
		http.NotFound(w, r)
		return
	}
	etag, fresh := o.arrive(n, r.Host, r.Header.Get("If-None-Match"))
	h := w.Header()
	h["Etag"], h["Last-Modified"] = []string{etag}, []string{restModified}
	h["X-Poll-Interval"] = []string{strconv.Itoa(int(o.Interval / time.Second))}
	h["Content-Type"] = []string{"application/json; charset=utf-8"}
	o.leave(n, r.Host)
	if !fresh {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	io.WriteString(w, soakBody+etag)
}

var soakBody = "[" + strings.Repeat(`{"type":"PushEvent"},`, 40) + "{}]\n"

// arrive judges a request, and says what to answer.
func (o *soakOrigin) arrive(n int, host, match string) (etag string, fresh bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := max(1, int64(time.Since(o.birth)))
	o.lookLocked(now)
	r, v := &o.all[n], &o.verdict
	v.Polls++
	if o.hosts[host]++; o.hosts[host] > o.Concurrency {
		v.Over++
	}
	if r.busy {
		v.Overlapping++
	}
	r.busy = true
	if v.Polls == 1 {
		o.began = now - o.brought(n)
	}
	if o.overLocked(n, now) > 0 {
		v.Missed++
	}
	if r.polls > 0 {
		if now < r.allowed {
			v.Early++
		}
		o.late.add(now - r.allowed)
		if match != o.etag(n, r.version) {
			v.Unconditional++
		}
	}
	if fresh = r.polls == 0 || (uint64(n)+uint64(r.polls)*7+o.Seed)%50 == 0; fresh {
		r.version++
	} else {
		v.NotModified++
	}
	r.polls++
	return o.etag(n, r.version), fresh
}

// brought is when a resource is brought, from the first one on.
func (o *soakOrigin) brought(n int) int64 { return int64(o.Interval) * int64(n) / int64(o.Resources) }

// allowedLocked is from when on a resource may be asked next.
func (o *soakOrigin) allowedLocked(n int) int64 {
	if r := &o.all[n]; r.polls > 0 {
		return r.allowed
	}
	return o.began + o.brought(n)
}

// overLocked is how much longer than the grace a resource has been waited for.
func (o *soakOrigin) overLocked(n int, now int64) int64 {
	from := o.allowedLocked(n)
	over := now - from - int64(o.Grace)
	for i := len(o.stills) - 1; i >= 0 && over > 0 && o.stills[i].to > from; i-- {
		over -= min(now, o.stills[i].to) - max(from, o.stills[i].from)
	}
	return over
}

// watch looks whether the origin runs.
func (o *soakOrigin) watch() {
	for range time.Tick(soakLook) {
		o.mu.Lock()
		o.lookLocked(int64(time.Since(o.birth)))
		o.mu.Unlock()
	}
}

func (o *soakOrigin) lookLocked(now int64) {
	if now-o.looked > 5*int64(soakLook) {
		o.stills = append(o.stills, soakStill{o.looked, now})
		o.verdict.StoodStill += float64(now-o.looked) / 1e9
	}
	o.looked = max(o.looked, now)
}

// end notes when the polling ended, which may take a while to stop.
func (o *soakOrigin) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = int64(time.Since(o.birth))
	o.lookLocked(o.ended)
}

// leave notes that the answer is about to be written. It counts as in flight no
// longer: the client may have it before this process runs again.
func (o *soakOrigin) leave(n int, host string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hosts[host]--
	o.all[n].busy = false
	o.all[n].allowed = int64(time.Since(o.birth) + o.Interval)
}

func (o *soakOrigin) etag(n int, version uint16) string {
	b := [32]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), byte(version >> 8), byte(version), 31: byte(o.Seed)}
	return `W/"` + hex.EncodeToString(b[:]) + `"`
}

// judge ends the count. A resource that is still waited for has missed a poll for
// each interval since its grace was over.
func (o *soakOrigin) judge() soakVerdict {
	o.mu.Lock()
	defer o.mu.Unlock()
	v := o.verdict
	v.Fewest = math.MaxInt
	for i := range o.all {
		r := &o.all[i]
		v.Fewest, v.Most = min(v.Fewest, int(r.polls)), max(v.Most, int(r.polls))
		if r.polls > 0 {
			v.Polled++
		}
		if over := o.overLocked(i, o.ended); over > 0 {
			v.Overdue++
			v.Missed += 1 + over/int64(o.Interval)
		}
	}
	v.Impolite = v.Early + v.Overlapping + v.Over + v.Unconditional
	v.LateP50, v.LateP99, v.LateMax = o.late.at(0.5), o.late.at(0.99), float64(o.late.max)/1e6
	return v
}

// Each poll is judged by itself, and nobody for what stands still.
func TestSoakJudge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := &soakOrigin{birth: time.Now(), hosts: map[string]int{}, all: make([]soakResource, 2)}
		o.soakConfig = soakConfig{Resources: 2, Interval: 10 * time.Second, Grace: time.Second, Concurrency: 4}
		until := func(seconds float64) {
			for d := time.Duration(seconds * float64(time.Second)); time.Since(o.birth) < d; {
				pass(min(soakLook, d-time.Since(o.birth)))
				o.mu.Lock()
				o.lookLocked(int64(time.Since(o.birth)))
				o.mu.Unlock()
			}
		}
		missed := func() int64 { return o.judge().Missed }
		poll := func(n int, seconds float64) int64 {
			until(seconds)
			o.arrive(n, "", o.etag(n, o.all[n].version))
			o.leave(n, "")
			o.ended = int64(time.Since(o.birth))
			return missed()
		}
		require.Zero(t, poll(0, 1))
		require.Zero(t, poll(1, 6.9), "the second is brought five seconds after the first")
		require.Zero(t, poll(0, 11.9))
		require.Zero(t, poll(1, 17.8))
		require.EqualValues(t, 1, poll(0, 23), "1.1 s after it was allowed")
		require.EqualValues(t, 1, poll(1, 28.7))
		require.EqualValues(t, 1, poll(0, 33.9))
		pass(20100 * time.Millisecond) // nothing runs
		require.EqualValues(t, 1, poll(0, 54))
		require.EqualValues(t, 1, poll(1, 54))
		require.InDelta(t, 20.1, o.judge().StoodStill, 0.01)
		until(70)
		o.end()
		v := o.judge()
		require.EqualValues(t, 3, v.Missed, "of each, the one that did not come")
		require.Equal(t, 2, v.Overdue)
		require.Zero(t, v.Impolite)
		until(76)
		o.end()
		require.EqualValues(t, 5, missed(), "and the next one")
	})
}

// soakHistogram counts nanoseconds in cells that are 9 percent wide.
type soakHistogram struct {
	cells [64 * 8]int64
	count int64
	max   int64
}

func (h *soakHistogram) add(n int64) {
	n = max(n, 8)
	e := bits.Len64(uint64(n)) - 4
	h.cells[e*8+int(n>>e&7)]++
	h.count++
	h.max = max(h.max, n)
}

// at returns the quantile in milliseconds.
func (h *soakHistogram) at(share float64) float64 {
	seen := int64(0)
	for i, n := range h.cells {
		if seen += n; n > 0 && float64(seen) >= share*float64(h.count) {
			return float64(min(h.max, int64(9+i%8)<<(i/8))) / 1e6
		}
	}
	return 0
}

// runSoakOrigin is the process of the origin; it returns its exit status.
func runSoakOrigin(config string) int {
	if err := serveSoakOrigin([]byte(config)); err != nil {
		fmt.Fprintln(os.Stderr, "soak origin:", err)
		return 1
	}
	return 0
}

// serveSoakOrigin serves until standard input ends, which it does with the process
// that started it, and prints the verdict. What comes on it before says that the
// polling ends.
func serveSoakOrigin(config []byte) error {
	o := &soakOrigin{birth: time.Now(), hosts: map[string]int{}}
	if err := json.Unmarshal(config, &o.soakConfig); err != nil {
		return err
	}
	o.all = make([]soakResource, o.Resources)
	server := &http.Server{Handler: o}
	port := "0"
	for i := range o.Hosts {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:%s", i+1, port))
		if err != nil {
			return err
		}
		_, port, _ = net.SplitHostPort(l.Addr().String())
		go server.Serve(l)
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(port); err != nil {
		return err
	}
	go o.watch()
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil && err != io.EOF {
		return err
	}
	o.end()
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	server.Close()
	return out.Encode(o.judge())
}
