package resource

import "fmt"

// State says what a resource is doing. It is a summary for people and for
// counters; the instants beside it decide.
//
//	Idle ─► (ready) ─► HasOwner ─► WaitingForInterval ─► HasOwner ─► ...
//	                      │  └───► WaitingForServerAlive   backoff after a failure
//	                      ├──────► WaitingForReset         the bucket admits no request now
//	                      ├──────► Parked                  told to stay away for long
//	                      ├──────► Gone, Error             ended, with a cause
//	                      └──────► EdgeError               limit reached, reset past, and still no word
//	        Paused: the user's wish, from any of the waiting states and back
type State uint8

// The states. The zero State is Idle.
const (
	Idle                  State = iota // never requested, or due
	WaitingForInterval                 // until its next permitted instant
	WaitingForReset                    // in the line of its bucket
	WaitingForServerAlive              // backing off after failures of the origin
	HasOwner                           // claimed: its request is about to leave or has left
	Error                              // ended; Cause says why
	EdgeError                          // its bucket is exhausted, past its reset, and asked since
	Parked                             // told to stay away beyond the cap: reported, never retried early
	Paused                             // the user wants no polls
	Gone                               // 410, confirmed
	states
)

var stateNames = [states]string{
	"idle", "waiting-for-interval", "waiting-for-reset", "waiting-for-server-alive", "has-owner",
	"error", "edge-error", "parked", "paused", "gone",
}

// States returns all states, in order.
func States() []State {
	all := make([]State, states)
	for i := range all {
		all[i] = State(i)
	}
	return all
}

// String returns the name in lower case with hyphens.
func (s State) String() string {
	if s < states {
		return stateNames[s]
	}
	return fmt.Sprintf("state-%d", uint8(s))
}

// MarshalText returns the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name; the error is a [*FieldError].
func (s *State) UnmarshalText(text []byte) error {
	for i, name := range stateNames {
		if name == string(text) {
			*s = State(i)
			return nil
		}
	}
	return &FieldError{"State", clip(string(text)), "the name of a state"}
}
