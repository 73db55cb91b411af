package scheduler

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// What is removed is not held by the cop until its window ends, whichever place
// it has in the heap.
func TestRegressionCopLetsGoOfWhatIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, end := servedWell(t, Config{})
		m := s.manager
		spec := func(i int) Spec {
			return Spec{
				Alias: strconv.Itoa(i), Bounds: Bounds{Window: time.Duration(1+i*7%10) * time.Hour},
				Service: Func(func(ctx context.Context) error {
					MeterOf(ctx).Observe(1, nil)
					<-ctx.Done()
					return nil
				}),
			}
		}
		for i := range 10 {
			require.NoError(t, s.Add(spec(i)))
		}
		synctest.Wait()
		require.Len(t, m.cop.beats, 10)
		for i := range 10 {
			require.NoError(t, s.Remove(t.Context(), strconv.Itoa(i)))
			require.Len(t, m.cop.beats, 9-i)
			for j, b := range m.cop.beats {
				require.Equal(t, j+1, b.place)
				require.NotEqual(t, strconv.Itoa(i), b.entry.alias)
				require.LessOrEqual(t, m.cop.beats[max(0, j-1)/2].due, b.due)
			}
		}
		end()
	})
}

// One that is removed while the cop looks at it is not taken back.
func TestRegressionCopDoesNotTakeBackWhatIsRemoved(t *testing.T) {
	var c cop
	b := &beat{due: 1}
	c.assign(b)
	require.Same(t, b, c.next(1))
	c.dismiss(b)
	c.assign(b)
	require.Empty(t, c.beats)
	require.Nil(t, c.next(2))
}

// A mistake of the manager's own in the call of a handler is told, ends only
// that call, and doesn't keep Serve from its end.
func TestRegressionMistakeInTheCallOfAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		var told atomic.Int32
		s, end := servedWell(t, Config{
			Logger:   log.logger(),
			Handlers: []Handler{{Name: "h", Handle: func(context.Context, Exception) error { told.Add(1); return nil }}},
			Services: []Spec{{Alias: "a", Restart: Temporary, Service: Func(func(context.Context) error {
				time.Sleep(time.Minute)
				return errMeasured
			})}},
		})
		m := s.manager
		m.mu.Lock()
		m.osChain.steps = []*step{nil, m.osChain.steps[0]} // the first has no handler
		m.unlock()
		time.Sleep(90 * time.Second)
		require.Equal(t, 1, strings.Count(log.String(), "the manager failed to call a handler"), log.String())
		require.EqualValues(t, 1, told.Load())
		end()
	})
}
