package firehosetest

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

// Arrival is one item that enters the feed of [Config.Replay].
type Arrival struct {
	// After is its place: when it happened, since New. The feed shows the
	// newest first.
	After time.Duration
	// Late is how much later it entered, behind newer items (E-3). Zero: at
	// once.
	Late time.Duration
	// ID names the item; the same id may arrive again. Type and Repo are
	// shown as they are, and may be empty.
	ID, Type, Repo string
}

// ArrivalError says what is wrong with an arrival.
type ArrivalError struct {
	Line  int    // of a file, or index into Config.Replay
	Field string // "unix_ts" and so on
	Value string // as found, at most 64 bytes of it
	Want  string // what is allowed
}

// Error implements error.
func (e *ArrivalError) Error() string {
	return fmt.Sprintf("firehosetest: arrival %d: %s %q: must be %s", e.Line, e.Field, e.Value, e.Want)
}

func badArrival(line int, field, value, want string) error {
	return &ArrivalError{line, field, value[:min(len(value), 64)], want}
}

// The bounds of a replay.
const (
	mostArrivals  = 1 << 24
	longestName   = 256 // bytes of an id, a type or a repository
	longestReplay = 1000 * 24 * time.Hour
	lastSecond    = 1 << 33
)

// ReadArrivals reads a recorded stream: CSV with the columns unix_ts, id, type
// and repo and a line that names them, as it is or packed by gzip. The first
// second becomes the beginning. Whole seconds tell no order within them: its
// items stand in the order of the lines, evenly spread over their second. The
// error is an [*ArrivalError], or that of the reader or the encoding.
func ReadArrivals(r io.Reader) ([]Arrival, error) {
	in := bufio.NewReader(r)
	if magic, err := in.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("firehosetest: arrivals: %w", err)
		}
		in = bufio.NewReader(z)
	}
	c := csv.NewReader(in)
	c.FieldsPerRecord = 4
	c.ReuseRecord = true
	var list []Arrival
	types := map[string]string{}
	for {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			return spread(list), nil
		}
		if err != nil {
			return nil, fmt.Errorf("firehosetest: arrivals: %w", err)
		}
		line, _ := c.FieldPos(0)
		if list == nil {
			if err := readTitles(record, line); err != nil {
				return nil, err
			}
			list = []Arrival{}
			continue
		}
		a, err := readArrival(record, line, types)
		if err != nil {
			return nil, err
		}
		if len(list) == mostArrivals {
			return nil, badArrival(line, "line", record[1], fmt.Sprintf("among the first %d", mostArrivals))
		}
		list = append(list, a)
	}
}

func readTitles(record []string, line int) error {
	for i, want := range [...]string{"unix_ts", "id", "type", "repo"} {
		if record[i] != want {
			return badArrival(line, "column", record[i], want)
		}
	}
	return nil
}

// readArrival keeps the second in After, since the first one is not known yet.
func readArrival(record []string, line int, types map[string]string) (Arrival, error) {
	second, err := strconv.ParseInt(record[0], 10, 64)
	if err != nil || second < 0 || second > lastSecond {
		return Arrival{}, badArrival(line, "unix_ts", record[0], "seconds, 0 to 2^33")
	}
	a := Arrival{After: time.Duration(second), ID: record[1], Type: types[record[2]], Repo: record[3]}
	if a.Type == "" {
		a.Type = record[2]
		types[a.Type] = a.Type
	}
	return a, a.validNames(line)
}

func (a Arrival) validNames(line int) error {
	switch {
	case a.ID == "" || len(a.ID) > longestName:
		return badArrival(line, "id", a.ID, "1 to 256 bytes")
	case len(a.Type) > longestName:
		return badArrival(line, "type", a.Type, "at most 256 bytes")
	case len(a.Repo) > longestName:
		return badArrival(line, "repo", a.Repo, "at most 256 bytes")
	}
	return nil
}

// spread turns seconds into places.
func spread(list []Arrival) []Arrival {
	sortArrivals(list)
	if len(list) == 0 {
		return list
	}
	first := list[0].After
	for from := 0; from < len(list); {
		second := list[from].After
		to := from
		for to < len(list) && list[to].After == second {
			to++
		}
		step := time.Second / time.Duration(to-from)
		for i := from; i < to; i++ {
			list[i].After = (second-first)*time.Second + time.Duration(i-from)*step + step/2
		}
		from = to
	}
	return list
}

// sortArrivals sorts by place; equal ones keep their order.
func sortArrivals(list []Arrival) {
	slices.SortStableFunc(list, func(a, b Arrival) int { return cmp.Compare(a.After, b.After) })
}

// validArrivals checks Config.Replay.
func validArrivals(list []Arrival) error {
	if len(list) > mostArrivals {
		return badArrival(mostArrivals, "index", strconv.Itoa(mostArrivals), "below 2^24")
	}
	for i, a := range list {
		switch {
		case a.After < 0 || a.After > longestReplay:
			return badArrival(i, "After", a.After.String(), "0 to 1,000 days")
		case a.Late < 0 || a.Late > longestReplay:
			return badArrival(i, "Late", a.Late.String(), "0 to 1,000 days")
		case i > 0 && a.After < list[i-1].After:
			return badArrival(i, "After", a.After.String(), "not before the one above it")
		}
		if err := a.validNames(i); err != nil {
			return err
		}
	}
	return nil
}
