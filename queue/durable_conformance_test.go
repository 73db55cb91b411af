package queue_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/queue/queuetest"
)

// process is a Durable with the store as its process sees it.
type process struct {
	*queue.Durable
	handle *handle
	path   string
}

func (p *process) Unwrap() queue.Queue { return p.Durable }

func newProcess(t *testing.T, h *handle, config queue.DurableConfig) *process {
	d, err := queue.NewDurable(h, config)
	require.NoError(t, err)
	return &process{Durable: d, handle: h}
}

func TestDurableOverMemory(t *testing.T) {
	start := func(t *testing.T, store db.DB, room int) queue.Queue {
		h := newHandle(store)
		return newProcess(t, h, queue.DurableConfig{
			TTL: 30 * time.Minute, Memory: queue.MemoryConfig{Capacity: room}, // days pass: few renewals
		})
	}
	queuetest.Suite{
		Open: func(t *testing.T) queue.Queue { return start(t, db.NewMemory(), 0) },
		OpenRoom: func(t *testing.T, room int) queue.Queue {
			return start(t, db.NewMemory(), room)
		},
		Reopen: func(t *testing.T, old queue.Queue) queue.Queue {
			h := old.(*process).handle
			h.cut.Store(true)
			return start(t, h.DB, 0) // it stands by until the lease of the dead one is over
		},
	}.Run(t)
}

func TestDurableOverFile(t *testing.T) {
	start := func(t *testing.T, path string, room int) queue.Queue {
		file, err := db.OpenFile(path)
		require.NoError(t, err)
		t.Cleanup(func() { file.Close() })
		h := newHandle(file)
		// A lease that nobody renews while days pass: an fsync takes real time.
		p := newProcess(t, h, queue.DurableConfig{
			TTL: 365 * 24 * time.Hour, Memory: queue.MemoryConfig{Capacity: room},
		})
		p.path = path
		return p
	}
	queuetest.Suite{
		Open: func(t *testing.T) queue.Queue { return start(t, filepath.Join(t.TempDir(), "q.db"), 0) },
		OpenRoom: func(t *testing.T, room int) queue.Queue {
			return start(t, filepath.Join(t.TempDir(), "q.db"), room)
		},
		Reopen: func(t *testing.T, old queue.Queue) queue.Queue {
			p := old.(*process)
			p.handle.cut.Store(true)
			require.NoError(t, p.handle.DB.Close())
			return start(t, p.path, 0) // and needs not wait for the lease of the dead one
		},
	}.Run(t)
}
