package main

import (
	"context"
	"fmt"
	"time"

	"github.com/cannedos/cannedos/scheduler"
)

// held leaves everything at its default.
func held(services []service) (func() error, error) { return scheduled(services, nil) }

// repaired restarts without a wait.
func repaired(services []service) (func() error, error) {
	return scheduled(services, func(int) time.Duration { return 0 })
}

func scheduled(services []service, backoff scheduler.Backoff) (func() error, error) {
	specs := make([]scheduler.Spec, len(services))
	for i, s := range services {
		specs[i] = scheduler.Spec{Alias: s.String(), Service: s, Backoff: backoff}
	}
	os, err := scheduler.New(scheduler.Config{Services: specs})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- os.Serve(ctx) }()
	if err := os.AwaitStarted(ctx); err != nil {
		cancel()
		return nil, fmt.Errorf("await started: %w", err)
	}
	return func() error {
		cancel()
		return <-result
	}, nil
}
