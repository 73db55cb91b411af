package db

// pageSize is how many elements a page of pages holds.
const pageSize = 4096

// pages is a growing array that never copies more than one page when it grows,
// so that appending to ten million elements has no pause. The zero value is
// empty and ready.
type pages[T any] struct {
	page [][]T // all full but the last; only the first is ever reallocated
	n    uint32
}

func (p *pages[T]) len() uint32 { return p.n }

// at points to an element until the next push.
func (p *pages[T]) at(i uint32) *T { return &p.page[i/pageSize][i%pageSize] }

func (p *pages[T]) push(v T) {
	last := int(p.n / pageSize)
	switch {
	case last == len(p.page) && last == 0:
		p.page = append(p.page, nil) // small tables stay small
	case last == len(p.page):
		p.page = append(p.page, make([]T, 0, pageSize))
	}
	p.page[last] = append(p.page[last], v)
	p.n++
}

// grow appends zero values until there are n elements.
func (p *pages[T]) grow(n uint32) {
	var zero T
	for p.n < n {
		p.push(zero)
	}
}
