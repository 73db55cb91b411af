package firehose

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/cannedos/cannedos/resource"
)

// Sink takes what was published. Take returns nil when the response is safe
// with the sink; only then are its validators stored. After an error it is
// offered again, the same pointer, up to Config.SinkTries times; after [ErrLater]
// as often as it takes. ctx ends at
// Config.SinkTimeout and when the OS has to stop. The sink owns r.
//
// Take is called from Config.Publishers goroutines, never twice at once for
// the same resource.
type Sink interface {
	Take(ctx context.Context, r *resource.Response) error
}

// SinkFunc is a Sink made of one function.
type SinkFunc func(ctx context.Context, r *resource.Response) error

// Take calls f.
func (f SinkFunc) Take(ctx context.Context, r *resource.Response) error { return f(ctx, r) }

// Sinks fans out: each response goes to all of them in order, and is taken when
// all have taken it. A sink that had taken it may be offered it again because a
// later one failed. Only one of them may be a [Follower]; only that is offered a
// response that is unchanged but for its further pages.
func Sinks(all ...Sink) Sink { return fanOut(all) }

type fanOut []Sink

func (f fanOut) Take(ctx context.Context, r *resource.Response) error {
	var errs []error
	for i, s := range f {
		if r.Outcome == resource.NotModified && followerOf(s) == nil {
			continue
		}
		if err := s.Take(ctx, r); err != nil {
			errs = append(errs, fmt.Errorf("sink %d of %d: %w", i+1, len(f), err))
		}
	}
	return errors.Join(errs...)
}

// LogSink writes one line at level info for each response: what and how much,
// not the body.
func LogSink(log *slog.Logger) Sink {
	return SinkFunc(func(ctx context.Context, r *resource.Response) error {
		log.InfoContext(ctx, "published", "uri", r.Resource.URI, "status", r.Status, "bytes", len(r.Body),
			"id", r.Resource.ID, "outcome", r.Outcome)
		return nil
	})
}

// Line is one line of a [JSONLines] sink.
type Line struct {
	ID       resource.ID      `json:"id"`
	URI      string           `json:"uri"`           // as it was asked for, or relocated
	URL      string           `json:"url,omitempty"` // what answered, where redirects led elsewhere
	Status   int              `json:"status"`        // of HTTP
	Outcome  resource.Outcome `json:"outcome"`
	ETag     string           `json:"etag,omitempty"`  // as the origin sent it
	Received time.Time        `json:"received"`        // when the header had arrived, in UTC
	Body     json.RawMessage  `json:"body,omitempty"`  // where it is JSON
	Text     string           `json:"text,omitempty"`  // where it is other text
	Bytes    []byte           `json:"bytes,omitempty"` // where it is neither
}

// JSONLines returns a sink that writes each response as one line of JSON (a
// [Line]) to w. A line is flushed before the response counts as taken. The sink
// serialises its writes; it does not close w. After a write error its state is
// unknown, and it keeps returning that error.
func JSONLines(w io.Writer) Sink { return &jsonLines{w: bufio.NewWriterSize(w, 64<<10)} }

type jsonLines struct {
	mu  sync.Mutex
	w   *bufio.Writer
	err error
}

func (j *jsonLines) Take(_ context.Context, r *resource.Response) error {
	line := Line{
		ID: r.Resource.ID, URI: r.Resource.URI, Status: r.Status, Outcome: r.Outcome,
		ETag: r.Header.Get("Etag"), Received: r.Received.Round(0).UTC(),
	}
	if r.URL != r.Resource.URI {
		line.URL = r.URL
	}
	switch {
	case json.Valid(r.Body):
		line.Body = r.Body
	case utf8.Valid(r.Body):
		line.Text = string(r.Body)
	default:
		line.Bytes = r.Body
	}
	text, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("firehose: encode line: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	j.w.Write(text)
	j.w.WriteByte('\n')
	j.err = j.w.Flush()
	return j.err
}
