package resource

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Profile is what many resources share. It is plain data: a resource names it,
// and every process that handles the resource is configured with it. The zero
// Profile is the default one.
type Profile struct {
	// Header is sent with each request. It may not name a header that the
	// library sets itself, such as If-None-Match or Host, nor one that would
	// carry a secret past the credential, such as Authorization, Cookie or
	// X-Api-Key. To another origin, where a redirect leads, go User-Agent, Accept
	// and Accept-Language alone.
	Header http.Header `json:"header,omitempty"`

	// Dialect names how the origin speaks of its limits: one of [Dialects], or
	// another that the program knows. Validate checks no more than the form of the
	// name; [DialectNamed] finds it. Empty: detected from each answer.
	Dialect string `json:"dialect,omitempty"`

	// Credential names the token that requests carry. Empty: the one that the
	// token source names for the origin, if any.
	Credential string `json:"credential,omitempty"`

	// Limit is a rate of the user's own, for origins that tell none. Zero: what
	// the dialect says (GitHub: 900 a minute, Stripe: 25 a second), else none.
	Limit Limit `json:"limit,omitzero"`

	// Concurrency bounds the requests of a scope that are in flight together.
	// Zero: what the dialect says (GitHub: 1).
	Concurrency int `json:"concurrency,omitempty"`

	// Reserve is how many requests of each window are left for the user's other
	// programs. Zero: none.
	Reserve int64 `json:"reserve,omitempty"`

	// ReservePercent is the same as a share of the window, from 0 to 99, rounded
	// up. The larger of the two counts. Zero: none.
	ReservePercent uint8 `json:"reserve_percent,omitempty"`

	// Alone says that the origin limits each resource by itself: a limit that
	// names no quota, such as a bare Retry-After, makes that resource wait and no
	// other. False: it counts for all of the scope.
	Alone bool `json:"alone,omitempty"`

	// Spread paces the requests of a quota evenly over what is left of its
	// window, instead of sending them as early as they may go. It keeps an
	// hour's quota from being used up in its first minutes when more is asked
	// for than it allows. False: as early as they may.
	Spread bool `json:"spread,omitempty"`
}

// Limit is a rate: at most Requests in any Per, evenly spaced. The zero Limit
// is none.
type Limit struct {
	Requests int           // 1 or more
	Per      time.Duration // at least 1ns a request, at most [MaxInterval]
}

// IsZero reports whether there is no limit.
func (l Limit) IsZero() bool { return l == Limit{} }

// Spacing is the wait between two requests at this rate, rounded up, since
// rounded down one more would fit into Per; 0 where there is no limit.
func (l Limit) Spacing() time.Duration {
	if l.Requests <= 0 || l.Per <= 0 {
		return 0
	}
	return (l.Per-1)/time.Duration(l.Requests) + 1
}

// maxHeaderValue bounds a header value of the user's, in bytes.
const maxHeaderValue = 8 << 10

// ownHeaders are set by the library, or would carry a secret into places that
// hold none.
func ownHeaders() []string {
	return []string{
		"Authorization", "Proxy-Authorization", "Cookie", "Host", "If-None-Match", "If-Modified-Since",
		"If-Match", "If-Unmodified-Since", "If-Range", "Range", "Accept-Encoding", "Connection",
		"Content-Length", "Transfer-Encoding", "Upgrade", "Te", "Trailer", "Expect", "Keep-Alive", "Proxy-Connection",
		"X-Api-Key", "X-Auth-Token", "X-Access-Token", "Private-Token", "Job-Token",
	}
}

// Validate reports the first field that is not allowed, as a [*FieldError]
// that shows no header value.
func (p *Profile) Validate() error {
	own := ownHeaders()
	for _, name := range slices.Sorted(maps.Keys(p.Header)) { // sorted: the same fault gives the same error
		values := p.Header[name]
		field := "Header[" + clip(name) + "]"
		if !token(name) || name != http.CanonicalHeaderKey(name) {
			return &FieldError{field, "not a header name", "a canonical name such as User-Agent"}
		}
		if slices.Contains(own, name) {
			return &FieldError{field, "set by the library, or a secret", "another name; a secret goes through Credential"}
		}
		for _, v := range values {
			if !fieldValue(v) || len(v) > maxHeaderValue {
				return &FieldError{field, "a value too long, or with a line break or another control character", "at most 8192 visible characters, spaces and tabs"}
			}
		}
	}
	if err := checkName("Dialect", p.Dialect); err != nil {
		return err
	}
	if err := checkName("Credential", p.Credential); err != nil {
		return err
	}
	return p.validateLimits()
}

func (p *Profile) validateLimits() error {
	l := p.Limit
	switch {
	case l.IsZero():
	case l.Requests < 1:
		return &FieldError{"Limit.Requests", strconv.Itoa(l.Requests), "1 or more, or a zero Limit for none"}
	case l.Per < time.Duration(l.Requests) || l.Per > MaxInterval:
		return &FieldError{"Limit.Per", l.Per.String(), "at least 1ns a request, at most " + MaxInterval.String()}
	}
	if p.Concurrency < 0 {
		return &FieldError{"Concurrency", strconv.Itoa(p.Concurrency), "0 (by dialect) or more"}
	}
	if p.Reserve < 0 {
		return &FieldError{"Reserve", strconv.FormatInt(p.Reserve, 10), "0 or more"}
	}
	if p.ReservePercent > 99 {
		return &FieldError{"ReservePercent", strconv.Itoa(int(p.ReservePercent)), "0 to 99"}
	}
	return nil
}

// token reports whether s is a token of RFC 9110, section 5.6.2.
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// fieldValue reports whether s may be a header value (RFC 9110, section 5.5).
func fieldValue(s string) bool {
	for i := range len(s) {
		// One comparison for nearly every byte: each 304 has a hundred of them.
		if c := s[i]; c-' ' >= 0x7f-' ' && c != '\t' && c < 0x80 {
			return false
		}
	}
	return true
}
