package queuetest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/queue"
)

// fault is one way to break the naive queue.
type fault int

const (
	none fault = iota
	early
	truncatedDue
	late
	neverDue
	deaf
	plainContextError
	moreThanMax
	anyLimit
	nilNil
	unordered
	lastInFirstOut
	orderOfArrival
	mixedNames
	sleepyMoves
	manyHolders
	clobbering
	twoCopies
	partialCommit
	wrongLost
	ignoringLost
	lossy
	forgettingNext
	keepingRetired
	droppingCause
	droppingField
	clippingTexts
	acceptingAll
	constantVersion
	strictRepeat
	anyVersion
	anySession
	oldReceipts
	aliasingIn
	sharedBatch
	changingCallers
	copiedResponse
	droppingResponses
	losingSessions
	unmarked
	deafSession
	lateRedelivery
	redeliveringEarly
	immortalSession
	blockingMoves
	boundless
	takingHeld
	findingReady
	countingReady
	forgettingHeldStates
	listingFromTheStart
	resurrecting
	forgettingClaims
	forgettingResults
	unmarkedClaims
)

// broken lists the faults and the case that is meant to catch each.
var broken = []struct {
	fault fault
	name  string
	by    string
}{
	{early, "50 ms early", "never-early"},
	{truncatedDue, "instants cut to milliseconds", "never-early"},
	{late, "2 s late", "on-time"},
	{neverDue, "what waits is never delivered", "on-time"},
	{deaf, "deaf to the context of Receive", "receive-honours-its-context"},
	{plainContextError, "the error of the context instead of its cause", "receive-honours-its-context"},
	{moreThanMax, "one more than the limit", "receive-respects-its-limit"},
	{anyLimit, "a limit below one accepted", "receive-respects-its-limit"},
	{nilNil, "neither message nor error", "never-nothing-without-an-error"},
	{unordered, "order of the ids", "order"},
	{lastInFirstOut, "equal ones last in, first out", "order"},
	{orderOfArrival, "order of arrival instead of due", "order"},
	{mixedNames, "one queue for all names", "names-are-independent"},
	{sleepyMoves, "an arrival wakes nobody", "receive-blocks-until-due"},
	{manyHolders, "held by several sessions", "one-holder-at-a-time"},
	{clobbering, "an admission overwrites", "admit-twice"},
	{twoCopies, "two copies of a key", "admit-twice"},
	{partialCommit, "a refused Commit happens in part", "all-or-nothing"},
	{wrongLost, "not all lost deliveries named", "lost-deliveries-are-named"},
	{ignoringLost, "lost deliveries not told", "lost-deliveries-are-named"},
	{lossy, "one message in fifty lost", "random-workload"},
	{lossy, "one message in fifty lost", "many-at-once"},
	{forgettingNext, "done given up, next forgotten", "a-move-keeps-every-field"},
	{keepingRetired, "retired and still in", "retire"},
	{droppingCause, "the cause of a burial lost", "bury-with-cause"},
	{droppingField, "a field lost on the way", "a-move-keeps-every-field"},
	{clippingTexts, "long texts clipped", "big-resource"},
	{acceptingAll, "everything accepted", "refused"},
	{constantVersion, "the version stays", "version-rises-with-each-move"},
	{strictRepeat, "a repeated Commit is an error", "repeat-is-harmless"},
	{anyVersion, "an old version accepted", "old-delivery-moves-nothing"},
	{anySession, "moved by whoever saw it", "old-delivery-moves-nothing"},
	{oldReceipts, "an old receipt of the holder accepted", "old-delivery-moves-nothing"},
	{aliasingIn, "the caller's memory kept", "what-goes-in-is-copied"},
	{changingCallers, "the caller's values changed", "what-goes-in-is-copied"},
	{sharedBatch, "one buffer for all batches", "what-comes-out-is-a-copy"},
	{copiedResponse, "a copy of the response", "response-is-handed-on"},
	{droppingResponses, "a redelivery without its response", "response-is-handed-on"},
	{losingSessions, "what an ended session held is lost", "session-ends-by-close"},
	{losingSessions, "what an ended session held is lost", "session-ends-by-panic"},
	{deafSession, "the session outlives its context", "session-ends-by-context"},
	{unmarked, "redelivered without a mark", "session-ends-by-close"},
	{lateRedelivery, "redelivered late", "session-ends-by-context"},
	{redeliveringEarly, "redelivered before it is due", "redelivered-is-never-early"},
	{immortalSession, "an ended session goes on", "ended-session"},
	{blockingMoves, "moves wait for room", "moves-never-wait-for-room"},
	{boundless, "admissions never wait", "admissions-wait-for-room"},
	{deaf, "deaf to the context of an admission", "admissions-wait-for-room"},
	{takingHeld, "taken out of another's hands", "taker"},
	{findingReady, "what is held isn't found", "finder"},
	{countingReady, "what is held counts as ready", "depther"},
	{forgettingHeldStates, "states of what is held not counted", "stater"},
	{listingFromTheStart, "every page is the first", "lister"},
	{resurrecting, "what was retired comes back with a new process", "a-kill-loses-nothing"},
	{forgettingClaims, "claims forgotten with the process", "a-claim-is-found-again"},
	{forgettingResults, "results forgotten with the process", "a-claim-is-found-again"},
	{unmarkedClaims, "claims come back unmarked", "a-claim-is-found-again"},
}

// naiveSuite is the suite over the naive queue with a fault.
func naiveSuite(f fault, wall bool) Suite {
	return Suite{
		Open:      func(*testing.T) queue.Queue { return newNaive(f, 0, nil) },
		OpenRoom:  func(_ *testing.T, room int) queue.Queue { return newNaive(f, room, nil) },
		Reopen:    func(_ *testing.T, old queue.Queue) queue.Queue { return newNaive(f, 0, old.(*naive).disk) },
		WallClock: wall,
	}
}

func TestNaivePasses(t *testing.T) { naiveSuite(none, false).Run(t) }

func TestNaivePassesOnTheWallClock(t *testing.T) {
	t.Parallel()
	naiveSuite(none, true).Run(t)
}

func TestRunIsTheSuite(t *testing.T) {
	Run(t, func(*testing.T) queue.Queue { return newNaive(none, 0, nil) })
}

// plain hides every optional power.
type plain struct{ queue.Queue }

func (p plain) Open(ctx context.Context) (queue.Session, error) {
	s, err := p.Queue.Open(ctx)
	if err != nil {
		return nil, err
	}
	return struct{ queue.Session }{s}, nil
}

func TestPowersAreOptional(t *testing.T) {
	s := Suite{Open: func(*testing.T) queue.Queue { return plain{newNaive(none, 0, nil)} }}
	skipped := map[string]bool{}
	for _, c := range s.cases() {
		r := s.record(t, c)
		require.Empty(t, r.failed, c.name)
		skipped[c.name] = r.skipped != ""
	}
	for _, name := range []string{"finder", "taker", "depther", "stater", "lister"} {
		require.True(t, skipped[name], name)
	}
	require.False(t, skipped["never-early"])
}

func TestBrokenQueuesAreCaught(t *testing.T) {
	used := map[fault]bool{none: true}
	for _, b := range broken {
		used[b.fault] = true
		t.Run(strings.ReplaceAll(b.name, " ", "-")+"/"+b.by, func(t *testing.T) {
			s := naiveSuite(b.fault, false)
			for _, c := range s.cases() {
				if c.name != b.by {
					continue
				}
				r := s.record(t, c)
				require.NotEmpty(t, r.failed, "a queue with this fault passes the case that is meant for it: %s", b.name)
				t.Logf("caught: %s", r.failed[0])
				return
			}
			t.Fatalf("no case is called %q", b.by)
		})
	}
	for f := range unmarkedClaims + 1 {
		require.True(t, used[f], "fault %d is in no list", f)
	}
}

// recorder is a TB that writes down what a test would report.
type recorder struct {
	mu      sync.Mutex
	failed  []string
	skipped string
}

func (r *recorder) Helper()             {}
func (r *recorder) Logf(string, ...any) {}
func (r *recorder) FailNow()            { runtime.Goexit() }
func (r *recorder) Errorf(f string, a ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = append(r.failed, fmt.Sprintf(f, a...))
}

func (r *recorder) Skipf(f string, a ...any) {
	r.mu.Lock()
	r.skipped = fmt.Sprintf(f, a...)
	r.mu.Unlock()
	runtime.Goexit()
}

// record runs one case and returns what it reported instead of failing t.
func (s Suite) record(t *testing.T, c testCase) *recorder {
	r := &recorder{}
	s.in(t, func(t *testing.T) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.check(t, r, c)
		}()
		<-done
	})
	return r
}

func BenchmarkNaive(b *testing.B) {
	Bench(b, func(*testing.B) queue.Queue { return newNaive(none, 0, nil) })
}
