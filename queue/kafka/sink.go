package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// DefaultResponses is the topic of a [Sink] and a [Relay].
const DefaultResponses = "cannedos-responses"

// SinkConfig says where a [Sink] writes to.
type SinkConfig struct {
	Cluster

	// Topic is made by [CreateResponsesTopic]. Empty: [DefaultResponses].
	Topic string

	// MaxBytes bounds a record: the body of a response, or of one page of it, and
	// 10 to 100 KiB for what is known of it. Zero: what the topic's
	// max.message.bytes says when the sink is made, but 64 MiB at most. More than
	// that is refused by NewSink.
	MaxBytes int

	// Compression are codecs in the order in which they are tried. Nil: zstd, then
	// none. Whoever reads the topic by other means must know them. What is bounded
	// above is the size before compression.
	Compression []kgo.CompressionCodec
}

func (c SinkConfig) withDefaults() (SinkConfig, error) {
	w := complaints{in: "SinkConfig"}
	w.cluster(&c.Cluster)
	c.Topic = cmp.Or(c.Topic, DefaultResponses)
	w.topic(c.Topic)
	if c.MaxBytes != 0 {
		w.number("MaxBytes", int64(c.MaxBytes), leastMessageBytes, mostMessageBytes)
	}
	if c.Compression == nil {
		c.Compression = []kgo.CompressionCodec{kgo.ZstdCompression(), kgo.NoCompression()}
	}
	return c, w.err()
}

// A Sink writes responses to a topic, as a firehose.Sink. A [Relay] in another
// process reads them, and gives them to a sink there; but the records can be read
// without it: the key is the id of the resource, the value is the body, and headers
// say the rest.
//
// Guaranteed: when Take has returned nil, all replicas in sync have the response,
// with all its pages. Those of one resource are in the order of their Takes.
//
// Not guaranteed: that each is there once. A Take that returned an error, or whose
// context has ended, may have written the response all the same, in whole or, if
// it has pages, in part; a Relay leaves out what is not whole. And whatever the
// sink before this one has made of the response, its Value, is not written.
//
// No secret is written: neither cookies, nor headers that carry credentials, nor
// user names and passwords in URLs. Queries of URLs are, being a part of what was
// asked for: name a credential in the profile instead of putting one there.
//
// A Sink may be used by many goroutines; their responses share batches.
type Sink struct {
	config   SinkConfig
	producer *producer
	name     string // of this sink alone
	takes    atomic.Int64

	mu   sync.Mutex
	left map[*resource.Response]*sending // on its way, and nobody waits for it
}

// NewSink connects to the cluster. The error joins a [*FieldError] for each field
// that is out of its bounds, or wraps [ErrUnfit] if the topic is not there, would
// lose what it is given, or takes no records of MaxBytes.
func NewSink(ctx context.Context, config SinkConfig) (*Sink, error) {
	c, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	p, err := openProducer(ctx, &c.Cluster, c.Topic, c.MaxBytes,
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.ProducerBatchCompression(c.Compression...),
	)
	if err != nil {
		return nil, err
	}
	return &Sink{config: c, producer: p, name: db.NewOwner().String(), left: map[*resource.Response]*sending{}}, nil
}

// maxTake is how long a Take may go on. A Relay waits as long, and longer, for the
// pages of a response before it leaves it out.
const maxTake = 5 * time.Minute

var errMaxTake = errors.New("it was not acknowledged for 5 minutes")

// Take writes a response, and returns nil when all replicas in sync have it. The
// error wraps [ErrTooLarge], with both sizes, if it can't be written at all, and
// queue.ErrClosed after Close. After any other error the outcome is unknown. When
// ctx ends Take returns at once, and the response may arrive all the same.
//
// Offered again after that, the same pointer, it waits for what is on its way
// still, instead of writing it once more.
func (s *Sink) Take(ctx context.Context, r *resource.Response) error {
	if err := s.take(ctx, r); err != nil {
		return fmt.Errorf("kafka: write response of %v to %s: %w", r.Resource.ID, s.config.Topic, err)
	}
	return nil
}

func (s *Sink) take(ctx context.Context, r *resource.Response) error {
	if left := s.leftBy(r); left != nil {
		if err := s.wait(ctx, r, left); err == nil || ctx.Err() != nil {
			return err
		}
	}
	records, err := encodeResponse(r, fmt.Sprintf("%s/%d", s.name, s.takes.Add(1)))
	if err != nil {
		return err
	}
	sent, err := s.producer.send(ctx, records)
	if err != nil {
		return err
	}
	return s.wait(ctx, r, sent)
}

// wait waits for what was sent, and notes what it has to leave on its way.
func (s *Sink) wait(ctx context.Context, r *resource.Response, sent *sending) error {
	ctx, cancel := context.WithDeadlineCause(ctx, sent.begun.Add(maxTake), errMaxTake)
	defer cancel()
	err := sent.wait(ctx)
	select {
	case <-sent.done:
	default:
		s.mu.Lock()
		s.left[r] = sent
		s.mu.Unlock()
	}
	return err
}

// leftBy returns what an earlier Take of r has left on its way, if it is there
// still, and forgets what isn't.
func (s *Sink) leftBy(r *resource.Response) *sending {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.left, func(_ *resource.Response, sent *sending) bool {
		select {
		case <-sent.done:
			return true
		default:
			return time.Since(sent.begun) >= maxTake
		}
	})
	return s.left[r]
}

// Close takes nothing more, waits until what is on its way has arrived, but no
// longer than ctx, and disconnects. Its error says that something may not have
// arrived; the Takes of that return queue.ErrClosed.
func (s *Sink) Close(ctx context.Context) error {
	if err := s.producer.close(ctx); err != nil {
		return fmt.Errorf("kafka: close sink: %w", err)
	}
	return nil
}

// String names the sink.
func (s *Sink) String() string { return "kafka:" + s.config.Topic }

var _ interface {
	Take(context.Context, *resource.Response) error
} = (*Sink)(nil)
