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
	"time"
)

// soakOriginEnv makes the test binary be the origin of the soak: a process of its
// own, told by JSON what it is to be.
const soakOriginEnv = "CANNEDOS_SOAK_ORIGIN"

// soakConfig is what an origin of the soak is to be.
type soakConfig struct {
	Resources   int           // by number, at /{number of zeros}number
	Hosts       int           // names that it has: 127.0.0.1 and on
	Interval    time.Duration // that it asks for: whole seconds
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
	Missed        int64   `json:"missed"`      // polls that were allowed, and a tolerance late at the end
	Overdue       int     `json:"overdue"`     // resources that may be polled, by as much, at the end
	LateP50       float64 `json:"late_p50_ms"` // arrival after the instant from which it was allowed
	LateP99       float64 `json:"late_p99_ms"`
	LateMax       float64 `json:"late_max_ms"`
}

// soakOrigin answers, and judges with a few bytes for each resource: it keeps up
// with a million of them beside the process that it judges. Waits are counted from
// before the answer is written, which is before any client can have it.
type soakOrigin struct {
	soakConfig
	birth time.Time

	mu      sync.Mutex
	all     []soakResource
	hosts   map[string]int // in flight
	verdict soakVerdict
	late    soakHistogram
}

type soakResource struct {
	first   int64 // arrival, in nanoseconds since birth; 0: none so far
	allowed int64 // from when on it may be asked again
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
	r, v := &o.all[n], &o.verdict
	v.Polls++
	if o.hosts[host]++; o.hosts[host] > o.Concurrency {
		v.Over++
	}
	if r.busy {
		v.Overlapping++
	}
	r.busy = true
	if r.polls == 0 {
		r.first = now
	} else {
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

// judge ends the count.
func (o *soakOrigin) judge() soakVerdict {
	o.mu.Lock()
	defer o.mu.Unlock()
	v, now, grace := o.verdict, int64(time.Since(o.birth)), int64(soakGrace(o.Interval))
	v.Fewest = math.MaxInt
	for i := range o.all {
		r := &o.all[i]
		v.Fewest, v.Most = min(v.Fewest, int(r.polls)), max(v.Most, int(r.polls))
		if r.polls == 0 {
			continue
		}
		v.Polled++
		if r.allowed+grace < now {
			v.Overdue++
		}
		v.Missed += max(0, (now-grace-r.first)/(int64(o.Interval)+grace)+1-int64(r.polls))
	}
	v.Impolite = v.Early + v.Overlapping + v.Over + v.Unconditional
	v.LateP50, v.LateP99, v.LateMax = o.late.at(0.5), o.late.at(0.99), float64(o.late.max)/1e6
	return v
}

// soakGrace is how late a poll may come and still count as on time: a fiftieth of
// the interval, but at least a second.
func soakGrace(interval time.Duration) time.Duration { return max(time.Second, interval/50) }

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
// that started it, and prints the verdict.
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
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	server.Close()
	return out.Encode(o.judge())
}
