package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// plain is the least that runs services: goroutines that share a context.
func plain(services []service) (func() error, error) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for _, s := range services {
		group.Go(func() { _ = s.Serve(ctx) })
	}
	return stopAll(cancel, &group), nil
}

// plainContexts is the fair floor: each service could be stopped alone.
func plainContexts(services []service) (func() error, error) {
	ctx, cancel := context.WithCancel(context.Background())
	cancels := make([]context.CancelFunc, len(services))
	var group sync.WaitGroup
	for i, s := range services {
		var own context.Context
		own, cancels[i] = context.WithCancel(ctx)
		group.Go(func() { _ = s.Serve(own) })
	}
	stop := stopAll(cancel, &group)
	return func() error {
		err := stop()
		for _, cancel := range cancels { // over already; it also keeps them until here
			cancel()
		}
		return err
	}, nil
}

func stopAll(cancel context.CancelFunc, group *sync.WaitGroup) func() error {
	return func() error {
		cancel()
		group.Wait()
		return nil
	}
}

// ending tells the goroutine that respawns which service has ended, and how.
type ending struct {
	index int
	err   error
}

// respawning is the floor of restarts: one goroutine that starts the goroutine
// of any service that has ended again. It keeps the latest failure of each, and
// with stacks also where a panic came from, as a supervisor has to.
func respawning(stacks bool) start {
	return func(services []service) (func() error, error) {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan ending)
		launch := func(i int) {
			go func() { ended <- ending{i, guarded(ctx, services[i], stacks)} }()
		}
		latest := make([]error, len(services))
		var group sync.WaitGroup
		group.Go(func() {
			for live := len(services); live > 0; {
				e := <-ended
				latest[e.index] = e.err
				if ctx.Err() != nil {
					live--
					continue
				}
				launch(e.index)
			}
		})
		for i := range services {
			launch(i)
		}
		return stopAll(cancel, &group), nil
	}
}

// panicked is the failure of a service that panicked.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

func guarded(ctx context.Context, s service, stacks bool) (err error) {
	defer func() {
		if value := recover(); value != nil {
			p := &panicked{value: value}
			if stacks {
				p.stack = debug.Stack()
			}
			err = p
		}
	}()
	return s.Serve(ctx)
}
