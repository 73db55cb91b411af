package main

import (
	"sync"
	"time"
)

// judge sees each request as the origin does, by the origin's clock, and says
// whether it was polite and how late it came. Instants are nanoseconds since 1970.
type judge struct {
	every int64 // the interval of every URL

	mu     sync.Mutex
	urls   []visit
	open   bool // what arrives is counted
	counts counts
	seen   int // URLs that were answered
	late   *histogram
}

// visit is what is known of a URL.
type visit struct {
	arrived  int64 // the latest request; 0: none
	answered int64 // the latest answer; 0: none
	inFlight int32
}

// counts are those of the requests that arrived while the judge was open.
type counts struct {
	Requests    int64 // that were answered
	NotModified int64 // among them
	InTime      int64 // that came within one interval of when they were wanted
	Impolite    int64 // that came before the interval was over, or while another was in flight
	Earliest    int64 // how much before it was over at most, in nanoseconds
}

func newJudge(urls int, every time.Duration) *judge {
	return &judge{every: int64(every), urls: make([]visit, urls), late: new(histogram)}
}

// arrive takes note of a request. It was wanted at the instant due if the client
// says so; 0 stands for one interval after the answer before. A URL may be
// requested once in each interval, from arrival to arrival.
func (j *judge) arrive(url int, due, now int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	v := &j.urls[url]
	before := *v
	v.arrived = now
	v.inFlight++
	if !j.open || before.arrived == 0 {
		return
	}
	earlyBy := before.arrived + j.every - now
	if earlyBy > 0 || before.inFlight > 0 {
		j.counts.Impolite++
		j.counts.Earliest = max(j.counts.Earliest, earlyBy)
	}
	if due == 0 {
		due = max(before.arrived, before.answered) + j.every
	}
	j.late.add(time.Duration(now - due))
	if now-due < j.every {
		j.counts.InTime++
	}
}

// answer takes note of the end of a request.
func (j *judge) answer(url int, notModified bool, now int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	v := &j.urls[url]
	if v.answered == 0 {
		j.seen++
	}
	v.answered = now
	v.inFlight--
	if j.open {
		j.counts.Requests++
		if notModified {
			j.counts.NotModified++
		}
	}
}

// begin opens the judge.
func (j *judge) begin() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.open = true
}

// verdict is what a judge has to say.
type verdict struct {
	counts
	Seen             int           // URLs that were ever answered
	LateP50, LateP99 time.Duration // in the end of the cells that they fell into
}

// end closes the judge.
func (j *judge) end() verdict {
	j.mu.Lock()
	j.open = false
	j.mu.Unlock()
	return j.look()
}

// look is the verdict so far.
func (j *judge) look() verdict {
	j.mu.Lock()
	defer j.mu.Unlock()
	return verdict{counts: j.counts, Seen: j.seen, LateP50: j.late.quantile(50), LateP99: j.late.quantile(99)}
}
