package resource

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
)

// Token is a secret that a request carries. It shows itself to nobody: printing,
// logging or encoding it gives "[redacted]", also from inside another value.
// The zero Token is none. It may be copied and used from any goroutine.
type Token struct {
	// A function and not a string: formatting verbs that reach into unexported
	// fields by reflection print its address at most.
	reveal func() (header, value string)
}

const redacted = "[redacted]"

// BearerToken returns a token that is sent as "Authorization: Bearer secret",
// the form of GitHub, GitLab and OAuth 2 (RFC 6750). An empty secret gives the
// zero Token. The error names what is wrong with a secret, never the secret.
func BearerToken(secret string) (Token, error) {
	if secret == "" {
		return Token{}, nil
	}
	return HeaderToken("Authorization", "Bearer "+secret)
}

// HeaderToken returns a token that is sent as the value of a header of its own,
// such as X-Api-Key. The error is a [*FieldError] without the value.
func HeaderToken(header, value string) (Token, error) {
	header = http.CanonicalHeaderKey(header)
	if !token(header) || slices.Contains(ownHeaders(), header) && !slices.Contains(tokenHeaders(), header) {
		return Token{}, &FieldError{"Token header", clip(header), "a header name that the library does not set itself, such as X-Api-Key"}
	}
	if value == "" || len(value) > maxHeaderValue || !fieldValue(value) {
		return Token{}, &FieldError{"Token", redacted, "1 to 8192 characters without line breaks or other control characters"}
	}
	return Token{reveal: func() (string, string) { return header, value }}, nil
}

// tokenHeaders are those of ownHeaders that are there for tokens.
func tokenHeaders() []string {
	return []string{
		"Authorization", "Cookie", "X-Api-Key", "X-Auth-Token", "X-Access-Token", "Private-Token", "Job-Token",
	}
}

// IsZero reports whether there is no token.
func (t Token) IsZero() bool { return t.reveal == nil }

// Authorize sets the token in the header of a request. The zero Token sets
// nothing.
func (t Token) Authorize(h http.Header) {
	if t.reveal != nil {
		name, value := t.reveal()
		h.Set(name, value)
	}
}

// Fingerprint tells tokens apart without telling them: a keyed hash of which
// nothing can be learnt without the key. The zero Token has an empty one.
func (t Token) Fingerprint(key []byte) string {
	if t.reveal == nil {
		return ""
	}
	name, value := t.reveal()
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(name + "\n" + value))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// String returns "[redacted]".
func (t Token) String() string { return redacted }

// Format writes "[redacted]" for every verb.
func (t Token) Format(f fmt.State, _ rune) { f.Write([]byte(redacted)) }

// LogValue is "[redacted]".
func (t Token) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]", which covers JSON too.
func (t Token) MarshalText() ([]byte, error) { return []byte(redacted), nil }
