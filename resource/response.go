package resource

import (
	"fmt"
	"net/http"
	"time"
)

// Outcome says what an answer meant for its resource.
type Outcome uint8

// The outcomes. The zero Outcome is Failed: an answer that nobody understood is
// no success.
const (
	Failed       Outcome = iota // no answer, a broken one, or a failure of the origin
	Modified                    // a new representation
	NotModified                 // 304, or a 200 that changed nothing
	Empty                       // 202 or 204: nothing to publish (yet)
	Moved                       // a redirect that leads into another scope
	Retired                     // 410, confirmed
	Limited                     // a limit of the origin; the lesson says which, with its evidence
	Forbidden                   // 403 that is no limit, 451
	Unauthorized                // 401: the credential is not accepted
	Rejected                    // 400, 422 and the like: the request itself is wrong
	outcomes
)

var outcomeNames = [outcomes]string{
	"failed", "modified", "not-modified", "empty", "moved", "retired", "limited", "forbidden", "unauthorized", "rejected",
}

// Outcomes returns all outcomes, in order.
func Outcomes() []Outcome {
	all := make([]Outcome, outcomes)
	for i := range all {
		all[i] = Outcome(i)
	}
	return all
}

// String returns the name in lower case with hyphens.
func (o Outcome) String() string {
	if o < outcomes {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome-%d", uint8(o))
}

// MarshalText returns the name.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads a name; the error is a [*FieldError].
func (o *Outcome) UnmarshalText(text []byte) error {
	for i, name := range outcomeNames {
		if name == string(text) {
			*o = Outcome(i)
			return nil
		}
	}
	return &FieldError{"Outcome", clip(string(text)), "the name of an outcome"}
}

// Response is what a sink is given: an answer worth publishing. The sink owns
// it, body and header included. It is never written to a store.
type Response struct {
	Resource Resource    // as it is after this answer; a copy
	URL      string      // what was answered in the end, after redirects
	Status   int         // HTTP status
	Header   http.Header // without Set-Cookie
	Body     []byte      // complete, decompressed, bounded by the Requestor's limit
	Outcome  Outcome     // Modified; Retired with no body; NotModified with no body where there are Pages
	Sent     time.Time   // when the request left
	Received time.Time   // when the header of the answer had arrived
	Previous Validators  // what the request carried

	// Confirmed is when the request left whose answer was the last to say that
	// the representation before this one was still the newest. Zero: none did.
	Confirmed time.Time

	// Pages are the answers to the pages that were read on from this one, in
	// order, where the sink asks for them. Their Resource is a child of this one
	// ([Resource.Page]); one whose Outcome is NotModified has no body.
	Pages []*Response

	// Cut says why the reading ended before the sink had all pages that it
	// wanted. Empty: it had.
	Cut string

	// Value is what the sink has made of the body while it was asked for pages.
	// Nobody else looks at it.
	Value any
}

// Size is what the response counts for in a budget of bytes, pages included.
func (r *Response) Size() int64 {
	size := int64(len(r.Body)) + 1024
	for _, p := range r.Pages {
		size += p.Size()
	}
	return size
}
