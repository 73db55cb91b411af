package firehose

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/resource"
)

func TestCredits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCredits(2, 5000)
		one, err := c.take(t.Context())
		require.NoError(t, err)
		two, err := c.take(t.Context())
		require.NoError(t, err)
		used := func() int { n, _ := c.level(); return n }
		require.Zero(t, used(), "idle")
		one.use()
		one.use()
		require.Equal(t, 1, used())

		var third *credit
		var all sync.WaitGroup
		all.Go(func() { third, _ = c.take(t.Context()) })
		synctest.Wait()
		require.Nil(t, third)
		two.give() // unused
		two.give()
		all.Wait()
		require.NotNil(t, third)
		require.Equal(t, 1, used())

		r := &resource.Response{Body: make([]byte, 4000)}
		one.keep(r)
		one.give() // the response has it
		n, bytes := c.level()
		require.Equal(t, 1, n)
		require.Equal(t, r.Size(), bytes)
		third.give()
		over, cancel := context.WithCancel(t.Context())
		all.Go(func() {
			_, err := c.take(over) // a place is free, but no bytes are
			require.ErrorIs(t, err, context.Canceled)
		})
		synctest.Wait()
		cancel()
		all.Wait()
		c.done(r)
		c.done(r)
		c.done(nil)
		n, bytes = c.level()
		require.Zero(t, n)
		require.Zero(t, bytes)
		for range 2 {
			_, err = c.take(t.Context())
			require.NoError(t, err)
		}
	})
}

// However many want credit: never more than there is, and all get some.
func TestCreditsTogether(t *testing.T) {
	c := newCredits(3, 1<<40)
	var mu sync.Mutex
	out, most := 0, 0
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for range 200 {
				k, err := c.take(context.Background())
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				out++
				most = max(most, out)
				mu.Unlock()
				k.use()
				mu.Lock()
				out--
				mu.Unlock()
				if i%2 == 0 {
					k.give()
					continue
				}
				r := new(resource.Response)
				k.keep(r)
				c.done(r)
			}
		})
	}
	all.Wait()
	require.LessOrEqual(t, most, 3)
	n, bytes := c.level()
	require.Zero(t, n)
	require.Zero(t, bytes)
}
