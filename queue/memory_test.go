package queue_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/queue/queuetest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T, room int) queue.Queue {
		m, err := queue.NewMemory(queue.MemoryConfig{Capacity: room})
		require.NoError(t, err)
		return m
	}
	queuetest.Suite{
		Open:     func(t *testing.T) queue.Queue { return open(t, 0) },
		OpenRoom: open,
		Lateness: time.Nanosecond, // exactly when it is due, in virtual time
	}.Run(t)
}
