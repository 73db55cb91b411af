package customqueue_test

import (
	"testing"

	"github.com/cannedos/cannedos/examples/customqueue"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/queue/queuetest"
)

func TestConformance(t *testing.T) {
	queuetest.Run(t, func(*testing.T) queue.Queue { return customqueue.New() })
}

func BenchmarkQueue(b *testing.B) {
	queuetest.Bench(b, func(*testing.B) queue.Queue { return customqueue.New() })
}
