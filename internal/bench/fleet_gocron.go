package main

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-co-op/gocron/v2"
)

// cronJobs gives each URL a job of one scheduler, which runs as many at once as
// are due. When it is far behind, runs of one job overlap, so what they know of the
// URL is shared. That is gocron's default; its singleton mode holds a goroutine for
// each job.
func cronJobs(t *tour) (func() error, error) {
	client := &http.Client{Transport: t.transport()}
	scheduler, err := gocron.NewScheduler()
	if err != nil {
		return nil, err
	}
	t.start = time.Now().Add(t.every/20 + time.Duration(t.n)*addingJob)
	for i := range t.n {
		uri, first := t.uri(i), t.at(i)
		var tag atomic.Pointer[[]string]
		_, err := scheduler.NewJob(gocron.DurationJob(t.every), gocron.NewTask(func() {
			due := first // a job isn't told when it was due: this is the latest such instant
			if since := time.Since(first); since > 0 {
				due = first.Add(since / t.every * t.every)
			}
			p := page{uri: uri}
			known := tag.Load()
			if known != nil {
				p.tag = *known
			}
			_ = p.ask(client, due)                        // one that fails is not done, as the origin sees
			if got := p.tag; known == nil && got != nil { // it never changes
				tag.Store(&got)
			}
		}), gocron.WithStartAt(gocron.WithStartDateTime(first)))
		if err != nil {
			return nil, err
		}
	}
	scheduler.Start()
	return func() error {
		err := scheduler.Shutdown()
		if errors.Is(err, gocron.ErrStopExecutorTimedOut) || errors.Is(err, gocron.ErrStopJobsTimedOut) || errors.Is(err, gocron.ErrStopSchedulerTimedOut) {
			err = nil // it is far behind, which the figures show
		}
		client.CloseIdleConnections()
		return err
	}, nil
}

// addingJob is how long a job may take to be added.
const addingJob = 100 * time.Microsecond
