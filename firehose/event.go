package firehose

import (
	"fmt"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// EventKind says what happened to a resource.
type EventKind uint8

// The kinds of event.
const (
	EventParked    EventKind = iota // told to stay away beyond Config.ParkCap
	EventBuried                     // went to an error queue
	EventDropped                    // a response was given up: the sink did not take it
	EventRelocated                  // a permanent redirect was confirmed and stored
	EventGone                       // 410, confirmed
	EventLimited                    // a limit of the origin rejected a request
	EventForfeited                  // a claim of a run that ended was found: it counts as sent
	EventFailing                    // the first failure after success: Cause says which
	EventRecovered                  // the first success after a failure
	eventKinds
)

var eventNames = [eventKinds]string{"parked", "buried", "dropped", "relocated", "gone", "limited", "forfeited", "failing", "recovered"}

// String returns the name in lower case.
func (k EventKind) String() string {
	if k < eventKinds {
		return eventNames[k]
	}
	return fmt.Sprintf("event-%d", uint8(k))
}

// MarshalText returns the name.
func (k EventKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Event is something that a user may want to know at once.
type Event struct {
	Kind     EventKind         // what happened
	At       time.Time         // when it was noticed
	Resource resource.Resource // a copy, as it is after the event
	Cause    string            // in words; no secret
}
