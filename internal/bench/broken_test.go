package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

var errRefused = errors.New("refused")

// broken are systems that don't do what is measured. What they leave behind
// ends with the test's context.
func broken(t *testing.T) map[string]start {
	// sound restarts services, and stops as it should.
	sound := func(services []service) (func() error, error) {
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for _, s := range services {
			group.Go(func() {
				for s.Serve(ctx) != nil {
					continue
				}
			})
		}
		return stopAll(cancel, &group), nil
	}
	return map[string]start{
		"refuses": func([]service) (func() error, error) { return nil, errRefused },
		"refuses to stop": func(services []service) (func() error, error) {
			stop, err := sound(services)
			return func() error { return errors.Join(stop(), errRefused) }, err
		},
		"forgets one": func(services []service) (func() error, error) { return sound(services[1:]) },
		"enters one twice instead of another": func(services []service) (func() error, error) {
			return sound(append(services[1:], services[len(services)-1]))
		},
		"does not restart": func(services []service) (func() error, error) {
			for _, s := range services {
				go func() { _ = s.Serve(t.Context()) }()
			}
			return nil, nil
		},
		"stops too early": func(services []service) (func() error, error) {
			_, err := sound(services)
			return func() error { return nil }, err
		},
		// So many, since some of the tests before may end only now.
		"leaves goroutines": func(services []service) (func() error, error) {
			for range 1000 {
				go func() { <-t.Context().Done() }()
			}
			return sound(services)
		},
	}
}

// TestBroken shows that no figure comes of a system that doesn't do what is
// measured.
func TestBroken(t *testing.T) {
	idling := sample{Measure: idle, Size: 3}
	storming := sample{Measure: storm, Way: byError, Size: 3}
	flapping := sample{Measure: restart, Way: byError, Size: 3}
	tests := []struct {
		name, system string
		x            sample
		want         string
	}{
		{"idle", "refuses", idling, "refused"},
		{"storm", "refuses", storming, "refused"},
		{"restart", "refuses", flapping, "refused"},
		{"idle", "refuses to stop", idling, "refused"},
		{"storm", "refuses to stop", storming, "refused"},
		{"restart", "refuses to stop", flapping, "refused"},
		{"idle", "forgets one", idling, "start of all services: not within 2m0s"},
		{"storm", "forgets one", storming, "start of all services: not within 2m0s"},
		{"restart", "forgets one", flapping, "start of the service: not within 2m0s"},
		{"idle", "enters one twice instead of another", idling, "service 0: entered 0 times instead of 1"},
		{"storm", "enters one twice instead of another", storming, "service 0: entered 0 times instead of 1"},
		{"storm", "does not restart", storming, "return of all services: not within 2m0s"},
		{"restart", "does not restart", flapping, "restarts: not within 2m0s"},
		{"idle", "stops too early", idling, "0 of 3 services have ended"},
		{"storm", "stops too early", storming, "0 of 3 services have ended"},
		{"restart", "stops too early", flapping, "the service runs when the system says that it has ended"},
		{"idle", "leaves goroutines", idling, "goroutines are left after the stop"},
		{"storm", "leaves goroutines", storming, "goroutines are left after the stop"},
		{"restart", "leaves goroutines", flapping, "goroutines are left after the stop"},
	}
	for _, test := range tests {
		t.Run(test.name+" "+test.system, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				run := map[string]func(start, sample) (map[string]float64, error){idle: runIdle, restart: runRestart, storm: runStorm}
				_, err := run[test.x.Measure](broken(t)[test.system], test.x)
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got error %v, want %q", err, test.want)
				}
			})
		})
	}
}

// TestOverlap shows that two runs of one service at the same time are seen.
func TestOverlap(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := newFlapper(1, failing(byError))
	f.live.Store(1)
	if err := f.Serve(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := f.figures(); err == nil || !strings.Contains(err.Error(), "at once") {
		t.Errorf("got error %v", err)
	}
}
