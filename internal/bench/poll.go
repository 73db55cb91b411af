package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Names of the figures of polls.
const (
	cpuUS      = "cpu_us"
	rate       = "rate"
	allocs     = "allocs"
	done       = "done"
	residentMB = "resident_mb"
	impolite   = "impolite"
)

// URLs that are polled in turn for each connection of the measure poll, and how
// often each may be: a turn has to take a connection longer than that, or it would
// be idle for want of a URL that may be polled. With 16 of them a client that keeps
// to the interval was, which one that doesn't is not.
const (
	urlsEach  = 1024
	pollEvery = 10 * time.Millisecond
)

func pollMeasure() measure {
	return measure{
		name: onePoll, title: "One poll answered 304, over {size} connections", ways: []string{""},
		beside: []string{bare}, runs: 5,
		entry: func(s system) entry { return s.poll },
		figures: []figure{
			{name: cpuUS, heading: "CPU µs a poll"}, {name: allocs, heading: "allocations a poll"}, {name: rate, heading: "polls/s"},
		},
	}
}

// polls is how a client is measured that polls as fast as it can.
func polls(begin touring) func(sample) (map[string]float64, error) {
	return func(x sample) (map[string]float64, error) {
		t := &tour{n: urlsEach * x.Size, every: pollEvery, conns: x.Size}
		w, err := x.tour(begin, t, func(o *origin) error {
			time.Sleep(x.Window / 5)
			return o.awaitAll(t.n)
		})
		if err != nil {
			return nil, err
		}
		if w.NotModified < w.Requests || w.Requests == 0 {
			return nil, fmt.Errorf("%d of %d requests were answered with 304", w.NotModified, w.Requests)
		}
		if err := w.unstarved(); err != nil {
			return nil, err
		}
		n := float64(w.Requests)
		return map[string]float64{
			cpuUS:  float64(w.cpu) / 1e3 / n,
			allocs: float64(w.allocated) / n,
			rate:   n / x.Window.Seconds(),
		}, nil
	}
}

// unstarved is an error if the client had to wait for URLs that it may poll: then
// it polls them as soon as it may. One that has always more of them than it can
// poll comes to each of them late.
func (w *watched) unstarved() error {
	if w.InTime > w.Requests/100 {
		return fmt.Errorf("%d of %d requests came within %v of when they might: the client was idle for want of URLs", w.InTime, w.Requests, pollEvery)
	}
	return nil
}

// httpLoop is the least that net/http can do: a loop for each connection.
func httpLoop(t *tour) (func() error, error) {
	ctx, cancel := context.WithCancel(context.Background())
	client := &http.Client{Transport: t.transport()}
	errs := make([]error, t.conns)
	pages := t.pages()
	each := t.n / t.conns
	t.start = time.Now()
	var group sync.WaitGroup
	for c := range t.conns {
		mine := pages[c*each : (c+1)*each]
		group.Go(func() {
			for i := 0; ctx.Err() == nil && errs[c] == nil; i = (i + 1) % each {
				errs[c] = mine[i].ask(client, time.Time{})
			}
		})
	}
	return func() error {
		cancel()
		group.Wait()
		client.CloseIdleConnections()
		return errors.Join(errs...)
	}, nil
}
