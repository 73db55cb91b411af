package resource

import (
	"encoding/json"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Hint is what a feed says of when it is worth reading: the ttl, skipHours and
// skipDays of RSS 2.0, and the update period of the Syndication module, sy:. The
// zero Hint says nothing.
type Hint struct {
	// Interval is the wait between two updates: the longer of ttl, in minutes, and
	// updatePeriod over updateFrequency. At most [MaxInterval]; zero: not told.
	Interval time.Duration

	// SkipHours has bit h set where the feed is not to be read from h to h+1
	// o'clock UTC, and SkipDays has bit d set for the weekday d of package time,
	// UTC. All hours, or all days, would be never, and count as none.
	SkipHours uint32
	SkipDays  uint8

	// Base is an instant of an update: the others are whole Intervals from it.
	// Zero: not told.
	Base time.Time
}

const (
	allHours = 1<<24 - 1
	allDays  = 1<<7 - 1
)

// IsZero reports whether the hint says nothing.
func (h Hint) IsZero() bool { return h == Hint{} }

// Next returns the first instant at or after the given one that lies in no hour
// and on no day that is to be skipped. It keeps the monotonic reading.
func (h Hint) Next(after time.Time) time.Time {
	h = h.normal()
	if h.SkipHours == 0 && h.SkipDays == 0 {
		return after
	}
	t := after.Round(0).UTC()
	for range 8 * 24 { // a week and a day hold every combination of the two
		if h.SkipHours&(1<<t.Hour()) == 0 && h.SkipDays&(1<<t.Weekday()) == 0 {
			return after.Add(t.Sub(after))
		}
		t = t.Truncate(time.Hour).Add(time.Hour)
	}
	return after
}

// due is when the feed is worth reading again that was read at the instant: after
// its interval, or at the next update where it says when those are, which can be
// sooner, once. limit bounds the wait.
func (h Hint) due(at time.Time, limit time.Duration) time.Time {
	wait := h.Interval
	if wait > 0 && !h.Base.IsZero() {
		// Instants centuries apart saturate the difference, and are no worse a base.
		if wait = h.Base.Sub(at.Round(0)) % h.Interval; wait <= 0 {
			wait += h.Interval
		}
	}
	return at.Add(min(wait, limit))
}

// normal is the hint within its bounds, without what would mean never.
func (h Hint) normal() Hint {
	h.Interval = min(max(0, h.Interval), MaxInterval)
	if h.SkipHours &= allHours; h.SkipHours == allHours {
		h.SkipHours = 0
	}
	if h.SkipDays &= allDays; h.SkipDays == allDays {
		h.SkipDays = 0
	}
	if s := h.Base.Unix(); h.Interval == 0 || s < 0 || s > lastSecond {
		h.Base = time.Time{}
	}
	if h.Base = utc(h.Base).Truncate(time.Second); h.Base.Unix() == 0 {
		h.Base = h.Base.Add(h.Interval) // the same updates: an encoding takes 0 for none
	}
	return h
}

// feed applies what the feed says of itself (rule L-Feeds), on a 304 as on a 200:
// a 304 has no body, so the resource keeps the hint of the last 200. Hours and
// days to be skipped count whatever the answer was. Who reads a feed at the full
// hour is not alone with it: like any wait that many share it is spread (rule
// I-12).
func (x *applying) feed(res Result) {
	r, a := x.r, x.a
	if a.Status == 200 && (res.Outcome == Modified || res.Outcome == NotModified) {
		r.Hint = a.Hint.normal()
	}
	if r.Hint.IsZero() || res.Ended || res.Outcome == Moved {
		return
	}
	if res.Outcome == Modified || res.Outcome == NotModified {
		limit := x.p.FreshnessCap
		if limit <= 0 {
			limit = DefaultFreshnessCap
		}
		due := r.Hint.due(a.at(), limit)
		if !r.Hint.Base.IsZero() {
			due = due.Add(spread(due.Sub(a.at()), a.Jitter))
		}
		x.wait(due, WaitingForInterval, ReasonFeed)
	}
	if next := r.Hint.Next(r.NotBefore); next.After(r.NotBefore) {
		next = next.Add(spread(next.Sub(r.NotBefore), a.Jitter))
		x.wait(r.Hint.Next(next), WaitingForInterval, ReasonFeed)
	}
}

// hintJSON is the form of a Hint for people.
type hintJSON struct {
	Interval  string    `json:"interval,omitempty"`
	SkipHours []int     `json:"skip_hours,omitempty"`
	SkipDays  []string  `json:"skip_days,omitempty"`
	Base      time.Time `json:"base,omitzero"`
}

// MarshalJSON returns the form for people: hours as numbers, days by name.
func (h Hint) MarshalJSON() ([]byte, error) {
	j := hintJSON{Interval: durationText(h.Interval), Base: utc(h.Base)}
	for hours := h.SkipHours & allHours; hours != 0; hours &= hours - 1 {
		j.SkipHours = append(j.SkipHours, bits.TrailingZeros32(hours))
	}
	for days := h.SkipDays & allDays; days != 0; days &= days - 1 {
		j.SkipDays = append(j.SkipDays, strings.ToLower(time.Weekday(bits.TrailingZeros8(days)).String()))
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote. A bad duration, hour or day gives a
// [*FieldError].
func (h *Hint) UnmarshalJSON(b []byte) error {
	var j hintJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	interval, err := durationValue("hint.interval", j.Interval)
	if err != nil {
		return err
	}
	v := Hint{Interval: interval, Base: utc(j.Base)}
	for _, hour := range j.SkipHours {
		if hour < 0 || hour > 23 {
			return &FieldError{"hint.skip_hours", strconv.Itoa(hour), "hours from 0 to 23"}
		}
		v.SkipHours |= 1 << hour
	}
	for _, name := range j.SkipDays {
		day, ok := weekday(name)
		if !ok {
			return &FieldError{"hint.skip_days", clip(name), "English names of weekdays"}
		}
		v.SkipDays |= 1 << day
	}
	*h = v.normal()
	return nil
}

// weekday reads an English name in any case.
func weekday(name string) (time.Weekday, bool) {
	for day := time.Sunday; day <= time.Saturday; day++ {
		if strings.EqualFold(name, day.String()) {
			return day, true
		}
	}
	return 0, false
}
