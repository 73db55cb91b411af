package histories

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// What a history can be refused for.
var (
	errNotLinearizable = errors.New("not linearizable")
	errUndecided       = errors.New("the checker did not come to an end")
	errTwoHolders      = errors.New("two owners held it at the same time")
	errToken           = errors.New("a token did not rise")
	errRefused         = errors.New("a holder was refused")
)

// patience bounds the checking of one model.
const patience = time.Minute

// judge returns what is wrong with a history, or nil.
func judge(ops []*operation) error { return judgeWithin(ops, patience) }

func judgeWithin(ops []*operation, limit time.Duration) error {
	fates := settle(ops)
	var errs []error
	for name, check := range map[string]struct {
		model porcupine.Model
		steps []step
	}{
		"a register":        {registerModel(), registerSteps(ops, fates)},
		"a lease":           {leaseModel(), leaseSteps(ops, fates)},
		"a fenced resource": {fenceModel(), fenceSteps(ops, fates)},
	} {
		byKey := make(map[string][]step)
		for _, s := range check.steps {
			byKey[s.op.Key] = append(byKey[s.op.Key], s)
		}
		switch porcupine.CheckOperationsTimeout(check.model, operations(check.steps), limit) {
		case porcupine.Unknown:
			errs = append(errs, fmt.Errorf("%w in %v: %d operations on %s", errUndecided, limit, len(check.steps), name))
		case porcupine.Illegal:
			for _, key := range slices.Sorted(maps.Keys(byKey)) {
				if porcupine.CheckOperationsTimeout(check.model, operations(byKey[key]), limit) != porcupine.Ok {
					errs = append(errs, fmt.Errorf("%s is %w as %s:\n%s", key, errNotLinearizable, name, list(byKey[key])))
				}
			}
		}
	}
	return errors.Join(append(errs, judgeHolders(ops), judgeTokens(ops), judgeActs(ops))...)
}

// step is an operation as a model sees it.
type step struct {
	op   *operation
	sent *operation // of an operation of more than one: its last write, if what it tells counts
	// sure says of one without a known outcome that it has taken effect at
	// some time. Otherwise it may have, unless its outcome is known.
	sure bool
	end  int64 // 0: it may take effect at any time after its call
}

// open says that the outcome has not been told.
func (s step) open() bool { return s.op.Outcome == unknown || s.op.Outcome == "" || s.sent != nil }

func operations(steps []step) []porcupine.Operation {
	ops := make([]porcupine.Operation, len(steps))
	for i, s := range steps {
		ops[i] = porcupine.Operation{ClientId: s.op.Client, Input: s, Call: s.op.call, Return: cmp.Or(s.end, math.MaxInt64)}
	}
	return ops
}

func byKey(history []porcupine.Operation) [][]porcupine.Operation {
	parts := make(map[string][]porcupine.Operation)
	for _, op := range history {
		key := op.Input.(step).op.Key
		parts[key] = append(parts[key], op)
	}
	return slices.Collect(maps.Values(parts))
}

func list(steps []step) string {
	var text strings.Builder
	slices.SortFunc(steps, func(a, b step) int { return cmp.Compare(a.op.call, b.op.call) })
	for _, s := range steps {
		fmt.Fprintln(&text, " ", s.op)
		if s.sent != nil {
			fmt.Fprintln(&text, "    sent", s.sent)
		}
	}
	return text.String()
}

// belief is that an owner took a lease for his.
type belief struct {
	claim    *operation
	from, to int64
}

// beliefs finds when owners took leases for theirs: from the return of the
// claim, until Skew before the end that they know of, or until they released
// it, claimed again or learnt that it is lost. One that was killed believes
// nothing; it counts as if it had lived on.
func beliefs(ops []*operation) []belief {
	type lease struct {
		key   string
		token int64
	}
	byLease := make(map[lease]*belief)
	type holder struct{ key, owner string }
	latest := make(map[holder]*belief)
	var order []lease
	for _, op := range ops {
		if b := latest[holder{op.Key, op.Owner}]; op.Kind == claim && b != nil {
			b.to = min(b.to, op.From) // whoever claims again gives up what he had
		}
		b := byLease[lease{op.Key, op.Token}]
		switch {
		case op.Kind == claim && op.Outcome == ok, op.Kind == work:
			from, to := op.To, op.Until-op.Skew
			if op.Kind == work {
				from = op.From
				if op.Outcome != "" {
					to = min(to, op.To)
				}
			}
			if b == nil {
				order = append(order, lease{op.Key, op.Token})
			}
			b = &belief{op, from, to}
			byLease[lease{op.Key, op.Token}], latest[holder{op.Key, op.Owner}] = b, b
		case b == nil:
		case op.Kind == renew && op.Outcome == ok:
			b.to = op.Until - op.Skew
		case op.Kind == renew && op.Outcome == lost:
			b.to = min(b.to, op.To)
		case op.Kind == release:
			b.to = min(b.to, op.From)
		}
	}
	var found []belief
	for _, l := range order {
		if b := byLease[l]; b.from < b.to {
			found = append(found, *b)
		}
	}
	return found
}

// judgeHolders finds owners who held the same lease at the same time.
func judgeHolders(ops []*operation) error {
	all := beliefs(ops)
	slices.SortStableFunc(all, func(a, b belief) int { return cmp.Compare(a.from, b.from) })
	last := make(map[string]belief) // by key: the one that ends last
	for _, b := range all {
		l, some := last[b.claim.Key]
		if some && b.from < l.to && b.claim.Owner != l.claim.Owner {
			return fmt.Errorf("%w:\n  until %d: %s\n  from %d: %s", errTwoHolders, l.to, l.claim, b.from, b.claim)
		}
		if !some || b.to > l.to {
			last[b.claim.Key] = b
		}
	}
	return nil
}

// judgeTokens finds a claim whose token is not higher than that of one that had
// returned when it began.
func judgeTokens(ops []*operation) error {
	claims := make(map[string][]*operation)
	for _, op := range ops {
		if op.Kind == claim && op.Outcome == ok {
			claims[op.Key] = append(claims[op.Key], op)
		}
	}
	for _, of := range claims {
		for _, before := range of {
			for _, after := range of {
				if before.end < after.call && before.Token >= after.Token || before != after && before.Token == after.Token {
					return fmt.Errorf("%w:\n  %s\n  %s", errToken, before, after)
				}
			}
		}
	}
	return nil
}

// judgeActs finds a holder who was refused while the lease was his.
func judgeActs(ops []*operation) error {
	for _, op := range ops {
		if op.Kind == act && op.Outcome == refused && op.Believed {
			return fmt.Errorf("%w:\n  %s", errRefused, op)
		}
	}
	return nil
}
