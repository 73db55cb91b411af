package feeds

import (
	"errors"
	"fmt"
	"mime"
	"strconv"

	"github.com/cannedos/cannedos/resource"
)

// What is behind an error of a Reader; errors.Is finds it.
var (
	// ErrStatus says that the response is no success (2xx): its body, if it has
	// one, is not a page and was not read (rule D-16).
	ErrStatus = errors.New("the answer is no page")

	// ErrFormat says that the body is not of the format that was expected, or so
	// damaged that no entry could be read.
	ErrFormat = errors.New("not of the expected format")
)

// CharsetError says that a body is in a character set that this package does not
// read: it reads UTF-8, UTF-16, US-ASCII, ISO-8859-1 and Windows-1252, which
// nearly all feeds are in. The rest would need tables of a megabyte.
type CharsetError struct {
	Charset string // as the feed names it, clipped
}

// Error names the character set.
func (e *CharsetError) Error() string {
	return "character set " + strconv.Quote(e.Charset) + ": want UTF-8, UTF-16, US-ASCII, ISO-8859-1 or Windows-1252"
}

// checked returns nil for a response that may have a page in its body.
func checked(format string, r *resource.Response) error {
	if r.Status < 200 || r.Status > 299 {
		return fmt.Errorf("feeds: %s: %w: status %d", format, ErrStatus, r.Status)
	}
	return nil
}

// formatError is ErrFormat with what was found. It must not quote the body, which
// may hold what is meant for few eyes.
func formatError(format, found string, r *resource.Response) error {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		mediaType = "no media type"
	}
	return fmt.Errorf("feeds: %s: %w: %s (%s)", format, ErrFormat, found, clip(mediaType))
}

// clip bounds what an error quotes of a foreign text.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
