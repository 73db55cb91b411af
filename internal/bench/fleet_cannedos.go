package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// configOf is what a user has to say to have one origin polled over so many
// connections: how many workers there are, and that the origin lets them all ask
// at once. It is asked by four without that.
func configOf(t *tour) firehose.Config {
	return firehose.Config{
		Workers:  t.conns,
		Profiles: map[string]resource.Profile{"": {Concurrency: t.n}},
		Sink:     firehose.SinkFunc(func(context.Context, *resource.Response) error { return nil }),
	}
}

func (t *tour) specs(from, to int) []resource.Spec {
	specs := make([]resource.Spec, 0, to-from)
	for i := from; i < to; i++ {
		specs = append(specs, resource.Spec{URI: t.uri(i), Interval: t.every})
	}
	return specs
}

// serveOurs runs the OS, and what is to be done while it runs.
func serveOurs(config firehose.Config, while func(context.Context, *firehose.OS) error) (func() error, error) {
	canned, err := firehose.New(config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	served, did := make(chan error, 1), make(chan error, 1)
	go func() { served <- canned.Serve(ctx) }()
	if err := canned.Ready(ctx); err != nil {
		cancel()
		return nil, errors.Join(err, <-served)
	}
	go func() { did <- while(ctx, canned) }()
	return func() error {
		cancel()
		err := errors.Join(<-did, <-served)
		if stats := canned.Stats(); stats.Outcomes[resource.Failed.String()] > 0 {
			err = errors.Join(err, errors.New("polls failed"))
		}
		return err
	}, nil
}

// fleetOfOurs adds the URLs while the OS runs, as they are to be polled first:
// those of a Config are all asked at once, as fast as it goes.
func fleetOfOurs(t *tour) (func() error, error) {
	t.start = time.Now().Add(t.every / 20)
	return serveOurs(configOf(t), func(ctx context.Context, canned *firehose.OS) error {
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for added := 0; added < t.n; {
			to := added
			for to < t.n && !t.at(to).After(time.Now()) {
				to++
			}
			if err := canned.Add(ctx, t.specs(added, to)...); err != nil {
				return err
			}
			added = to
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return nil
			}
		}
		return nil
	})
}

// pollMemory polls a few URLs as fast as it can.
func pollMemory(t *tour) (func() error, error) {
	config := configOf(t)
	config.Resources = t.specs(0, t.n)
	t.start = time.Now()
	return serveOurs(config, func(context.Context, *firehose.OS) error { return nil })
}

// pollFile does so with a store that survives the process, in which each poll
// writes its claim and its result.
func pollFile(t *tour) (func() error, error) {
	dir, err := os.MkdirTemp("", "cannedos-bench-")
	if err != nil {
		return nil, err
	}
	store, err := db.OpenFile(filepath.Join(dir, "polls.db"))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	config := configOf(t)
	config.Resources, config.DB = t.specs(0, t.n), store
	t.start = time.Now()
	stop, err := serveOurs(config, func(context.Context, *firehose.OS) error { return nil })
	if err != nil {
		return nil, errors.Join(err, store.Close(), os.RemoveAll(dir))
	}
	return func() error { return errors.Join(stop(), store.Close(), os.RemoveAll(dir)) }, nil
}
