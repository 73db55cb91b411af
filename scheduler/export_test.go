package scheduler

import (
	"fmt"
	"reflect"
)

// BlankIsBlank reports whether nobody has written what all entries and runs
// without anything rare share. Nothing may run any more.
func (m *ServiceManager) BlankIsBlank() bool { return reflect.DeepEqual(m.blank, blank{}) }

// Miscounted names a service whose counters of what it comes after are not what
// there is to be counted; empty if there is none.
func (m *ServiceManager) Miscounted() string {
	m.mu.Lock()
	defer m.unlock()
	for _, e := range m.inOrder() {
		if e.links == nil {
			continue
		}
		var is links
		for _, need := range e.needs() {
			is.blockers += count(need.down)
			is.off += count(need.off)
			is.lacking += count(!need.stands())
			is.barred += count(need.bars())
		}
		for _, d := range e.dependants() {
			is.busy += count(d.busy > 0 || d.followed())
		}
		l := e.links
		if l.blockers != is.blockers || l.off != is.off || l.lacking != is.lacking || l.barred != is.barred || l.busy != is.busy {
			return fmt.Sprintf("%s: %+v, and there are %+v", e.alias, *l, is)
		}
	}
	for name, g := range m.groups {
		busy := 0
		for _, e := range g.members {
			busy += count(e.held && e.busy > 0)
		}
		if g.busy != busy {
			return fmt.Sprintf("group %s: %d held and busy, and there are %d", name, g.busy, busy)
		}
	}
	abandoned := make(map[*entry]int)
	for r := range m.abandoned {
		abandoned[r.worker.entry]++
	}
	for alias, e := range m.directory.entries {
		if e.abandoned != abandoned[e] {
			return fmt.Sprintf("%s: %d abandoned, and there are %d", alias, e.abandoned, abandoned[e])
		}
	}
	return ""
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}
