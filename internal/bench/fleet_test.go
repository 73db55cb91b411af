package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// hasty polls each URL when it should, and once more halfway to the next time.
func hasty(t *tour) (func() error, error) {
	ctx, cancel := context.WithCancel(context.Background())
	client := &http.Client{Transport: t.transport()}
	t.start = time.Now()
	var group sync.WaitGroup
	for i := range t.n {
		group.Go(func() {
			p := page{uri: t.uri(i)}
			for due := t.at(i); ; due = due.Add(t.every / 2) {
				select {
				case <-time.After(time.Until(due)): // by the clock of another process
					_ = p.ask(client, due)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	stop := stopAll(cancel, &group)
	return func() error {
		defer client.CloseIdleConnections()
		return stop()
	}, nil
}

// TestFleetJudges shows that a fleet which is impolite is found out, and that none
// is measured that refuses.
func TestFleetJudges(t *testing.T) {
	x := sample{Size: 10, Every: 400 * time.Millisecond, Window: 800 * time.Millisecond}
	figures, err := fleets(hasty)(x)
	if err != nil {
		t.Fatal(err)
	}
	if all := 2. * 10 * 2; figures[impolite] < all/2 || figures[impolite] > 2*all || figures[earliest] < 100 || figures[earliest] > 400 {
		t.Errorf("of about %v requests, all impolite, %v were found out, by %v ms at most", all, figures[impolite], figures[earliest])
	}
	if _, err := fleets(func(*tour) (func() error, error) { return nil, errRefused })(x); !errors.Is(err, errRefused) {
		t.Errorf("got error %v", err)
	}
	if _, err := polls(hasty)(sample{Size: 1, Window: 10 * time.Millisecond}); err != nil {
		t.Errorf("a sample of polls wants politeness: %v", err)
	}
	failing := func(t *tour) (func() error, error) {
		stop, err := hasty(t)
		return func() error { return errors.Join(stop(), errRefused) }, err
	}
	if _, err := fleets(failing)(x); !errors.Is(err, errRefused) {
		t.Errorf("got error %v", err)
	}
}

// TestUnstarved refuses figures of a client that waited for URLs.
func TestUnstarved(t *testing.T) {
	w := watched{verdict: verdict{counts: counts{Requests: 1000, InTime: 10}}}
	if err := w.unstarved(); err != nil {
		t.Error(err)
	}
	w.InTime++
	if err := w.unstarved(); err == nil || !strings.Contains(err.Error(), "11 of 1000 requests") {
		t.Errorf("got error %v", err)
	}
}

func TestFailures(t *testing.T) {
	var f failures
	f.note(nil)
	if err := f.err(); err != nil {
		t.Error(err)
	}
	f.note(errRefused)
	f.note(errFull)
	if err := f.err(); !errors.Is(err, errRefused) || err.Error() != "2 polls failed, the first: refused" {
		t.Error(err)
	}
}

func TestProfiles(t *testing.T) {
	x := sample{System: "a, b/c", Measure: fleet, Size: 7, Profiles: t.TempDir()}
	ran := false
	if err := x.profiled(func() { ran = true }); err != nil || !ran {
		t.Fatal(ran, err)
	}
	for _, kind := range []string{"cpu", "heap", "mutex"} {
		if info, err := os.Stat(filepath.Join(x.Profiles, "a-b-c-fleet-7."+kind)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", kind, err)
		}
	}
	x.Profiles = filepath.Join(x.Profiles, "none")
	if err := x.profiled(func() {}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got error %v", err)
	}
}
