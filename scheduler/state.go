package scheduler

import (
	"fmt"
	"time"
)

// State is where a service is in its life.
//
//	Idle ──► Starting ──► Started ──► Draining ──► Stopping ──► Stopped
//	 │        ▲ ▲  │         │                       │
//	 │        │ └──┴─────────┴──── BackingOff ◄──────┘
//	 │        │              │
//	 └──► Waiting ◄──────────┘ (of a service with a Schedule)
//
//	  - Idle to Starting: all of After is up, and the start delay is over. Idle
//	    to Waiting for a service with a Schedule; from there to Starting at a tick.
//	  - Starting to Started: Ready, or Serve entered if there is no start timeout.
//	  - Starting or Started to BackingOff, and from there to Starting: the run
//	    ended by itself, and once the wait is over and After is up the next begins.
//	  - Started to Draining: a stop was asked, and the service has something to
//	    do before: Drain if it is asked gently, SaveState.
//	  - Starting, Started or Draining to Stopping: a stop was asked, the start
//	    timeout has passed, or the cop has convicted it; in the latter two cases
//	    it goes on to BackingOff.
//	  - Stopping to Stopped: the run has ended, or the stop timeout has passed.
//	  - Any to Stopped: an end for good, see [End]; Idle, Waiting and BackingOff
//	    stop at once. A service that is stopped only because one that it comes
//	    After is stopped, or because its group restarts, goes to Idle instead and
//	    starts again with it. The one that its group restarts with stays
//	    BackingOff until its time, although what it comes After is held.
//	  - Stopped to Idle: Start, Restart, another Serve, or Spec.Recover.
type State uint8

const (
	// Idle: registered, and waiting for Serve, for a service that it comes
	// After, or for its start delay.
	Idle State = iota
	// Starting: the run has begun and has not said Ready.
	Starting
	// Started: the run is ready. A pool is Started once each of its workers
	// was ready or ended for good, and while at least one is ready.
	Started
	// Stopping: the run's context has ended and Serve has not returned.
	Stopping
	// Stopped: nothing runs and nothing will be started by itself (except that
	// an abandoned run may be replaced once it has ended).
	Stopped
	// BackingOff: the run ended by itself; the next one waits for its time.
	BackingOff
	// Draining: the run finishes what it has, or checks in its state, before
	// its context ends.
	Draining
	// Waiting: the schedule is on, and no run is due. Those that come After
	// take it for started.
	Waiting

	states // the number of states
)

var stateNames = [...]string{"idle", "starting", "started", "stopping", "stopped", "backing off", "draining", "waiting"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// MarshalText makes states readable in JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// live reports whether a run that was not abandoned is under way.
func (s State) live() bool {
	return s == Starting || s == Started || s == Draining || s == Stopping
}

// End is how a service came to rest. Of the workers of a pool the worst one
// counts; they are declared from harmless to grave.
type End uint8

const (
	// NotEnded: it never ran, or it runs, or it waits to run again.
	NotEnded End = iota
	// Completed: Serve returned nil, and the policy asks for no more.
	Completed
	// EndedOnPurpose: by Stop, by the end of Serve, or along with a service
	// that it comes After.
	EndedOnPurpose
	// Failed: a failure that is not to be repaired by a restart (Temporary,
	// HaltOnFailure, ExitOnError, RollBack), or that of the last run under a
	// Schedule with no tick left.
	Failed
	// GaveUp: more restarts than RetryLimit within RetryWindow.
	GaveUp
	// Abandoned: it did not end within its stop timeout. Its contexts are
	// over, but its goroutine may still run; see Status.Abandoned.
	Abandoned
)

var endNames = [...]string{"", "completed", "stopped", "failed", "gave up", "abandoned"}

func (e End) String() string {
	if int(e) < len(endNames) {
		return endNames[e]
	}
	return fmt.Sprintf("End(%d)", uint8(e))
}

// MarshalText makes ends readable in JSON.
func (e End) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// Status is a snapshot of one service. What it counts is counted over the life
// of the alias, not of the instance. The caller owns it.
type Status struct {
	Alias      string
	Path       string // lineage, for example os/scheduler/analyzer
	State      State
	End        End         // of the latest run that came to rest
	Reason     string      // in words: why it is not started; empty when it is
	Err        error       // the failure behind Reason, if it is one
	Condition  Condition   // what the cop knows of it
	Concern    string      // in words: what speaks against it; empty when it is Healthy
	Since      time.Time   // of State; for a pool, of its latest change
	Generation uint64      // of the latest run; for a pool, the sum over its workers
	Workers    int         // 1, or the size of the pool
	Ready      int         // workers that are started now
	Starts     uint64      // runs begun
	Failures   uint64      // runs that ended by error, panic, Goexit or start timeout, or were abandoned
	Abandoned  int         // runs abandoned that still have not ended
	Dropped    uint64      // failures that its handlers were too slow to be told of
	Skipped    uint64      // ticks of its schedule that fell into a run, or that nobody was there for
	Next       time.Time   // when the next start is due, if it waits for delay, backoff or tick, or is brought back; for a pool the earliest
	After      []string    // as in its Spec
	Exceptions []Exception // the latest failures, oldest first; at most Config.Exceptions
}
