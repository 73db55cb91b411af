package scheduler

import (
	"fmt"
	"log/slog"
	"slices"
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
	// goroutine, in order (save that the cop says by itself that the manager
	// hangs), and never delays a service. Nil: the logger of the scheduler
	// around this one, else discard.
	Logger *slog.Logger
	// Services are registered by New, in any order.
	Services []Spec
	// Groups are what services can belong to; see Spec.Group. Each must have
	// at least one service when New returns.
	Groups []Group

	// RetryLimit is the number of restarts of all services together within
	// RetryWindow after which the next ends the scheduler: Serve stops
	// everything and returns the failure with ErrGaveUp. At most
	// MaxRetryLimit. Zero: no limit.
	RetryLimit int
	// RetryWindow is the sliding window of RetryLimit. Zero:
	// DefaultRetryWindow.
	RetryWindow time.Duration
	// AllSignificant makes the scheduler end when the last of the services
	// that are Significant has ended, instead of at the first. Those that were
	// stopped on purpose count as ended, unless all of them were.
	AllSignificant bool

	// States keeps what services check in (see StateSaver), so that it
	// outlives the process. Nil: that of the scheduler around this one; if
	// there is none, what is checked in lives as long as the alias does in
	// this process.
	States StateStore

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
			return refuse("Name", "%q: the step %q %s", c.Name, step, reason)
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
	switch {
	case c.RetryLimit < 0 || c.RetryLimit > MaxRetryLimit:
		return refuse("RetryLimit", "%d is not between 0 and %d", c.RetryLimit, MaxRetryLimit)
	case c.RetryWindow < 0:
		return refuse("RetryWindow", "%v is negative; zero means the default", c.RetryWindow)
	case c.RetryWindow > 0 && c.RetryLimit == 0:
		return refuse("RetryWindow", "set without RetryLimit, which it belongs to")
	case c.States != nil && isNil(c.States):
		return refuse("States", "holds a nil %T; a nil interface means none", c.States)
	case c.AllSignificant && !slices.ContainsFunc(c.Services, func(s Spec) bool { return s.Significant }):
		return refuse("AllSignificant", "set without a Significant service")
	}
	if err := validateGroups(c.Groups); err != nil {
		return err
	}
	return validateChain("", c.PreHook, c.Handlers, c.PostHook)
}

// limits are the bounds of the Config, resolved.
type limits struct {
	exceptions, handlerQueue, logQueue int
	handlerTimeout                     time.Duration
	retryLimit                         int
	retryWindow                        time.Duration
	allSignificant                     bool
}

func (l *limits) defaults() {
	if l.retryWindow == 0 {
		l.retryWindow = DefaultRetryWindow
	}
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
