package queue

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// fading is a context that is found to have ended by whoever asks for the n-th
// time after it began to fade, and that nobody is told of.
type fading struct {
	context.Context
	fades bool
	looks int
}

func (f *fading) Err() error {
	if !f.fades {
		return nil
	}
	if f.looks--; f.looks >= 0 {
		return nil
	}
	return context.Canceled
}

// A receiver that was woken and whose context ends at any moment before it takes
// what is due lets another one look.
func TestReceiverThatGivesUpWakesAnother(t *testing.T) {
	t.Parallel()
	for looks := range 2 { // when it is woken, and before it takes
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(t, 0)
			first, second := openSession(t, m), openSession(t, m)
			require.NoError(t, first.Commit(t.Context(), nil, testMessage("a", 1, time.Now().Add(time.Second))))
			ctx := &fading{Context: t.Context(), looks: looks}
			left := make(chan error, 1)
			go func() {
				_, err := first.Receive(ctx, "a", 1)
				left <- err
			}()
			synctest.Wait()
			ctx.fades = true
			got := make(chan int, 1)
			go func() {
				ds, _ := second.Receive(t.Context(), "a", 1)
				got <- len(ds)
			}()
			time.Sleep(time.Second)
			synctest.Wait()
			require.ErrorIs(t, <-left, context.Canceled)
			select {
			case n := <-got:
				require.Equal(t, 1, n)
			default:
				t.Errorf("nobody looks after the first one gave up at look %d", looks)
			}
		})
	}
}

// The same where much has to be put in order first, between the steps of which
// others may go on.
func TestReceiverThatGivesUpBetweenSteps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 50 * stepSize
		m := newMemory(t, 0)
		first, second := openSession(t, m), openSession(t, m)
		due := time.Now().Add(time.Second)
		for i := 0; i < n; i += stepSize {
			require.NoError(t, first.Commit(t.Context(), nil, testMessages("a", i, stepSize, due)...))
		}
		ctx := &fading{Context: t.Context(), looks: 20}
		left := make(chan error, 1)
		go func() {
			_, err := first.Receive(ctx, "a", 1)
			left <- err
		}()
		synctest.Wait()
		ctx.fades = true
		got := make(chan int, 1)
		go func() {
			ds, _ := second.Receive(t.Context(), "a", 1)
			got <- len(ds)
		}()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.ErrorIs(t, <-left, context.Canceled, "the test is about its end between two steps")
		select {
		case n := <-got:
			require.Equal(t, 1, n)
		default:
			t.Error("nobody looks")
		}
	})
}
