package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/oklog/run"
)

// oklogGroup puts all services into one group, as its documentation shows: a
// context each, and one actor more that ends when the program is to end.
func oklogGroup(services []service) (func() error, error) {
	var group run.Group
	ctx, cancel := context.WithCancel(context.Background())
	group.Add(run.ContextHandler(ctx))
	for _, s := range services {
		group.Add(actor(context.Background(), s))
	}
	result := make(chan error, 1)
	go func() { result <- group.Run() }()
	return func() error {
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			return fmt.Errorf("oklog/run ended with %w", err)
		}
		return nil
	}, nil
}

// oklogRebuilt is what a user writes: the first actor to end ends its group, so
// each service has a group of its own and a goroutine that runs it again.
func oklogRebuilt(services []service) (func() error, error) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, s := range services {
		all.Go(func() {
			for ctx.Err() == nil {
				var group run.Group
				group.Add(actor(ctx, s))
				_ = group.Run() // the failure that is measured
			}
		})
	}
	return stopAll(cancel, &all), nil
}

func actor(parent context.Context, s service) (execute func() error, interrupt func(error)) {
	ctx, cancel := context.WithCancel(parent)
	return func() error { return s.Serve(ctx) }, func(error) { cancel() }
}
