package scheduler

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Kind says what made an [Exception].
type Kind uint8

const (
	// Returned: Serve returned an error.
	Returned Kind = iota
	// Panicked: Serve or Factory panicked; Err is a *PanicError.
	Panicked
	// Exited: Serve called runtime.Goexit; Err is ErrGoexit.
	Exited
	// StartTimedOut: Ready was not said in time; Err wraps ErrStartTimeout
	// and names what blocked.
	StartTimedOut
	// Deaf: the run did not end within its stop timeout and was abandoned;
	// Err wraps ErrStopTimeout.
	Deaf
	// HandlerFailed: a handler of the failure before returned an error,
	// panicked or timed out; Err names it. Handlers are not told of these.
	HandlerFailed
	// DrainFailed: Drain returned an error, panicked or timed out; the run is
	// stopped all the same. Handlers are not told of these.
	DrainFailed
	// SaveFailed: SaveState or the store did so; the check-in before stays.
	// Handlers are not told of these.
	SaveFailed
	// RestoreFailed: RestoreState or the store did so; the run has failed, and
	// Serve was not called.
	RestoreFailed
	// Stalled: no progress within Bounds.Stall, or the run was over and its
	// Backoff function did not return; Err wraps ErrStalled and says which.
	// Handlers are told of these only if the run is made to end for it.
	Stalled
	// Convicted: the Bounds were broken, or all operations failed; Err
	// wraps ErrBounds and says how. Handlers are told of these only if Bounds
	// say Restart.
	Convicted
	// CurveFailed: the Backoff function panicked or called Goexit, or still
	// hangs in its call before; DefaultBackoff was used.
	CurveFailed
)

var kindNames = [...]string{"error", "panic", "goexit", "start timeout", "deaf", "handler", "drain", "save", "restore", "stalled", "cop", "backoff"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// MarshalText makes kinds readable in JSON.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Exception is one failure of a service, as kept in its [Status] and given to
// its handlers. It is a value and may be kept.
type Exception struct {
	At         time.Time // when it was noticed
	Alias      string    // of the service
	Path       string    // lineage, with the number of the worker in a pool
	Generation uint64    // of the run, counted for each worker from 1
	Kind       Kind
	Err        error // never nil; see Kind
	// End is NotEnded if the service is to be started again after Delay.
	// It is also NotEnded for StartTimedOut and HandlerFailed, where what
	// follows isn't decided yet.
	End   End
	Delay time.Duration

	stack []uintptr
}

// maxFrames bounds the stack that is kept of a panic or a Goexit.
const maxFrames = 32

// Stack returns the innermost 32 calls at a panic or Goexit, the one that
// caused it first, each as "function\n\tfile:line\n". It is empty for other
// kinds. The text is made when asked for.
func (e Exception) Stack() string {
	var b strings.Builder
	for f := range frames(e.stack) {
		b.WriteString(f.Function)
		b.WriteString("\n\t")
		b.WriteString(f.File)
		b.WriteByte(':')
		b.WriteString(strconv.Itoa(f.Line))
		b.WriteByte('\n')
	}
	return b.String()
}

// where returns the innermost call as function:line, or nothing.
func where(stack []uintptr) string {
	for f := range frames(stack) {
		return f.Function + ":" + strconv.Itoa(f.Line)
	}
	return ""
}

// frames yields the calls of a captured stack without those of this package's
// catch and of the runtime's panic machinery around the culprit.
func frames(pcs []uintptr) func(yield func(runtime.Frame) bool) {
	return func(yield func(runtime.Frame) bool) {
		if len(pcs) == 0 {
			return
		}
		inside := false
		iter := runtime.CallersFrames(pcs)
		for {
			f, more := iter.Next()
			switch {
			case !inside:
				inside = f.Function == "runtime.gopanic" || f.Function == "runtime.Goexit"
			case strings.HasPrefix(f.Function, "runtime."):
				// panicmem, sigpanic, panicIndex: how, not where.
			case !yield(f):
				return
			}
			if !more {
				return
			}
		}
	}
}

// PanicError is what a service or handler panicked with.
type PanicError struct {
	Value any // given to panic; a *runtime.PanicNilError for nil
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the value if it is an error, else nil.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// outcome is how a call of foreign code ended.
type outcome struct {
	kind  Kind
	err   error // nil: returned nil
	stack []uintptr
}

// call runs foreign code and is the one place where its ways to end are told
// apart. end is called exactly once, in the same goroutine, and last: after
// it, a goroutine that called Goexit is gone.
func call(f func() error, end func(outcome)) {
	var out outcome
	returned := false
	defer func() {
		if !returned {
			out = fallen(recover())
		}
		end(out)
	}()
	err := f()
	returned, out.kind, out.err = true, Returned, err
}

// fallen is the outcome of a panic with a value, or, without, of Goexit. It is
// called by what defer calls, while the stack of the culprit still stands.
//
//go:noinline
func fallen(value any) outcome {
	out := outcome{kind: Exited, err: ErrGoexit, stack: callers()}
	if value != nil {
		out.kind, out.err = Panicked, &PanicError{Value: value}
	}
	return out
}

// callers captures the stack below a deferred function. The array lives in
// this frame, which exists only while a failure is handled: an idle service's
// stack stays small.
//
//go:noinline
func callers() []uintptr {
	var pcs [maxFrames + 4]uintptr
	n := runtime.Callers(2, pcs[:])
	return append([]uintptr(nil), pcs[:n]...)
}

// mishap is what is kept of an Exception, which is made of it for who asks. So a
// failure that nobody asks about costs half of the memory, no lineage, and no
// more than the stack that a goroutine begins with.
type mishap struct {
	err        error
	stack      []uintptr
	at         time.Duration // as an offset of the manager's birth
	delay      time.Duration
	generation uint64
	index      int32 // of the worker
	kind       Kind
	end        End
}

func (x *mishap) exception(e *entry, root string) Exception {
	return Exception{
		At: e.manager.birth.Add(x.at), Alias: e.alias, Path: e.path(root, x.index), Generation: x.generation,
		Kind: x.kind, Err: x.err, End: x.end, Delay: x.delay, stack: x.stack,
	}
}

// ring keeps the latest mishaps.
type ring struct {
	items []mishap
	next  int // place of the oldest once items is full
}

func (r *ring) add(x *mishap, limit int) {
	if len(r.items) < limit {
		r.items = append(r.items, *x)
		return
	}
	r.items[r.next] = *x
	r.next = (r.next + 1) % limit
}

// all makes the exceptions of an entry, oldest first.
func (r *ring) all(e *entry, root string) []Exception {
	if r == nil {
		return nil
	}
	out := make([]Exception, 0, len(r.items))
	for i := range r.items {
		x := &r.items[(r.next+i)%len(r.items)]
		out = append(out, x.exception(e, root))
	}
	return out
}

// latest returns the latest failure of a run, or, if other failures have pushed
// it out, whatever is latest; nil if there is none.
func (r *ring) latest() error {
	if r == nil || len(r.items) == 0 {
		return nil
	}
	n := len(r.items)
	for i := range n {
		if x := &r.items[(r.next+2*n-1-i)%n]; x.kind.ofRun() {
			return x.err
		}
	}
	return r.items[(r.next+n-1)%n].err
}

// ofRun reports whether a run fails by it. The others are beside it.
func (k Kind) ofRun() bool {
	switch k {
	case HandlerFailed, DrainFailed, SaveFailed, CurveFailed:
		return false
	}
	return true
}
