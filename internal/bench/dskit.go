package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/grafana/dskit/services"
)

// dskitManager puts all services under one manager.
func dskitManager(all []service) (func() error, error) {
	list := make([]services.Service, len(all))
	for i, s := range all {
		list[i] = services.NewBasicService(nil, s.Serve, nil).WithName(s.String())
	}
	manager, err := services.NewManager(list...)
	if err != nil {
		return nil, err
	}
	if err := services.StartManagerAndAwaitHealthy(context.Background(), manager); err != nil {
		return nil, err
	}
	return func() error {
		if err := services.StopManagerAndAwaitStopped(context.Background(), manager); err != nil {
			return err
		}
		if failed := manager.ServicesByState()[services.Failed]; len(failed) > 0 {
			return fmt.Errorf("dskit: %d services failed", len(failed))
		}
		return nil
	}, nil
}

// dskitRebuilt is what a user writes: a service of dskit runs once, so each has
// a goroutine that makes the next when it has failed. There is no manager, which
// takes no services once it was made.
func dskitRebuilt(all []service) (func() error, error) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for _, s := range all {
		group.Go(func() {
			for ctx.Err() == nil {
				one := services.NewBasicService(nil, s.Serve, nil).WithName(s.String())
				if one.StartAsync(ctx) == nil {
					// The error is that of the service, or that it has ended.
					_ = one.AwaitTerminated(context.Background())
				}
			}
		})
	}
	return stopAll(cancel, &group), nil
}
