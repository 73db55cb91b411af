package scheduler

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var inert = Func(func(ctx context.Context) error {
	<-ctx.Done()
	return nil
})

// served serves a scheduler in a bubble.
func served(t *testing.T, c Config) (s *Scheduler, stop func() error) {
	t.Helper()
	s, err := New(c)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- s.Serve(ctx) }()
	synctest.Wait()
	return s, func() error {
		cancel()
		return <-result
	}
}

// lines is a log that can be made to hang.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
	hang chan struct{} // nil: does not
}

func (l *lines) Write(p []byte) (int, error) {
	if l.hang != nil {
		<-l.hang
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// A manager whose lock is never given up is found by whoever asks for its
// health and by the cop, who says so in the log; and so is its recovery.
func TestWedgedManager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		s, stop := served(t, Config{Name: "os/x", Logger: log.logger(), Services: []Spec{{Alias: "a", Service: inert}}})
		m := s.manager
		require.Equal(t, Health{Path: "os/x", Live: true, Ready: true, Services: []ServiceHealth{
			{Path: "os/x/a", State: Started, Live: true, Ready: true},
		}}, s.Health())

		m.mu.Lock()
		begin := time.Now()
		h := s.Health()
		require.Less(t, time.Since(begin), time.Second)
		require.True(t, h.Live, "it may be busy")
		require.False(t, h.Ready)
		require.Equal(t, "os/x", h.Path)
		require.NotNil(t, h.Services)
		require.Contains(t, h.Reason, "the manager does not answer: its lock was not given up for 5")
		time.Sleep(time.Until(begin.Add(lockBound + time.Second)))
		begin = time.Now()
		h = s.Health()
		require.Zero(t, time.Since(begin), "what is known takes no time")
		require.False(t, h.Live)
		require.Contains(t, h.Reason, "its lock was not given up for 6s")
		time.Sleep(2 * auditEvery)
		synctest.Wait()
		require.Equal(t, 1, strings.Count(log.String(), "the manager hangs"), log.String())
		require.Contains(t, log.String(), "level=ERROR")
		require.Contains(t, log.String(), "service=os/x held=5")
		m.unlock()
		h = s.Health()
		require.True(t, h.Live && h.Ready)
		require.Empty(t, h.Reason)
		time.Sleep(time.Second)
		require.Equal(t, 1, strings.Count(log.String(), "the manager works again"))

		// Many that hold it shortly are not one that holds it for long.
		for range 2 {
			m.mu.Lock()
			time.Sleep(lockBound - time.Second)
			m.unlocks.Add(1)
			time.Sleep(lockBound - time.Second)
			h = s.Health()
			m.unlock()
			require.True(t, h.Live, h.Reason)
		}
		require.NoError(t, stop())
	})
}

// A wedge is told of one scheduler, of those inside and of those around.
func TestWedgedInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, err := New(Config{Services: []Spec{{Alias: "leaf", Service: inert}}})
		require.NoError(t, err)
		s, stop := served(t, Config{Services: []Spec{{Alias: "inner", Service: inner}, {Alias: "b", Service: inert}}})
		require.Len(t, s.Health().Services, 3)
		inner.manager.mu.Lock()
		s.Health()
		time.Sleep(10 * time.Second)
		h := s.Health()
		require.False(t, h.Live)
		require.Contains(t, h.Reason, "os/scheduler/inner: the manager does not answer")
		require.Len(t, h.Services, 2, "those of the outer one are seen")
		inner.manager.unlock()
		require.True(t, s.Health().Live)
		require.NoError(t, stop())
	})
}

// Health before Serve needs no cop either.
func TestWedgedBeforeServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Name: "os/y"})
		require.NoError(t, err)
		s.manager.mu.Lock()
		require.Equal(t, "os/y", s.Health().Path)
		s.manager.unlock()
		require.Equal(t, Health{Path: "os/y", Live: true, Reason: "does not serve", Services: []ServiceHealth{}}, s.Health())
	})
}

// The cop can be sent home while it waits for a lock that nobody gives up.
func TestCopGoesThoughTheLockIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := served(t, Config{})
		m := s.manager
		p := m.session.patrol
		m.mu.Lock()
		time.Sleep(auditEvery + time.Second)
		close(p.off)
		<-p.gone
		p.off = make(chan struct{}) // for Serve to close
		m.unlock()
		require.NoError(t, stop())
	})
}

// A line that the cop shouts into a log that hangs does not keep it from its
// work, and is named when Serve returns.
func TestShoutIntoAHangingLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := lines{hang: make(chan struct{})}
		s, stop := served(t, Config{Logger: log.logger()})
		p := s.manager.session.patrol
		s.manager.mu.Lock()
		time.Sleep(auditEvery + lockBound + time.Second)
		s.manager.unlock() // nothing more can be said
		time.Sleep(auditEvery)
		begin := time.Now()
		err := stop()
		require.Equal(t, DefaultHandlerTimeout, time.Since(begin))
		require.ErrorContains(t, err, "os/scheduler log")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorContains(t, s.Serve(ctx), "os/scheduler log") // by each session while it hangs
		close(log.hang)
		<-p.said
		require.Equal(t, 1, strings.Count(log.String(), "\n"))
	})
}

// What is due and not done makes the manager late; the cop says so once.
func TestLateManager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		s, stop := served(t, Config{Logger: log.logger(), Services: []Spec{
			{Alias: "a", Service: inert, StartDelay: time.Second},
		}})
		m := s.manager
		m.mu.Lock()
		m.deadlines.timer.Stop()
		m.unlock()
		time.Sleep(20 * time.Second)
		h := s.Health()
		require.False(t, h.Live)
		require.True(t, strings.HasPrefix(h.Reason, "the manager is 19s late; os/scheduler/a: "), h.Reason)
		require.Equal(t, 1, strings.Count(log.String(), "the manager is late"))
		m.ring()
		require.True(t, s.Health().Live)
		require.NoError(t, stop())
	})
}

// A log that hangs or is too slow, and handlers that are, show in the health,
// which is not ruined by it.
func TestSlowUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := lines{hang: make(chan struct{})}
		slow := make(chan struct{})
		s, stop := served(t, Config{
			Logger: log.logger(), LogQueue: 2, HandlerQueue: 1,
			Services: []Spec{{
				Alias: "a", Service: Func(func(context.Context) error { return errMeasured }), RetryLimit: 9,
				Backoff:  func(int) time.Duration { return time.Second },
				Handlers: []Handler{{Name: "slow", Timeout: time.Hour, Handle: func(context.Context, Exception) error { <-slow; return nil }}},
			}},
		})
		time.Sleep(9500 * time.Millisecond)
		h := s.Health()
		require.True(t, h.Live)
		require.Contains(t, h.Reason, "the log hangs for 9.5s with a line")
		require.Contains(t, h.Reason, " lines dropped, the latest 500ms ago")
		require.Contains(t, h.Reason, "handlers are too slow, 8 failures dropped, the latest 500ms ago")
		close(log.hang)
		close(slow)
		time.Sleep(10 * time.Second)
		require.Equal(t, 1, strings.Count(log.String(), `msg="failures were dropped, the handlers are too slow" service=os/scheduler/a`), log.String())
		require.NotContains(t, s.Health().Reason, "hangs")
		time.Sleep(lossMemory)
		require.NotContains(t, s.Health().Reason, "too slow")
		require.NoError(t, stop())
	})
}

// A mistake of the cop's own is told, and keeps it from nothing else.
func TestCopFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		s, stop := served(t, Config{Logger: log.logger(), Services: []Spec{{
			Alias: "a", Bounds: Bounds{Stall: 20 * time.Second},
			Service: Func(func(ctx context.Context) error {
				o := MeterOf(ctx).Begin()
				defer o.End(nil)
				return inert(ctx)
			}),
		}}})
		m := s.manager
		m.cop.assign(&beat{due: m.now() + time.Second}) // has no entry
		time.Sleep(time.Minute)
		require.Equal(t, 1, strings.Count(log.String(), "the cop failed"), log.String())
		require.Contains(t, log.String(), "inspect:")
		a, err := s.Status("a")
		require.NoError(t, err)
		require.Equal(t, Zombie, a.Condition)
		time.Sleep(copPardon) // and is looked at again after a while
		require.Equal(t, 2, strings.Count(log.String(), "the cop failed"), log.String())
		require.NoError(t, stop())
	})
}

// While nothing is metered the cop looks at the manager now and then, and at
// nothing else; services that restart all the time wake it once a second.
func TestIdleCop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := served(t, Config{Services: []Spec{{Alias: "a", Service: inert}}})
		m := s.manager
		require.Empty(t, m.cop.beats)
		m.cop.mu.Lock()
		alarm := m.cop.alarm
		m.cop.mu.Unlock()
		require.Equal(t, auditEvery, alarm-m.now())
		require.NoError(t, s.Add(Spec{
			Alias: "b", Service: Func(func(context.Context) error { return errMeasured }),
			Backoff: func(int) time.Duration { return time.Millisecond },
		}))
		woken := 0
		for range 3000 {
			time.Sleep(time.Millisecond)
			m.cop.mu.Lock()
			if m.cop.alarm != alarm {
				alarm = m.cop.alarm
				woken++
			}
			m.cop.mu.Unlock()
		}
		require.LessOrEqual(t, woken, 8)
		require.NoError(t, stop())
	})
}
