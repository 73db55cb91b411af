package feeds

import (
	"cmp"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// looseText is an identity: a string, or a whole number in its digits, without
// white space around it. Anything else reads as none.
type looseText string

// UnmarshalJSON never fails.
func (t *looseText) UnmarshalJSON(b []byte) error {
	*t = ""
	if len(b) > 0 && b[0] == '"' {
		var s string
		if json.Unmarshal(b, &s) == nil {
			*t = looseText(strings.TrimSpace(s))
		}
		return nil
	}
	if wholeNumber(b) {
		*t = looseText(b)
	}
	return nil
}

// wholeNumber reports whether b is digits, with or without a sign: 1e3 and 1.0
// have no one spelling, and are no identity.
func wholeNumber(b []byte) bool {
	if len(b) > 1 && b[0] == '-' {
		b = b[1:]
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

// looseInt is a whole number, or a string of its digits. Anything else, and what
// 64 bits can't hold, reads as 0.
type looseInt int64

// UnmarshalJSON never fails.
func (n *looseInt) UnmarshalJSON(b []byte) error {
	if len(b) > 1 && b[0] == '"' {
		b = b[1 : len(b)-1]
	}
	i, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		i = 0
	}
	*n = looseInt(i)
	return nil
}

// looseTime is an instant in any form that instant reads. Anything else reads as
// zero.
type looseTime time.Time

// UnmarshalJSON never fails.
func (t *looseTime) UnmarshalJSON(b []byte) error {
	var s string
	_ = json.Unmarshal(b, &s)
	*t = looseTime(instant(s))
	return nil
}

// looseLine is a string without white space around it. Anything else reads as
// none.
type looseLine string

// UnmarshalJSON never fails.
func (l *looseLine) UnmarshalJSON(b []byte) error {
	var s string
	_ = json.Unmarshal(b, &s)
	*l = looseLine(strings.TrimSpace(s))
	return nil
}

// byline is the name of an author of JSON Feed, or the URL of one without a name;
// of several the first that has either. It keeps what it has.
type byline string

// UnmarshalJSON never fails.
func (l *byline) UnmarshalJSON(b []byte) error {
	type author struct {
		Name string `json:"name"`
		URL  string `json:"url"`
	}
	var all []author
	if len(b) > 0 && b[0] == '{' {
		all = make([]author, 1)
		_ = json.Unmarshal(b, &all[0])
	} else {
		_ = json.Unmarshal(b, &all)
	}
	for _, a := range all {
		if *l == "" {
			*l = byline(strings.TrimSpace(cmp.Or(a.Name, a.URL)))
		}
	}
	return nil
}
