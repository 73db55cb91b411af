package firehose

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// realm is the origin under which the limits of an origin are counted: itself, or
// that of a domain whose hosts count together, such as https://*.example.org.
func realm(domains []string, origin string) string {
	if len(domains) == 0 {
		return origin
	}
	scheme, host, _ := strings.Cut(origin, "://")
	name, port := host, ""
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		name, port = host[:i], host[i:]
	}
	for _, domain := range domains {
		if name == domain || strings.HasSuffix(name, "."+domain) {
			return scheme + "://*." + domain + port
		}
	}
	return origin
}

// validateDomains refuses what could be no domain, or would be counted twice.
func (c *Config) validateDomains() error {
	for i, domain := range c.Domains {
		bad := func(want string) error {
			return &FieldError{Field: fmt.Sprintf("Domains[%d]", i), Value: strconv.Quote(domain), Want: want}
		}
		if _, err := netip.ParseAddr(domain); err == nil || !isDomain(domain) {
			return bad("a domain name in lower case with at least two labels, such as example.org")
		}
		if slices.ContainsFunc(c.Domains, func(other string) bool { return strings.HasSuffix(domain, "."+other) }) ||
			slices.Contains(c.Domains[:i], domain) {
			return bad("a domain that is neither listed already nor inside another one")
		}
	}
	return nil
}

// isDomain reports whether a text has the form of a host name (RFC 1123, section
// 2.1) of several labels, in lower case.
func isDomain(name string) bool {
	labels := strings.Split(name, ".")
	if len(labels) < 2 || len(name) > 253 {
		return false
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}
