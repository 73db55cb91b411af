package firehose

import (
	"fmt"
	"math"
	"time"
)

// volume watches how much comes in through a feed, and finds out when that is far
// less than usual although something still does (rule E-11). A feed of which
// nothing comes at all answers 304, of which package resource takes care.
type volume struct {
	At       time.Time `json:"at,omitzero"` // of the last reading
	Usual    float64   `json:"usual"`       // items a second
	Every    float64   `json:"every"`       // seconds from one reading to the next
	Learnt   int       `json:"learnt"`      // readings that both are drawn from, up to steadyReadings
	Expected float64   `json:"expected"`    // items of late, by Usual
	Actual   float64   `json:"actual"`      // and those that came
	Hushed   bool      `json:"hushed"`      // it was told that little comes
}

const (
	steadyReadings = 100 // over so many readings the usual rate is drawn; so it follows the time of day
	learntReadings = 20  // before so many nothing is usual
	recent         = 5   // readings, as they come usually, that what came of late is drawn from
	fewExpected    = 50  // items; of fewer nothing can be said
	farLess        = 10  // times less than expected is unusual
	backAgain      = 2   // times less is usual again
)

// add takes a reading over, by which so many items came, shown or missed. It
// returns what is to be told, and why.
func (v *volume) add(at time.Time, items float64) (kind EventKind, cause string) {
	before, seconds := v.At, at.Sub(v.At).Seconds()
	v.At = at
	if before.IsZero() || seconds <= 0 {
		return noEvent, ""
	}
	if v.Learnt > 0 {
		fade := math.Exp(-seconds / (recent * v.Every))
		v.Expected, v.Actual = fade*v.Expected+v.Usual*seconds, fade*v.Actual+items
	}
	if !v.Hushed {
		v.Learnt = min(v.Learnt+1, steadyReadings)
		v.Usual += (items/seconds - v.Usual) / float64(v.Learnt)
		v.Every += (seconds - v.Every) / float64(v.Learnt)
	}
	switch {
	case v.Learnt < learntReadings:
	case !v.Hushed && v.Expected >= fewExpected && farLess*v.Actual < v.Expected:
		v.Hushed = true
		return EventQuiet, fmt.Sprintf("%.0f items came of late where %.0f are usual", v.Actual, v.Expected)
	case v.Hushed && backAgain*v.Actual > v.Expected:
		v.Hushed = false
		return EventLively, fmt.Sprintf("%.0f items came of late where %.0f are usual", v.Actual, v.Expected)
	}
	return noEvent, ""
}
