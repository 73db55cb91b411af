package firehose

import (
	"context"
	"fmt"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// Batch is what one reading of a feed brought. Whoever takes it owns it.
type Batch[T any] struct {
	// Feed is the resource that was read, as it is after the reading.
	Feed resource.Resource

	// At is when the answer of page one had arrived.
	At time.Time

	// Items are those that were not taken before, the oldest first: in the order
	// in which the feed has them from its end to its front, so that batch after
	// batch it is one stream. An item that entered the feed late, behind others
	// that were taken before, comes late here too (rule E-3). It may be empty
	// where there is a Gap or something was skipped.
	Items []Item[T]

	// Gap says that items may have been missed before those of this batch. Nil:
	// the reading leads without a hole to the one before it.
	Gap *Gap

	// Skipped counts entries that are new on the pages and could not be read; a
	// Gap counts them too.
	Skipped int
}

// Gap is an interval in which a feed may have had items that no reading has
// shown. It is reckoned in time of observation, since the instants in items tell
// nothing of when they came to be seen (rule E-2).
type Gap struct {
	Feed resource.ID // the resource that was read
	URI  string      // its URI

	// From is when the last reading began that led here without a hole, or the
	// last answer that nothing had changed since. To is when the reading had
	// arrived that does not reach back to it. Whatever entered the feed outside of
	// the interval was shown, or is reported elsewhere.
	From, To time.Time

	// Estimate is how many items are likely to be missing: reckoned from the
	// distance between the last item before the hole and the first one after it,
	// in numbers or in instants, and how far apart the items are that were shown;
	// else from the rate of the feed and the time.
	Estimate float64

	// Certainty is the chance, from 0 to 1, that at least one item is missing, if
	// the estimate is right and items come independently.
	Certainty float64

	// Reason says why the reading did not reach back, and Cause says it in words.
	Reason GapReason
	Cause  string
}

// String is one line of text.
func (g *Gap) String() string {
	return fmt.Sprintf("about %.0f items may be missing between %s and %s (%.0f %%): %s", g.Estimate,
		g.From.UTC().Format(time.RFC3339), g.To.UTC().Format(time.RFC3339), 100*g.Certainty, g.Cause)
}

// GapReason is why items may be missing.
type GapReason uint8

// The reasons for a Gap.
const (
	GapWindow     GapReason = iota // all that the feed shows was read, and it reaches back no further
	GapDepth                       // there are more pages than EventsConfig.MaxPages
	GapRefused                     // the next page is one that must not be read, such as one of another origin
	GapCut                         // pages could not be read, several times in a row
	GapUnreadable                  // entries could not be read
	gapReasons
)

var gapNames = [gapReasons]string{"window", "depth", "refused", "cut", "unreadable"}

// String returns the name in lower case.
func (r GapReason) String() string {
	if r < gapReasons {
		return gapNames[r]
	}
	return fmt.Sprintf("reason-%d", uint8(r))
}

// MarshalText returns the name.
func (r GapReason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// ItemSink takes the items of feeds. Take returns nil when the batch is safe with
// the sink: only then are its items marked as seen. After an error the same batch
// is offered again, as [Sink] says; so is one whose process ended before the mark
// was written. ctx ends at Config.SinkTimeout and when the OS has to stop.
//
// Take is called from Config.Publishers goroutines, never twice at once for the
// same feed, and in the order of its readings.
type ItemSink[T any] interface {
	Take(ctx context.Context, b Batch[T]) error
}

// ItemSinkFunc is an ItemSink made of one function.
type ItemSinkFunc[T any] func(ctx context.Context, b Batch[T]) error

// Take calls f.
func (f ItemSinkFunc[T]) Take(ctx context.Context, b Batch[T]) error { return f(ctx, b) }
