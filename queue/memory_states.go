package queue

import (
	"context"

	"github.com/cannedos/cannedos/resource"
)

// stateLocked returns the state of the resource in a slot, from its value: the
// encoding has it two bytes behind the id, so that counting costs no room.
func (m *Memory) stateLocked(sl *slot) resource.State {
	const behindID = len(resource.ID{}) + 1 // the priority stands between
	return resource.State(m.arena.get(sl.val)[int(sl.idAt)+behindID])
}

// States returns how many resources are in each state; see [Stater].
func (m *Memory) States(ctx context.Context) (map[resource.State]int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.aliveLocked(ctx); err != nil {
		return nil, err
	}
	counts := map[resource.State]int{}
	for _, s := range resource.States() {
		if n := m.states[s]; n != 0 {
			counts[s] = n
		}
	}
	return counts, nil
}
