package firehose

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// read reads the body and says in a what is wrong with it.
func (q *Requestor) read(resp *http.Response, r *resource.Resource, x *exchange) []byte {
	defer resp.Body.Close()
	a := &x.answer
	if resp.Body == http.NoBody && a.Status != http.StatusOK { // as with a 304, the most of all
		return nil
	}
	var from io.Reader = resp.Body
	if strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") { // of a transport that left it to us
		unzipped, err := gzip.NewReader(resp.Body)
		if err != nil {
			a.Trouble, a.Cause = resource.ReasonBroken, "the body is not gzip as its header says"
			return nil
		}
		from = unzipped
	}
	most := q.f.cfg.MaxBody
	if a.Status != http.StatusOK {
		most = min(most, maxExcerpt) // of interest to nobody
	}
	body, err := io.ReadAll(io.LimitReader(from, most+1))
	a.Finished = time.Now()
	if a.Status != http.StatusOK {
		return nil
	}
	switch {
	case int64(len(body)) > most:
		a.Trouble, a.Cause = resource.ReasonBroken, fmt.Sprintf("the body is longer than %d bytes", most)
		return nil
	case err != nil:
		reason, cause := trouble(err)
		a.Trouble, a.Cause = resource.ReasonBroken, "the body broke off: "+x.clean(cause)
		if reason == resource.ReasonNetwork && errors.Is(err, context.DeadlineExceeded) {
			a.Cause = "the body did not end in time"
		}
		return nil
	case r.MediaType != "" && !sameType(resp.Header.Get("Content-Type"), r.MediaType):
		a.Trouble, a.Cause = resource.ReasonMediaType, fmt.Sprintf("%.100q instead of %s", resp.Header.Get("Content-Type"), r.MediaType)
		return nil
	}
	if feedType(resp.Header.Get("Content-Type")) {
		a.Hint, _ = resource.FeedHint(body)
	}
	sum := sha256.Sum256(body)
	a.Digest = max(1, binary.BigEndian.Uint64(sum[:8]))
	return body
}

// feedType reports whether a body may be a feed of XML, which can say how often it
// wants to be read (rule L-Feeds).
func feedType(header string) bool {
	t, _, err := mime.ParseMediaType(header)
	return err == nil && (t == "application/xml" || t == "text/xml" || strings.HasSuffix(t, "+xml") && t != "application/xhtml+xml" && t != "image/svg+xml")
}

// sameType compares media types without their parameters (rule S-type).
func sameType(header, want string) bool {
	got, _, err := mime.ParseMediaType(header)
	return err == nil && strings.EqualFold(got, want)
}

// drain reads the little that a redirect may carry, so that its connection can
// be used again.
func drain(body io.ReadCloser) {
	io.Copy(io.Discard, io.LimitReader(body, maxExcerpt))
	body.Close()
}
