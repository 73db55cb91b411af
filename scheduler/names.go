package scheduler

import (
	"fmt"
	"strings"
)

// Each UnmarshalText in this file reads what MarshalText has made of a value
// that has a name, so that a client in Go can decode a [Health] that it was
// sent. Any other text, also that of a value without a name, is a *SpecError
// and changes nothing.

// maxName bounds what an error shows of a text that is refused, in bytes.
const maxName = 32

// unmarshal finds the value below end whose text it is given.
func unmarshal[T interface {
	~uint8 | ~int
	fmt.Stringer
}](to *T, what string, end T, text []byte) error {
	var names []string
	for v := T(0); v < end; v++ {
		name := v.String()
		if name == string(text) {
			*to = v
			return nil
		}
		names = append(names, fmt.Sprintf("%q", name))
	}
	shown := string(text[:min(len(text), maxName)])
	return &SpecError{Field: what, Reason: fmt.Sprintf("%q is none of %s", shown, strings.Join(names, ", "))}
}

// UnmarshalText reads the text of a state. Errors: *SpecError.
func (s *State) UnmarshalText(text []byte) error { return unmarshal(s, "State", states, text) }

// UnmarshalText reads the text of an end. Errors: *SpecError.
func (e *End) UnmarshalText(text []byte) error { return unmarshal(e, "End", Abandoned+1, text) }

// UnmarshalText reads the text of a condition. Errors: *SpecError.
func (c *Condition) UnmarshalText(text []byte) error {
	return unmarshal(c, "Condition", Dead+1, text)
}

// UnmarshalText reads the text of a kind. Errors: *SpecError.
func (k *Kind) UnmarshalText(text []byte) error { return unmarshal(k, "Kind", CurveFailed+1, text) }

// UnmarshalText reads the text of a kind. Errors: *SpecError.
func (k *EventKind) UnmarshalText(text []byte) error {
	return unmarshal(k, "EventKind", EventJudged+1, text)
}

// UnmarshalText reads the text of a strategy. Errors: *SpecError.
func (s *Strategy) UnmarshalText(text []byte) error {
	return unmarshal(s, "Strategy", strategies, text)
}

// UnmarshalText reads the text of an overlap. Errors: *SpecError.
func (o *Overlap) UnmarshalText(text []byte) error { return unmarshal(o, "Overlap", Allow+1, text) }

// UnmarshalText reads the text of a policy. Errors: *SpecError.
func (p *RestartPolicy) UnmarshalText(text []byte) error {
	return unmarshal(p, "RestartPolicy", Temporary+1, text)
}
