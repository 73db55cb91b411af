package feeds

import (
	"bytes"
	"fmt"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// Auto returns the reader that tells RSS, Atom and JSON Feed apart by the content:
// an object is JSON Feed, anything else is XML whose root tells the format. The
// media type tells the character set, where the feed doesn't, and stands in the
// error where the content is none of them; it doesn't decide, since half of all
// feeds come as text/xml, text/plain or text/html.
func Auto() firehose.Reader[Entry] { return firehose.ReaderFunc[Entry](readAuto) }

func readAuto(r *resource.Response) (firehose.Page[Entry], error) {
	const format = "feed"
	if err := checked(format, r); err != nil {
		return firehose.Page[Entry]{}, err
	}
	body := bytes.TrimLeft(bytes.TrimPrefix(r.Body, []byte("\xef\xbb\xbf")), " \t\r\n")
	switch {
	case len(body) == 0:
		return firehose.Page[Entry]{}, formatError(format, "the body is empty", r)
	case body[0] == '{':
		return readJSON(r, format)
	case body[0] == '[' || body[0] == '"':
		return firehose.Page[Entry]{}, formatError(format, fmt.Sprintf("the body begins with %q", body[0]), r)
	}
	return readXML(r, format, rss, atom)
}
