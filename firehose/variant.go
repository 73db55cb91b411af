package firehose

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"slices"
	"strings"

	"github.com/cannedos/cannedos/resource"
)

// A validator belongs to the headers of the request that it came for, as far as
// the answer varies by them (RFC 9111, section 4.1). GitHub's tags are made from
// the credential and Accept, too (rule E-8). A variant is a fingerprint of all
// headers that are ours to choose, credential included, but for User-Agent, which
// counts only where the answer says that it varies by it: the lowest bit of the
// variant remembers that. Zero is no variant.
//
// Rejected: the headers that Vary names alone, since that list would have to be
// kept with each resource, and GitHub's tags depend on more than it says.

// variesByAgent is the bit of a variant that says that User-Agent counts.
const variesByAgent = 1

// variantOf returns the variant of a request. h is its header without validators
// and without the token, whose fingerprint is finger.
func variantOf(h http.Header, key []byte, finger string, byAgent bool) uint64 {
	names := make([]string, 0, len(h))
	for name := range h {
		switch name {
		case "If-None-Match", "If-Modified-Since":
			continue
		case "User-Agent":
			if !byAgent {
				continue
			}
		}
		names = append(names, name)
	}
	slices.Sort(names)
	sum := sha256.New()
	sum.Write(key)
	text := func(s string) {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(s)))
		sum.Write(size[:])
		sum.Write([]byte(s))
	}
	text(finger)
	for _, name := range names {
		text(name)
		for _, v := range h[name] {
			text(v)
		}
	}
	v := binary.BigEndian.Uint64(sum.Sum(nil)) &^ variesByAgent
	if v == 0 {
		v = 2
	}
	if byAgent {
		v |= variesByAgent
	}
	return v
}

// varies reports whether an answer says that it varies by the user agent.
func varies(h http.Header) bool {
	for _, line := range h["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(name), "User-Agent") {
				return true
			}
		}
	}
	return false
}

// conditionally takes the validators out of a request that must not carry them.
// It reports whether there were any.
func (x *exchange) conditionally(out http.Header, key []byte, finger string) (dropped bool) {
	if x.variant == 0 || !conditional(out) || x.variant == x.dress.variant(key, finger, x.variant&variesByAgent != 0) {
		return false
	}
	delete(out, "If-None-Match")
	delete(out, "If-Modified-Since")
	return true
}

// keepVariant notes what the validators of an answer belong to. One that brought
// none, and confirmed none, leaves them to what they belonged to before.
func (x *exchange) keepVariant(r *resource.Resource, o resource.Outcome) {
	switch {
	case r.Validators.IsZero():
		r.Variant = 0
	case o == resource.Modified, o == resource.NotModified:
		r.Variant = x.answered
	}
}
