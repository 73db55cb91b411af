package firehose

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// EventKind says what happened to a resource.
type EventKind uint8

// The kinds of event.
const (
	EventParked        EventKind = iota // told to stay away beyond Config.ParkCap
	EventBuried                         // went to an error queue
	EventDropped                        // a response was given up: the sink did not take it
	EventRelocated                      // a permanent redirect was confirmed and stored
	EventGone                           // 410, confirmed
	EventLimited                        // a limit of the origin rejected a request
	EventForfeited                      // a claim of a run that ended was found: it counts as sent
	EventFailing                        // the first failure after success: Cause says which
	EventRecovered                      // the first success after a failure
	EventHostDown                       // a host does not answer, and is left alone; Origin says which
	EventHostUp                         // it answers again
	EventRefused                        // a credential was not accepted (401): its scope is stopped
	EventRenewed                        // it has changed since, or is accepted again
	EventUnconditional                  // asked without validators, since the request they belong to has changed
	EventQuiet                          // nothing new for unusually long, by how often it changed before; or of a feed, far less than usual
	EventLively                         // something new after such a quiet
	EventGap                            // an [Events] may have missed items of a feed: Cause is its Gap in words
	eventKinds

	noEvent = eventKinds
)

var eventNames = [eventKinds]string{
	"parked", "buried", "dropped", "relocated", "gone", "limited", "forfeited", "failing", "recovered",
	"host-down", "host-up", "refused", "renewed",
	"unconditional", "quiet", "lively", "gap",
}

// String returns the name in lower case.
func (k EventKind) String() string {
	if k < eventKinds {
		return eventNames[k]
	}
	return fmt.Sprintf("event-%d", uint8(k))
}

// level is that of its line in the log.
func (k EventKind) level() slog.Level {
	switch k {
	case EventDropped, EventBuried, EventHostDown, EventRefused:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// MarshalText returns the name.
func (k EventKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Event is something that a user may want to know at once.
type Event struct {
	Kind     EventKind         // what happened
	At       time.Time         // when it was noticed
	Resource resource.Resource // a copy, as it is after the event; zero where it is none of a resource
	Scope    resource.Scope    // that the event is of
	Cause    string            // in words; no secret
	Missed   uint64            // of [OS.Watch]: events before this one that were dropped
}
