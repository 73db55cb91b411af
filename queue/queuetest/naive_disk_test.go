package queuetest

import (
	"sync"

	"github.com/cannedos/cannedos/resource"
)

// disk is what survives the process.
type disk struct {
	mu    sync.Mutex
	items map[resource.ID]item
}

func (d *disk) put(f fault, it item) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f == forgettingResults && it.m.Resource.Owner.IsZero() && !d.items[it.m.Resource.ID].m.Resource.Owner.IsZero() {
		return
	}
	it.m.Response = nil
	d.items[it.m.Resource.ID] = it
}

func (d *disk) delete(f fault, id resource.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f != resurrecting && f != forgettingResults {
		delete(d.items, id)
	}
}
