package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/thejerf/suture/v4"
)

// sutureSupervisor puts all services under one supervisor, whose threshold is
// too high to be reached: beyond it, all restarts would wait together.
func sutureSupervisor(services []service) (func() error, error) {
	var odd atomic.Pointer[string] // an event that must not happen
	supervisor := suture.New("bench", suture.Spec{
		EventHook: func(e suture.Event) {
			switch e.(type) {
			case suture.EventServiceTerminate, suture.EventServicePanic:
			default:
				odd.Store(new(e.String()))
			}
		},
		FailureThreshold: math.MaxFloat64,
		FailureBackoff:   time.Nanosecond,
		BackoffJitter:    suture.NoJitter{},
		Timeout:          time.Minute,
	})
	for _, s := range services {
		supervisor.Add(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := supervisor.ServeBackground(ctx)
	return func() error {
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			return fmt.Errorf("suture ended with %w", err)
		}
		if event := odd.Load(); event != nil {
			return fmt.Errorf("suture: %s", *event)
		}
		return nil
	}, nil
}
