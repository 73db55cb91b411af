package resource

import "fmt"

// Reason is the rule behind a decision or a state: a key of RULES.md and a
// sentence. It is a number, so that deciding allocates nothing.
type Reason uint8

// The reasons.
const (
	ReasonNone         Reason = iota
	ReasonNever               // never requested
	ReasonDue                 // every wait is over
	ReasonInterval            // the user's interval, or the default one
	ReasonPollInterval        // X-Poll-Interval
	ReasonFresh               // Cache-Control or Expires: still fresh
	ReasonRetryAfter          // Retry-After of an answer that was no rejection
	ReasonNotReady            // 202
	ReasonPrimary             // primary limit: nothing remains in this window
	ReasonSecondary           // secondary limit
	ReasonOverload            // 429 or 503 without more: the origin is overloaded
	ReasonReserve             // what remains is reserved for the user's other programs
	ReasonConcurrency         // as many in flight as allowed
	ReasonProbe               // one request alone finds out how things stand
	ReasonSettling            // a request of a former run may still be on its way
	ReasonEdge                // exhausted, past its reset, asked, and still no word
	ReasonPace                // the rate that the user declared
	ReasonServer              // 5xx
	ReasonNetwork             // no answer
	ReasonTLS                 // the certificate is not accepted
	ReasonTimeout             // 408, 425
	ReasonNotFound            // 404
	ReasonRequest             // 400, 422 and the like
	ReasonCredential          // 401
	ReasonForbidden           // 403 that is no limit
	ReasonLegal               // 451
	ReasonGone                // 410
	ReasonMoved               // a redirect that was not followed here
	ReasonMediaType           // a 200 of another media type than declared
	ReasonBroken              // the body was cut off, too large, or not what its encoding says
	ReasonProtocol            // an answer that the request did not allow, such as a 304 to an unconditional one
	ReasonClaimed             // a request is about to leave or has left
	ReasonForfeited           // a claim was found again: it counts as sent
	ReasonParked              // told to stay away beyond the cap
	ReasonPaused              // the user's wish
	ReasonSink                // the sink refused the response
	ReasonToken               // the token source gave none
	ReasonBreaker             // the host does not answer, and is left alone
	ReasonFeed                // what the feed says of its own interval
	ReasonTurn                // others of its bucket came first
	reasons
)

// lastReason1 is the last reason that version 1 of an encoding can hold.
const lastReason1 = ReasonToken

var reasonTexts = [reasons]struct{ key, text string }{
	ReasonNone:         {"", "no reason recorded"},
	ReasonNever:        {"D-15", "never requested"},
	ReasonDue:          {"G-3", "every wait is over"},
	ReasonInterval:     {"G-3", "the interval asked for"},
	ReasonPollInterval: {"G-1", "the origin's X-Poll-Interval"},
	ReasonFresh:        {"C-3", "still fresh by Cache-Control or Expires"},
	ReasonRetryAfter:   {"H-1", "the origin's Retry-After"},
	ReasonNotReady:     {"S-202", "accepted, not ready"},
	ReasonPrimary:      {"G-12", "primary rate limit: nothing remains before the reset"},
	ReasonSecondary:    {"G-13", "secondary rate limit"},
	ReasonOverload:     {"S-429", "too many requests, or overloaded"},
	ReasonReserve:      {"G-9", "what remains is reserved"},
	ReasonConcurrency:  {"G-11", "as many requests in flight as allowed"},
	ReasonProbe:        {"D-4", "one request alone finds out how things stand"},
	ReasonSettling:     {"D-4", "a request of a former run may still be on its way"},
	ReasonEdge:         {"S-edge", "limit reached, reset past, asked since, and no word"},
	ReasonPace:         {"G-10", "the rate declared or documented for this bucket, or its quota spread over the window"},
	ReasonServer:       {"S-500", "failure of the origin"},
	ReasonNetwork:      {"S-net", "no answer"},
	ReasonTLS:          {"S-net", "certificate not accepted"},
	ReasonTimeout:      {"S-408", "the origin gave up waiting"},
	ReasonNotFound:     {"S-404", "not found"},
	ReasonRequest:      {"S-400", "the origin does not accept the request"},
	ReasonCredential:   {"S-401", "the origin does not accept the credential"},
	ReasonForbidden:    {"S-403", "forbidden, and not by a limit"},
	ReasonLegal:        {"S-451", "unavailable for legal reasons"},
	ReasonGone:         {"S-410", "gone"},
	ReasonMoved:        {"S-301", "moved into another scope"},
	ReasonMediaType:    {"S-type", "another media type than declared"},
	ReasonBroken:       {"D-17", "incomplete, too large or undecodable body"},
	ReasonProtocol:     {"H-9", "an answer that the request did not allow"},
	ReasonClaimed:      {"D-4", "a request is under way"},
	ReasonForfeited:    {"D-4", "a lost answer counts as sent"},
	ReasonParked:       {"D-21", "told to stay away beyond the cap"},
	ReasonPaused:       {"D-3", "paused by the user"},
	ReasonSink:         {"D-11", "not taken by the sink"},
	ReasonToken:        {"S-401", "no token to be had for the credential"},
	ReasonBreaker:      {"S-net", "the host does not answer, and is left alone"},
	ReasonFeed:         {"L-Feeds", "what the feed says of its own interval"},
	ReasonTurn:         {"D-14", "others that wait for the bucket came first"},
}

// Key returns the rule's key in RULES.md, such as "G-1"; empty for ReasonNone.
func (r Reason) Key() string {
	if r < reasons {
		return reasonTexts[r].key
	}
	return ""
}

// String returns the reason as half a sentence.
func (r Reason) String() string {
	if r < reasons {
		return reasonTexts[r].text
	}
	return fmt.Sprintf("reason-%d", uint8(r))
}
