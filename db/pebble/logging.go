package pebble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/redact"
)

// engineLog is the engine's logger. The engine marks what in a message is not
// known to be harmless, such as keys; that is left out.
type engineLog struct {
	log   *slog.Logger
	fence *fence
}

// Infof is what the engine does all the time.
func (l engineLog) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("pebble: engine", "message", harmless(format, args))
	}
}

// Errorf is not an error of a call of ours, which would be returned.
func (l engineLog) Errorf(format string, args ...any) {
	l.log.Error("pebble: engine", "message", harmless(format, args))
}

// Fatalf is called by the engine where it can't go on, and must not return
// according to its documentation. It does: each of its callers returns an
// error, or goes on with a state in memory that the fence keeps from disk.
func (l engineLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf("the engine can't go on: %w", fatalError(format, args))
	l.fence.trip(err, err.Error())
}

// fatalError keeps the cause among the arguments, if there is one.
func fatalError(format string, args []any) error {
	text := harmless(format, args)
	for _, arg := range args {
		if cause, ok := arg.(error); ok {
			return &namedError{text, cause}
		}
	}
	return errors.New(text)
}

// namedError is a cause under a text of its own.
type namedError struct {
	text  string
	cause error
}

func (e *namedError) Error() string { return e.text }
func (e *namedError) Unwrap() error { return e.cause }

func harmless(format string, args []any) string {
	return string(redact.Sprintf(format, args...).Redact().StripMarkers())
}

// listener makes errors in the background errors of the store. Reads that meet
// damage return it; so there is nothing to do for the engine's DataCorruption,
// whose default ends the process. After each flush and compaction a writer
// that waits for one looks again.
func listener(dir string, f *fence, progress chan<- struct{}) *engine.EventListener {
	wake := func() {
		select {
		case progress <- struct{}{}:
		default: // it will look anyway
		}
	}
	return &engine.EventListener{
		BackgroundError: func(err error) {
			f.trip(fmt.Errorf("in the background: %w", diagnose(dir, err)), "in the background: "+harmless("%v", []any{err}))
		},
		DataCorruption: func(engine.DataCorruptionInfo) {},
		FlushEnd:       func(engine.FlushInfo) { wake() },
		CompactionEnd:  func(engine.CompactionInfo) { wake() },
	}
}
