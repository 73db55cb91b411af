package firehosetest

import (
	"fmt"
	"net/url"
	"time"
)

// Kind says how a request is answered.
type Kind int

// The kinds of answers. Normal, Slow, Truncate, Endless and Huge carry all
// headers of a normal answer, the others neither X-Poll-Interval nor
// validators. The X-RateLimit headers are on all answers below 500.
const (
	// Normal answers as the events API does. In a script it lets one request
	// through, faults by probability included.
	Normal Kind = iota
	// Status answers Step.Status with a short JSON message; Step.RetryAfter
	// is sent if it is positive. 403 is a refusal that is no limit.
	Status
	// Secondary answers 403 (or 429, see Config.TooManyRequests) with the
	// message of a secondary rate limit and parks the scope for
	// Step.RetryAfter, default Config.SecondaryWait.
	Secondary
	// Slow answers normally, after Step.Delay, default 10 s.
	Slow
	// Truncate announces the whole body of a 200, sends half and cuts the
	// connection. A 304 has no body; the answer is then a 200.
	Truncate
	// Reset cuts the connection before any byte of an answer.
	Reset
	// Endless answers 200 with a body that never ends, of unknown length.
	Endless
	// Huge answers 200 with a body of 10 GiB, announced.
	Huge
	// LoginPage answers 200 with an HTML page.
	LoginPage
	// Redirect answers Step.Status (301, 302, 303, 307 or 308; default 302)
	// with Step.Location. An empty location is the same resource under the
	// prefix /moved, which is served as a resource of its own, and from there
	// back, so that two redirects are a loop; [Elsewhere] is
	// the same resource at another origin that the same listener serves.
	Redirect
	kinds
)

// Elsewhere is a Step.Location: the same path at another origin. On a
// socket it is localhost with the same port, or 127.0.0.1 if the request came
// to localhost; without a port it is elsewhere.invalid.
const Elsewhere = "elsewhere"

// RetryForm is the form of a Retry-After header.
type RetryForm int

// The forms. All but the first and the last are dates in the origin's clock.
const (
	RetrySeconds RetryForm = iota
	RetryDate              // Sun, 06 Nov 1994 08:49:37 GMT
	RetryRFC850            // Sunday, 06-Nov-94 08:49:37 GMT
	RetryANSI              // Sun Nov  6 08:49:37 1994
	RetryNone              // no header: a secondary limit then means 60 s
	retryForms
)

// Step is one scripted answer, or the answer of a [Fault]. The zero Step is a
// Normal answer, once.
type Step struct {
	Kind       Kind
	Status     int           // Status and Redirect only
	RetryAfter time.Duration // Status and Secondary: whole seconds; zero: none, or the default of Secondary
	Form       RetryForm     // form of Retry-After
	Location   string        // Redirect only
	Delay      time.Duration // before the header of any kind; zero: none, or 10 s for Slow
	Times      int           // so many requests in a row; zero: one
}

// Fault is a Step that happens by seeded probability.
type Fault struct {
	Probability float64 // per request, 0 to 1
	Step        Step    // Times is ignored
}

func (s Step) validate() error {
	switch {
	case s.Kind < 0 || s.Kind >= kinds:
		return fmt.Errorf("kind %d: no such kind", s.Kind)
	case s.Form < 0 || s.Form >= retryForms:
		return fmt.Errorf("form %d: no such form", s.Form)
	case s.RetryAfter < 0 || s.RetryAfter%time.Second != 0:
		return fmt.Errorf("retry after %v: must be whole seconds, not negative", s.RetryAfter)
	case s.Delay < 0:
		return fmt.Errorf("delay %v: must not be negative", s.Delay)
	case s.Times < 0:
		return fmt.Errorf("times %d: must not be negative", s.Times)
	case s.Kind == Status && (s.Status < 200 || s.Status > 599 || s.Status == 304):
		return fmt.Errorf("status %d: must be 200 to 599 and not 304", s.Status)
	case s.Kind == Redirect && !parses(s.Location):
		return fmt.Errorf("location %q: must be a URL", s.Location)
	case s.Kind == Redirect && s.Status != 0 && !redirects(s.Status):
		return fmt.Errorf("status %d: a redirect is 301, 302, 303, 307 or 308", s.Status)
	}
	return nil
}

func parses(location string) bool {
	_, err := url.Parse(location)
	return err == nil
}

func redirects(status int) bool {
	switch status {
	case 301, 302, 303, 307, 308:
		return true
	}
	return false
}
