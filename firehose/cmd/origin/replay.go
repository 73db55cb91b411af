package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/cannedos/cannedos/firehose/firehosetest"
)

// replay is what -replay and the flags beside it say.
type replay struct {
	file    string
	overlay int
	speed   float64
}

// madeReplay is the name of a made stream.
const madeReplay = "made"

// mostLate is how late items of a replay come, at most, at its own speed.
const mostLate = time.Minute

func (r *replay) flags(fs *flag.FlagSet) {
	fs.StringVar(&r.file, "replay", "", "`file` of a recorded stream for /events, CSV as it is or gzipped; "+madeReplay+": an hour of a made one. -late then means by up to a minute")
	fs.IntVar(&r.overlay, "overlay", 1, "copies of it that are laid over each other")
	fs.Float64Var(&r.speed, "speed", 1, "how many times faster than it was recorded it passes")
}

func (r *replay) check() error {
	switch {
	case r.overlay < 1 || r.overlay > 1000:
		return fmt.Errorf("origin: -overlay %d: must be 1 to 1,000", r.overlay)
	case !(r.speed >= 0.001 && r.speed <= 1000):
		return fmt.Errorf("origin: -speed %v: must be 0.001 to 1,000", r.speed)
	}
	return nil
}

// load returns nothing if there is nothing to replay.
func (r *replay) load(seed uint64, late float64) ([]firehosetest.Arrival, error) {
	if r.file == "" {
		return nil, nil
	}
	list, err := r.read(seed)
	if err != nil {
		return nil, err
	}
	list = firehosetest.Delay(seed, firehosetest.Overlay(list, r.overlay), late, mostLate)
	for i := range list {
		list[i].After = time.Duration(float64(list[i].After) / r.speed)
		list[i].Late = time.Duration(float64(list[i].Late) / r.speed)
	}
	return list, nil
}

func (r *replay) read(seed uint64) ([]firehosetest.Arrival, error) {
	if r.file == madeReplay {
		return firehosetest.MadeArrivals(seed, time.Hour), nil
	}
	f, err := os.Open(r.file)
	if err != nil {
		return nil, fmt.Errorf("origin: -replay: %w", err)
	}
	defer f.Close()
	list, err := firehosetest.ReadArrivals(f)
	if err != nil {
		return nil, fmt.Errorf("origin: -replay %s: %w", r.file, err)
	}
	return list, nil
}
