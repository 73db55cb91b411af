package main

import "time"

// fleetConns is how many connections each client may have.
const fleetConns = 64

func fleetMeasure() measure {
	return measure{
		name: fleet, title: "{size} URLs, each of them every {every}", ways: []string{""},
		beside: []string{bareFleet, "gocron"}, runs: 1,
		entry: func(s system) entry { return s.fleet },
		figures: []figure{
			{name: done, heading: "done %", zero: true}, {name: residentMB, heading: "RSS MB", zero: true}, {name: cpuUS, heading: "CPU µs a poll"},
			{name: lateP50, heading: "late p50 ms", zero: true}, {name: lateP99, heading: "late p99 ms", zero: true},
			{name: impolite, heading: "impolite requests", zero: true}, {name: earliest, heading: "early by at most, ms", zero: true},
		},
	}
}

// fleets is how a client is measured that polls many URLs at their interval: from
// when each should have been polled once.
func fleets(begin touring) func(sample) (map[string]float64, error) {
	return func(x sample) (map[string]float64, error) {
		t := &tour{n: x.Size, every: x.Every, conns: fleetConns}
		w, err := x.tour(begin, t, func(*origin) error {
			time.Sleep(time.Until(t.start.Add(x.Every + x.Every/20)))
			return nil
		})
		if err != nil {
			return nil, err
		}
		return w.figures(x), nil
	}
}

// figures are those of the requests of a window, and of what the client used for
// them.
func (w *watched) figures(x sample) map[string]float64 {
	wanted := float64(x.Size) * float64(x.Window) / float64(x.Every)
	return map[string]float64{
		done:       min(100, 100*float64(w.InTime)/wanted),
		residentMB: float64(w.resident) / 1e6,
		cpuUS:      float64(w.cpu) / 1e3 / float64(max(1, w.Requests)),
		lateP50:    milliseconds(w.LateP50),
		lateP99:    milliseconds(w.LateP99),
		impolite:   float64(w.Impolite),
		earliest:   milliseconds(time.Duration(w.Earliest)),
	}
}
