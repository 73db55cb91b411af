package queuetest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cannedos/cannedos/queue"
)

// Suite is what Run must know of an adapter. Only Open is required; the zero
// value of the rest suits a queue that lives in the process.
type Suite struct {
	// Open returns a new, empty queue. The suite closes it. What else must be
	// cleared away belongs into t.Cleanup. It is called in each case, at least
	// once.
	Open func(t *testing.T) queue.Queue

	// OpenRoom returns a new, empty queue with room for that many messages.
	// Nil: the cases about room are left out.
	OpenRoom func(t *testing.T, room int) queue.Queue

	// Reopen is given a queue that the suite has finished with and returns one
	// over the same store, as a new process would find it after a kill -9: what
	// old has not written by now is lost, and old must not be closed first. Nil:
	// the cases about persistence are left out.
	Reopen func(t *testing.T, old queue.Queue) queue.Queue

	// WallClock runs the cases in real time, for adapters that talk to a
	// server. False: each case runs in a bubble of testing/synctest.
	WallClock bool

	// Lateness is how long after its due instant a delivery may come in a
	// bubble, where nothing takes time by itself. Zero means one second. On the
	// wall clock lateness is never judged.
	Lateness time.Duration

	// Patience is how long the suite waits on the wall clock for what must
	// happen. Zero means 30 seconds.
	Patience time.Duration

	// Seed of the random workloads. Zero means 1.
	Seed uint64
}

// Run checks that the queues that open returns keep every promise of package
// queue, each in a subtest of its own, in virtual time. It is Suite{Open:
// open}.Run(t).
func Run(t *testing.T, open func(t *testing.T) queue.Queue) {
	t.Helper()
	Suite{Open: open}.Run(t)
}

// Run runs all cases as subtests of t, one after the other.
func (s Suite) Run(t *testing.T) {
	t.Helper()
	for _, c := range s.cases() {
		t.Run(c.name, func(t *testing.T) {
			s.in(t, func(t *testing.T) { s.check(t, t, c) })
		})
	}
}

// in runs f in virtual time, or as it is.
func (s Suite) in(t *testing.T, f func(t *testing.T)) {
	if s.WallClock {
		f(t)
		return
	}
	synctest.Test(t, f)
}

// check runs one case and reports to tb, which is t unless the suite itself is
// under test. Everything that the case has opened is closed when it returns.
func (s Suite) check(t *testing.T, tb TB, c testCase) {
	e := newEnv(s, t, tb)
	defer e.closeAll()
	c.run(e)
}

// TB is what a case needs of a test; *testing.T has it.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	FailNow()
	Skipf(format string, args ...any)
}

// testCase is one promise.
type testCase struct {
	name string
	run  func(e *env)
}

// cases returns those that apply to s.
func (s Suite) cases() []testCase {
	all := []testCase{
		{"never-early", neverEarly},
		{"on-time", onTime},
		{"receive-blocks-until-due", receiveBlocks},
		{"receive-honours-its-context", receiveHonoursContext},
		{"receive-respects-its-limit", receiveLimit},
		{"never-nothing-without-an-error", neverNothing},
		{"order", order},
		{"names-are-independent", namesAreIndependent},

		{"a-move-keeps-every-field", everyField},
		{"all-or-nothing", allOrNothing},
		{"lost-deliveries-are-named", lostDeliveries},
		{"retire", retire},
		{"bury-with-cause", bury},
		{"many-at-once", manyAtOnce},

		{"admit-twice", admitTwice},
		{"one-message-per-resource", oneMessagePerResource},
		{"version-rises-with-each-move", versionRises},
		{"repeat-is-harmless", repeatIsHarmless},
		{"old-delivery-moves-nothing", oldDelivery},

		{"what-goes-in-is-copied", copiesIn},
		{"what-comes-out-is-a-copy", copiesOut},
		{"response-is-handed-on", responseHandedOn},
		{"big-resource", bigResource},
		{"refused", refused},

		{"session-ends-by-close", sessionEndsByClose},
		{"session-ends-by-context", sessionEndsByContext},
		{"session-ends-by-panic", sessionEndsByPanic},
		{"redelivered-is-never-early", redeliveredNeverEarly},
		{"ended-session", endedSession},
		{"close-of-the-queue", closeOfTheQueue},

		{"one-holder-at-a-time", oneHolderAtATime},
		{"random-workload", randomWorkload},

		{"finder", finder},
		{"taker", taker},
		{"depther", depther},
		{"lister", lister},
		{"stater", stater},
	}
	if s.OpenRoom != nil {
		all = append(all,
			testCase{"moves-never-wait-for-room", movesNeverWait},
			testCase{"admissions-wait-for-room", admissionsWait},
			testCase{"close-ends-a-wait-for-room", closeEndsWaitForRoom},
		)
	}
	if s.Reopen != nil {
		all = append(all,
			testCase{"a-kill-loses-nothing", killLosesNothing},
			testCase{"a-claim-is-found-again", claimIsFoundAgain},
		)
	}
	return all
}
