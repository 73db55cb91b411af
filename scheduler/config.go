package scheduler

import (
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Defaults of a [Config].
const (
	DefaultName         = "os/scheduler"
	DefaultExceptions   = 16
	DefaultHandlerQueue = 16
	DefaultLogQueue     = 1024
)

// Config describes a Scheduler. It is copied; the zero value of every field is
// a default.
type Config struct {
	// Name is the lineage of the scheduler, its steps separated by '/'. Empty:
	// DefaultName. Inside another scheduler the lineage is that of the service
	// which the scheduler runs as, and Name is not used.
	Name string
	// Logger gets a line for each change of a service (debug and info) and
	// each failure (warn, or error if it ends the service). It is called by one
	// goroutine, in order, and never delays a service. Nil: the logger of the
	// scheduler around this one, else discard.
	Logger *slog.Logger
	// Services are registered by New, in any order.
	Services []Spec
	// PreHook, Handlers and PostHook are called for each failure of each
	// service; see Handler. Those of a service are its Spec's.
	PreHook  Handler
	Handlers []Handler
	PostHook Handler

	// HandlerTimeout bounds handlers that name no timeout, and the wait for
	// the log at the end of Serve. Zero: DefaultHandlerTimeout.
	HandlerTimeout time.Duration
	// Exceptions is the number of failures kept for each service. Zero:
	// DefaultExceptions.
	Exceptions int
	// HandlerQueue is the number of failures that wait for one chain of
	// handlers; beyond it the oldest is dropped and counted. Zero:
	// DefaultHandlerQueue.
	HandlerQueue int
	// LogQueue is the number of lines that wait for Logger; lines beyond it are
	// dropped and counted. Zero: DefaultLogQueue.
	LogQueue int
}

// maxBound is the largest bound that a Config takes, for memory's sake.
const maxBound = 1 << 20

func (c *Config) validate() error {
	refuse := func(field, format string, args ...any) error {
		return &SpecError{Field: "Config." + field, Reason: fmt.Sprintf(format, args...)}
	}
	for step := range strings.SplitSeq(c.Name, "/") {
		if reason := badAlias(step); c.Name != "" && reason != "" {
			return refuse("Name", "%q: a step is %s", c.Name, reason)
		}
	}
	if c.HandlerTimeout < 0 {
		return refuse("HandlerTimeout", "%v is negative; zero means the default", c.HandlerTimeout)
	}
	for _, bound := range []struct {
		field string
		value int
	}{{"Exceptions", c.Exceptions}, {"HandlerQueue", c.HandlerQueue}, {"LogQueue", c.LogQueue}} {
		if bound.value < 0 || bound.value > maxBound {
			return refuse(bound.field, "%d is not between 0, for the default, and %d", bound.value, maxBound)
		}
	}
	return validateChain("", c.PreHook, c.Handlers, c.PostHook)
}

// limits are the bounds of the Config, resolved.
type limits struct {
	exceptions, handlerQueue, logQueue int
	handlerTimeout                     time.Duration
}

func (l *limits) defaults() {
	if l.exceptions == 0 {
		l.exceptions = DefaultExceptions
	}
	if l.handlerQueue == 0 {
		l.handlerQueue = DefaultHandlerQueue
	}
	if l.logQueue == 0 {
		l.logQueue = DefaultLogQueue
	}
	if l.handlerTimeout == 0 {
		l.handlerTimeout = DefaultHandlerTimeout
	}
}
