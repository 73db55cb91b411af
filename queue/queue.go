package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// Message is a resource in a queue. It is a plain value.
type Message struct {
	// Queue names the queue that holds it: 1 to [MaxName] bytes.
	Queue string

	// Resource is what waits. Commit copies it in, Receive hands out copies.
	//
	// Its Version is the queue's: it counts the moves. A message that is passed
	// to Commit carries the version that was received (0 for an admission); the
	// queue keeps it raised by one. The queue ignores a move whose version it
	// has passed already, so a Commit of unknown outcome may be repeated.
	Resource resource.Resource

	// Response travels to the publisher. It stays in the memory of the process,
	// is never copied and never written to a store.
	Response *resource.Response

	// Due is the instant before which the message is not delivered. Zero: at
	// once, as if due at the instant of its arrival.
	Due time.Time

	// Attempts counts what the services count: tries of the present step.
	Attempts int

	// Cause says why a message is in an error queue. Empty elsewhere.
	Cause string
}

// MaxName bounds the name of a queue, in bytes.
const MaxName = 256

// Delivery is a message in the hands of a session, which alone may move it
// until it commits or ends.
type Delivery struct {
	Message

	// Redelivered says that a former holder ended with it in hand. What that
	// holder did with it is not known.
	Redelivered bool

	// Receipt belongs to the implementation: how it finds the delivery again.
	Receipt uint64
}

// To returns the message that moves d to the named queue, due at the instant
// due. Everything else is as it was received; Response and Cause are dropped.
func (d *Delivery) To(queue string, due time.Time) Message {
	m := d.Message
	m.Queue, m.Due, m.Response, m.Cause = queue, due, nil, ""
	return m
}

// Queue is a set of resources, each in exactly one named queue. Its methods may
// be called from any goroutine.
type Queue interface {
	// Open begins a session for one run of one service. The session ends with
	// ctx or by its Close. Errors: ErrClosed, or the end of ctx.
	Open(ctx context.Context) (Session, error)

	// Close ends all sessions and gives up the queue. Later calls, and those
	// that wait, get ErrClosed. Closing twice is no error.
	Close() error
}

// Session is one run's access to a queue. Its methods may be called from any
// goroutine. After its end they return ErrSession, or ErrClosed where the queue
// itself was closed.
type Session interface {
	// Receive blocks until at least one message of the named queue is due, and
	// returns up to limit of them, earliest due first, equal ones in order of
	// arrival. A limit below 1 is an error. It never returns no message and no
	// error. It returns the cause of ctx when that ends first.
	Receive(ctx context.Context, name string, limit int) ([]Delivery, error)

	// Commit gives up the deliveries done and holds the messages next instead,
	// all or nothing. With an id in both it is a move; in done alone the
	// resource is retired; in next alone it is admitted, and then the call may
	// wait for room until ctx ends.
	//
	// Errors, with nothing changed: *LostError for deliveries that this session
	// does not hold (any more); *ExistsError for an admission of a resource
	// that is in already; ErrRefused for a message that can never be held. After
	// any other error the outcome is unknown, and the same Commit again is safe.
	Commit(ctx context.Context, done []Delivery, next ...Message) error

	// Close ends the session. Deliveries that were not committed return at
	// once, marked Redelivered. Closing twice is no error.
	Close() error
}

// Finder is the power to look a resource up.
type Finder interface {
	// Find returns the message of a resource wherever it is, without its
	// Response, and whether a session holds it. ErrNotFound where there is none.
	Find(ctx context.Context, id resource.ID) (m Message, held bool, err error)
}

// Taker is the power of a session to take one resource out of turn, due or not.
type Taker interface {
	// Take delivers the message of a resource to this session, as Receive does.
	// ErrNotFound where there is none, ErrHeld where a session holds it.
	Take(ctx context.Context, id resource.ID) (Delivery, error)
}

// Depth is the size of one named queue.
type Depth struct {
	Name    string    `json:"name"`             // of the queue
	Waiting int       `json:"waiting"`          // not due yet
	Ready   int       `json:"ready"`            // due, and not delivered
	Held    int       `json:"held"`             // in the hands of sessions
	Next    time.Time `json:"next,omitzero"`    // when the next message is due; zero: none waits
	Bodies  int64     `json:"bodies,omitempty"` // bytes of the responses it holds
}

// Depther is the power to tell how full the queues are, from counters.
type Depther interface {
	// Depths returns a line for each name that was ever used, in order of name.
	Depths(ctx context.Context) ([]Depth, error)
}

// Lister is the power to page through a named queue, such as an error queue.
type Lister interface {
	// List returns up to limit messages of the named queue whose ids are
	// greater than after (the zero ID: from the beginning), in order of id and
	// without their responses. Messages in the hands of a session are included.
	List(ctx context.Context, name string, after resource.ID, limit int) ([]Message, error)
}

// Stater is the power to count resources by state, from counters.
type Stater interface {
	// States returns how many resources the queue holds in each state. States
	// that none is in may be missing.
	States(ctx context.Context) (map[resource.State]int, error)
}

// As finds an optional power of q, such as Finder: in q itself or in what q
// wraps. A wrapper shows what it wraps by a method Unwrap() Queue.
func As[T any](q Queue) (T, bool) {
	for q != nil {
		if power, ok := q.(T); ok {
			return power, true
		}
		wrapper, ok := q.(interface{ Unwrap() Queue })
		if !ok {
			break
		}
		q = wrapper.Unwrap()
	}
	var none T
	return none, false
}

// Errors of the contract; errors.Is finds them.
var (
	ErrClosed   = errors.New("queue: closed")
	ErrSession  = errors.New("queue: session has ended")
	ErrExists   = errors.New("queue: resource is in already")
	ErrNotFound = errors.New("queue: no such resource")
	ErrHeld     = errors.New("queue: resource is in the hands of a session")
	ErrLost     = errors.New("queue: delivery is no longer held")
	ErrRefused  = errors.New("queue: message refused, repeating cannot help")
)

// LostError names the deliveries of a Commit that the session does not hold, so
// that the rest can be committed again. errors.Is(err, ErrLost) holds.
type LostError struct {
	IDs []resource.ID // in the order of the call
}

// Error names how many, and the first.
func (e *LostError) Error() string {
	return fmt.Sprintf("%v: %d, the first of resource %v", ErrLost, len(e.IDs), first(e.IDs))
}

// Is reports whether target is ErrLost.
func (e *LostError) Is(target error) bool { return target == ErrLost }

// ExistsError names the admissions of a Commit whose resources are in already.
// errors.Is(err, ErrExists) holds.
type ExistsError struct {
	IDs []resource.ID // in the order of the call
}

// Error names how many, and the first.
func (e *ExistsError) Error() string {
	return fmt.Sprintf("%v: %d, the first is %v", ErrExists, len(e.IDs), first(e.IDs))
}

// Is reports whether target is ErrExists.
func (e *ExistsError) Is(target error) bool { return target == ErrExists }

func first(ids []resource.ID) resource.ID {
	if len(ids) == 0 {
		return resource.ID{}
	}
	return ids[0]
}
