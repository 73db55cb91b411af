package kafka

import (
	"testing"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/queue/queuetest"
)

// owned is the queue of a partition, with the process that it is in.
type owned struct {
	queue.Queue
	process *process
	rig     *rig
}

func (o *owned) Unwrap() queue.Queue { return o.Queue }

// TestConformance runs the suite on a partition in a cluster in memory. Days pass
// in it: a session that lasts for minutes beats less often.
func TestConformance(t *testing.T) {
	open := func(r *rig, room int) queue.Queue {
		p := r.start(func(c *Config) {
			c.SessionTimeout, c.Memory.Capacity = 15*time.Minute, room
		})
		return &owned{Queue: p.part(r.t, 0).Queue, process: p, rig: r}
	}
	queuetest.Suite{
		Open:     func(t *testing.T) queue.Queue { return open(newRig(t, 1), 0) },
		OpenRoom: func(t *testing.T, room int) queue.Queue { return open(newRig(t, 1), room) },
		Reopen: func(t *testing.T, old queue.Queue) queue.Queue {
			o := old.(*owned)
			o.process.cable.pull()
			return open(o.rig, 0)
		},
	}.Run(t)
}
