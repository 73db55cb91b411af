package histories

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// registerModel is that of one record: a register with compare-and-set.
func registerModel() porcupine.Model {
	return porcupine.Model{
		Partition: byKey,
		Init:      func() any { return cell{} },
		Step: func(state, input, _ any) (bool, any) {
			now, s := state.(cell), input.(step)
			op := s.op
			switch {
			case op.Kind == get:
				return op.Found == now, now
			case op.Outcome == lost:
				return op.Found == now && now.Version != op.If, now
			case now.Version == op.If:
				return true, op.New
			}
			return s.open() && !s.sure, now
		},
		DescribeOperation: describe,
	}
}

func describe(input, _ any) string { return fmt.Sprint(input.(step).op) }

// lease is the state of a lease: its record, and the token of who has it.
type lease struct {
	version, token int64
	owner          string
	until          int64
}

// mayClaim says whether an owner whose clock shows now may claim.
func (l lease) mayClaim(owner string, now int64) bool {
	return l.owner == "" || l.owner == owner || now >= l.until
}

// leaseModel is that of one lease. Time is in it by what the calls tell: one
// that took or prolonged the lease until some instant did so TTL before.
func leaseModel() porcupine.Model {
	return porcupine.Model{
		Partition: byKey,
		Init:      func() any { return lease{} },
		Step: func(state, input, _ any) (bool, any) {
			now, s := state.(lease), input.(step)
			if s.sent != nil {
				return now.sent(s)
			}
			return now.told(s.op)
		},
		DescribeOperation: describe,
	}
}

// told is a call whose outcome is known.
func (l lease) told(op *operation) (bool, any) {
	at := op.Until - op.TTL // by the clock of who called
	mine := l.token != 0 && l.token == op.Token && l.owner == op.Owner
	switch {
	case op.Kind == claim && op.Outcome == held:
		return l.owner == op.Holder && l.until == op.Until && op.From < op.Until, l
	case op.Kind == claim:
		next := lease{op.Token, op.Token, op.Owner, op.Until}
		return l.mayClaim(op.Owner, at) && op.Token == l.version+1 && op.From <= at && at <= op.To, next
	case op.Kind == renew && op.Outcome == lost:
		return !mine, l
	case op.Kind == renew:
		return mine && at < l.until && op.From <= at && at <= op.To, lease{l.version + 1, l.token, l.owner, op.Until}
	case mine: // released
		return true, lease{version: l.version + 1}
	}
	return true, l // it had been lost before
}

// sent is a call of which only the last write is known, which has this effect
// or none.
func (l lease) sent(s step) (bool, any) {
	w := s.sent
	if l.version != w.If {
		return !s.sure, l
	}
	next := lease{w.New.Version, s.op.Token, w.New.Owner, w.New.Until}
	at := w.New.Until - s.op.TTL
	switch s.op.Kind {
	case claim:
		next.token = w.New.Version
		return l.mayClaim(s.op.Owner, at), next
	case renew:
		return l.token == s.op.Token && at < l.until, next
	}
	next.token = 0
	return l.token == s.op.Token, next
}

// fenceModel is that of a resource that takes no lower token than before. Its
// state is the highest.
func fenceModel() porcupine.Model {
	return porcupine.Model{
		Partition: byKey,
		Init:      func() any { return int64(0) },
		Step: func(state, input, _ any) (bool, any) {
			highest, s := state.(int64), input.(step)
			switch {
			case s.op.Outcome == refused:
				return s.op.Token < highest, highest
			case s.op.Token >= highest:
				return true, s.op.Token
			}
			return s.open() && !s.sure, highest
		},
		DescribeOperation: describe,
	}
}
