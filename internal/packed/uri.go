package packed

import "strings"

// Secure is what nearly every URI begins with.
const Secure = "https://"

// OriginLen is how much of a URI nearly always is its origin: what stands before
// the first slash behind its scheme. Where there is none of the two schemes it is
// 0.
func OriginLen(uri string) int {
	scheme := len(Secure)
	if !strings.HasPrefix(uri, Secure) {
		if !strings.HasPrefix(uri, "http://") {
			return 0
		}
		scheme--
	}
	if host := strings.IndexByte(uri[scheme:], '/'); host >= 0 {
		return scheme + host
	}
	return len(uri)
}
