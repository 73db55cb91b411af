package resource

import (
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Bounds of what a user may ask for, and of what is kept of an answer. A text
// beyond its bound is refused where it comes from the user; where it comes from
// the network it is not kept.
const (
	MaxURI       = 8 << 10              // bytes of a URI
	MaxName      = 128                  // bytes of a profile's, credential's or dialect's name
	MaxBucket    = 256                  // bytes of a bucket's name
	MaxValidator = 2 << 10              // bytes of an ETag or a Last-Modified
	MaxCause     = 512                  // bytes of a cause
	MaxInterval  = 366 * 24 * time.Hour // longest interval that may be asked for
)

// DefaultInterval is the wait between two polls of a resource whose user asked
// for none and whose origin has named none.
const DefaultInterval = time.Minute

// Spec is what a user asks for: poll this, about this often. It is a plain
// value; the zero value lacks a URI and is refused.
type Spec struct {
	// ID identifies the resource. Zero means: derived from Profile and URI, so
	// that asking for the same thing again is the same resource.
	ID ID

	// URI is absolute, http or https, with a host in ASCII, without user name,
	// password or fragment. It is sent as given.
	URI string

	// Interval is the wish: not more often than this. Zero means as often as
	// the origin allows, which is [DefaultInterval] where it says nothing. A
	// wait that the origin asks for is never shortened by it (rule G-3).
	Interval time.Duration

	// Profile names what the resource shares with others. Empty names the
	// default profile.
	Profile string

	// MediaType is what a 200 must carry, without parameters, such as
	// "application/json". An answer of another type is a failure: nothing of it
	// is stored or published (rule S-type). Empty accepts any.
	MediaType string

	// Priority orders the resources that wait for the same bucket: higher
	// first, unless the lower has waited longer by an hour for each step between
	// them. Zero is normal.
	Priority int8
}

// List returns a Spec for each URI, with defaults for the rest.
func List(uris ...string) []Spec {
	specs := make([]Spec, len(uris))
	for i, uri := range uris {
		specs[i].URI = uri
	}
	return specs
}

// Validate reports the first field that is not allowed, as a [*FieldError].
func (s *Spec) Validate() error {
	if _, err := originOf(s.URI); err != nil {
		return err
	}
	if s.Interval < 0 || s.Interval > MaxInterval {
		return &FieldError{"Interval", s.Interval.String(), "0 to " + MaxInterval.String()}
	}
	if err := checkName("Profile", s.Profile); err != nil {
		return err
	}
	if s.MediaType == "" {
		return nil
	}
	t, sub, found := strings.Cut(s.MediaType, "/")
	if !found || !token(t) || !token(sub) || strings.Contains(s.MediaType, "*") || len(s.MediaType) > MaxName {
		return &FieldError{"MediaType", clip(s.MediaType), "a media type without parameters or wildcards, such as application/json"}
	}
	return nil
}

// derivedID is the ID of a Spec that was given none.
func (s *Spec) derivedID() ID { return DeriveID(ID{}, s.Profile+"\n"+s.URI) }

// Origin returns scheme, host and port of a URI in their normal form (RFC 6454,
// section 6.2: lower case, no default port), such as "https://api.github.com".
// The error is a [*FieldError] for a URI that a [Spec] may not hold.
func Origin(uri string) (string, error) {
	return originOf(uri)
}

func originOf(uri string) (string, error) {
	bad := func(want string) (string, error) {
		return "", &FieldError{"URI", clipURI(uri), want}
	}
	if len(uri) > MaxURI {
		return bad("at most 8192 bytes")
	}
	for _, c := range []byte(uri) {
		if c <= ' ' || c == 0x7f {
			return bad("no spaces or control characters")
		}
	}
	u, err := url.Parse(uri)
	if err != nil || u.Opaque != "" || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return bad("an absolute http or https URI with a host")
	}
	if u.User != nil {
		return bad("no user name or password: name a credential in the profile instead")
	}
	if u.Fragment != "" || strings.Contains(uri, "#") {
		return bad("no fragment: it is never sent")
	}
	host := strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(u.Host, u.Port()), ":"))
	for _, c := range []byte(host) {
		if c >= 0x80 || c == '%' { // spaces and control characters were refused above
			return bad("a host in ASCII without a zone: an international name is written as xn--...")
		}
	}
	if u.Port() == "" {
		return u.Scheme + "://" + host, nil
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	switch {
	case err != nil || port == 0:
		return bad("a port from 1 to 65535")
	case port == 80 && u.Scheme == "http", port == 443 && u.Scheme == "https":
		return u.Scheme + "://" + host, nil
	}
	return u.Scheme + "://" + host + ":" + strconv.FormatUint(port, 10), nil
}

// clipURI is clip for a URI that may hold a password: whatever stands between
// the scheme and the last @ is left out, however the URI is broken.
func clipURI(uri string) string {
	i := strings.LastIndexByte(uri, '@')
	if i < 0 {
		return clip(uri)
	}
	scheme, lower := "", strings.ToLower(uri)
	for _, known := range [...]string{"http://", "https://"} {
		if strings.HasPrefix(lower, known) {
			scheme = known
		}
	}
	return clip(scheme + "..." + uri[i:])
}

// checkName refuses a name that could be mistaken for something else in a log,
// a key or a header.
func checkName(field, name string) error {
	ok := len(name) <= MaxName
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		ok = c == '-' || c == '_' || c == '.' || c == '/' || c == ':' ||
			'0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	}
	if !ok {
		return &FieldError{field, clip(name), "at most 128 of letters, digits and - _ . / :"}
	}
	return nil
}
