package firehose

// occasion is something that happens in a simulation at an instant.
type occasion struct {
	at    int64  // nanoseconds since the beginning
	order uint64 // of two at the same instant, the one that was planned first
	what  uint8
	who   int // index of a unit, or of a scope
}

// The kinds of occasion.
const (
	occasionDue    uint8 = iota // a resource is to be decided about
	occasionAnswer              // the answer to its request has come
	occasionWake                // the lines of a scope may let somebody out
)

func (o *occasion) before(p *occasion) bool {
	return o.at < p.at || o.at == p.at && o.order < p.order
}

// agenda is a binary heap of occasions, the next one first. (container/heap
// makes an interface value of each, which took a third of the time of a run.)
type agenda struct {
	heap  []occasion
	count uint64
}

func (a *agenda) add(at int64, what uint8, who int) {
	a.count++
	o := occasion{at, a.count, what, who}
	a.heap = append(a.heap, o)
	i := len(a.heap) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !o.before(&a.heap[parent]) {
			break
		}
		a.heap[i] = a.heap[parent]
		i = parent
	}
	a.heap[i] = o
}

// next takes the first occasion. There must be one.
func (a *agenda) next() occasion {
	first := a.heap[0]
	last := len(a.heap) - 1
	o := a.heap[last]
	a.heap = a.heap[:last]
	if last == 0 {
		return first
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && a.heap[child+1].before(&a.heap[child]) {
			child++
		}
		if !a.heap[child].before(&o) {
			break
		}
		a.heap[i] = a.heap[child]
		i = child
	}
	a.heap[i] = o
	return first
}

// fifo is a queue of indices.
type fifo struct {
	items []int
	head  int
}

func (f *fifo) len() int   { return len(f.items) - f.head }
func (f *fifo) first() int { return f.items[f.head] }
func (f *fifo) add(i int)  { f.items = append(f.items, i) }

func (f *fifo) take() int {
	i := f.items[f.head]
	f.head++
	if f.head > 64 && 2*f.head > len(f.items) { // what was taken is more than what waits
		f.items = f.items[:copy(f.items, f.items[f.head:])]
		f.head = 0
	}
	return i
}
