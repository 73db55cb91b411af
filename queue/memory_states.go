package queue

import (
	"context"

	"github.com/cannedos/cannedos/resource"
)

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
