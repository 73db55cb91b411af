package packed

import "strings"

// Secure is what nearly every URI begins with.
const Secure = "https://"

// OriginLen is the length of what a URI begins with, scheme, host and port. Where
// there is no scheme it is 0. It is the origin of the URI wherever that is
// written in its normal form.
func OriginLen(uri string) int {
	scheme := strings.Index(uri, "://")
	if scheme < 0 {
		return 0
	}
	host := scheme + len("://")
	for i := host; i < len(uri); i++ {
		if c := uri[i]; c == '/' || c == '?' || c == '#' {
			return i
		}
	}
	return len(uri)
}
