package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// tour is what a client is to poll: n URLs of one origin, each once in every
// interval, the first time spread evenly over the first interval.
type tour struct {
	origin string
	n      int
	every  time.Duration
	conns  int       // most connections to the origin
	start  time.Time // when the first URL is polled first; set by the client
}

// touring makes a client poll. It returns when it has begun, or is about to at
// the start of the tour. stop returns when no request is in flight any more.
type touring func(t *tour) (stop func() error, err error)

// at is when a URL is polled first.
func (t *tour) at(i int) time.Time {
	return t.start.Add(time.Duration(int64(t.every) / int64(t.n) * int64(i)))
}

func (t *tour) uri(i int) string { return t.origin + "/" + strconv.Itoa(i) }

// transport is the same for all: connections are capped, and kept.
func (t *tour) transport() *http.Transport {
	return &http.Transport{MaxConnsPerHost: t.conns, MaxIdleConnsPerHost: t.conns, MaxIdleConns: t.conns}
}

// page is what a client of net/http has to know of a URL.
type page struct {
	uri string
	tag []string // the header; nil before the first answer
}

// ask sends one conditional GET, and tells the origin when it was wanted. Zero
// says nothing.
func (p *page) ask(client *http.Client, due time.Time) error {
	req, err := http.NewRequest(http.MethodGet, p.uri, nil)
	if err != nil {
		return err
	}
	if p.tag != nil {
		req.Header["If-None-Match"] = p.tag
	}
	if !due.IsZero() {
		req.Header[dueHeader] = dueValue(due)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if tag := resp.Header["Etag"]; resp.StatusCode == http.StatusOK {
		p.tag = tag
	}
	return err
}

func dueValue(due time.Time) []string { return []string{strconv.FormatInt(due.UnixNano(), 10)} }

// watched is what a tour has cost between its two marks.
type watched struct {
	verdict
	cpu       time.Duration
	resident  int64 // the most of what was seen each second
	allocated uint64
}

// watch measures a client for as long as the window says.
func (x sample) watch(o *origin) (w watched, err error) {
	fail := x.profiled(func() {
		objects, cpu := allocations(), processorTime()
		if _, err = o.say(sayBegin); err != nil {
			return
		}
		end := time.Now().Add(x.Window)
		for left := x.Window; left > 0; left = time.Until(end) {
			time.Sleep(min(left, time.Second))
			w.resident = max(w.resident, resident())
		}
		w.verdict, err = o.say(sayEnd)
		w.cpu, w.allocated = processorTime()-cpu, allocations()-objects
	})
	return w, errors.Join(err, fail)
}

// tour runs a client at an origin of its own, and watches it once it is warm.
func (x sample) tour(begin touring, t *tour, warm func(*origin) error) (w watched, err error) {
	o, err := startOrigin(originPlan{URLs: t.n, Every: t.every})
	if err != nil {
		return w, err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	t.origin = o.url
	stop, err := begin(t)
	if err != nil {
		return w, err
	}
	if err = warm(o); err == nil {
		w, err = x.watch(o)
	}
	return w, errors.Join(err, stop())
}

// pages are those of all URLs, none of which was answered.
func (t *tour) pages() []page {
	pages := make([]page, t.n)
	for i := range pages {
		pages[i].uri = t.uri(i)
	}
	return pages
}

// failures counts polls that failed, where none may.
type failures struct {
	n     atomic.Int64
	first atomic.Pointer[error]
}

func (f *failures) note(err error) {
	if err != nil {
		f.n.Add(1)
		f.first.CompareAndSwap(nil, &err)
	}
}

// err is nil if none has failed.
func (f *failures) err() error {
	if n := f.n.Load(); n > 0 {
		return fmt.Errorf("%d polls failed, the first: %w", n, *f.first.Load())
	}
	return nil
}
