package customqueue

import "container/heap"

// line is one named queue: what waits in it, earliest first.
type line struct {
	items   []*item
	changed chan struct{} // closed, and replaced, when something arrives
}

// lineLocked returns the line of a name, which exists from its first use on.
func (q *Queue) lineLocked(name string) *line {
	l := q.lines[name]
	if l == nil {
		l = &line{changed: make(chan struct{})}
		q.lines[name] = l
	}
	return l
}

// add lets an item wait in l, and wakes everybody who waits for one.
func (l *line) add(it *item) {
	heap.Push(l, it)
	close(l.changed)
	l.changed = make(chan struct{})
}

// take removes the item at a place of the heap.
func (l *line) take(index int) *item { return heap.Remove(l, index).(*item) }

// Len, Less, Swap, Push and Pop make the line a heap.Interface.
func (l *line) Len() int { return len(l.items) }

func (l *line) Less(i, j int) bool {
	a, b := l.items[i], l.items[j]
	if !a.from.Equal(b.from) {
		return a.from.Before(b.from)
	}
	return a.arrival < b.arrival
}

func (l *line) Swap(i, j int) {
	l.items[i], l.items[j] = l.items[j], l.items[i]
	l.items[i].index, l.items[j].index = i, j
}

func (l *line) Push(x any) {
	it := x.(*item)
	it.index = len(l.items)
	l.items = append(l.items, it)
}

func (l *line) Pop() any {
	last := len(l.items) - 1
	it := l.items[last]
	l.items[last] = nil
	l.items = l.items[:last]
	return it
}
