// Package ietf reads how origins speak of their limits in the fields RateLimit
// and RateLimit-Policy of draft-ietf-httpapi-ratelimit-headers, from its eighth
// version on, and in the one dictionary that the seventh had instead.
//
// It is a package of its own since the fields are structured (RFC 9651), and only
// who wants this dialect shall have the library that parses those:
//
//	parser := resource.Parser{Dialects: append([]resource.Dialect{ietf.Dialect()}, resource.Dialects()...)}
//
// The three fields of the older drafts need no library: package resource reads
// them as "ietf-legacy".
//
// Guarantees: a malformed field is ignored as a whole, and teaches nothing (rule
// I-4). However many policies a field lists, a lesson holds a bounded number of
// them. A partition key, which may identify a person, leaves this package only as
// a hash.
package ietf
