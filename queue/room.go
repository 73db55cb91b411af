package queue

import "container/list"

// room bounds how many messages a Memory holds, and lets admissions wait for
// their turn: first come, first served, so that a big one isn't passed by small
// ones for ever.
type room struct {
	capacity int
	used     int
	waiting  list.List // of *admission
}

// admission is a Commit that waits for room.
type admission struct {
	need  int
	woken chan struct{} // with room for one signal
}

// fits reports whether need more messages may come in now. turn is the one
// who asks, if it waits already.
func (r *room) fits(need int, turn *list.Element) bool {
	if need <= 0 {
		return true
	}
	return r.used+need <= r.capacity && (r.waiting.Len() == 0 || r.waiting.Front() == turn)
}

// wait puts an admission at the end of those that wait.
func (r *room) wait(need int) *list.Element {
	return r.waiting.PushBack(&admission{need: need, woken: make(chan struct{}, 1)})
}

// leave takes an admission out, whether it has come in or given up.
func (r *room) leave(turn *list.Element) {
	if turn != nil {
		r.waiting.Remove(turn)
	}
	r.wake()
}

// wake tells the first that waits if there is room for it. It must be called
// after each change of used.
func (r *room) wake() {
	front := r.waiting.Front()
	if front == nil {
		return
	}
	if a := front.Value.(*admission); r.used+a.need <= r.capacity {
		select {
		case a.woken <- struct{}{}:
		default: // told already
		}
	}
}
