package scheduler

import (
	"fmt"
	"slices"
	"strings"
)

// sorted returns the indices of the specs such that each comes after those it
// depends on, otherwise in their order, and refuses what can't be sorted.
func sorted(specs []Spec) ([]int, error) {
	byAlias := make(map[string]int, len(specs))
	for i := range specs {
		s := &specs[i]
		if err := s.validate(); err != nil {
			return nil, err
		}
		if _, taken := byAlias[s.Alias]; taken {
			return nil, &SpecError{Alias: s.Alias, Field: "Alias", Reason: "is used twice", Err: ErrExists}
		}
		byAlias[s.Alias] = i
	}
	order := make([]int, 0, len(specs))
	const open, placed = 1, 2
	mark := make([]int, len(specs))
	var trail []string
	var visit func(i int) error
	visit = func(i int) error {
		s := &specs[i]
		trail = append(trail, s.Alias)
		switch mark[i] {
		case open:
			cycle := trail[slices.Index(trail, s.Alias):]
			return &SpecError{Alias: s.Alias, Field: "After", Reason: "cycle: " + strings.Join(cycle, " after ")}
		case 0:
			mark[i] = open
			for _, need := range s.After {
				n, known := byAlias[need]
				if !known {
					return &SpecError{
						Alias: s.Alias, Field: "After",
						Reason: fmt.Sprintf("%q is not registered", need), Err: ErrUnknown,
					}
				}
				if err := visit(n); err != nil {
					return err
				}
			}
			mark[i] = placed
			order = append(order, i)
		}
		trail = trail[:len(trail)-1]
		return nil
	}
	for i := range specs {
		if err := visit(i); err != nil {
			return nil, err
		}
	}
	return order, nil
}
