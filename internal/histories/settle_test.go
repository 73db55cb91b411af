package histories

// fate is what a history tells of a write whose outcome was not told.
type fate int

const (
	undecided fate = iota // it may have taken effect
	effect                // it has, as others saw
	noEffect              // it has not, or nobody could have noticed
)

// settle finds out what became of writes without a known outcome. That makes
// the search of the checker short. It is no help to a wrong store: to leave out
// what may always have had no effect, and to demand an effect, can only make a
// history harder to explain.
//
// A version is written by one write, but for two kinds: those that compete for
// the next version of a lease, and a release that is repeated. Where it is told
// by its version alone that a write took effect, there must have been no other.
func settle(ops []*operation) map[*operation]fate {
	type version struct {
		key string
		n   int64
	}
	type content struct {
		key string
		is  cell
	}
	seen := make(map[version]cell)     // was there, as somebody saw
	there := make(map[version]bool)    // something with that version was there
	expected := make(map[version]bool) // somebody took it for there
	replaced := make(map[version]bool) // and was replaced by a write that says so
	written := make(map[version]int)   // how many may have written it
	same := make(map[content]int)      // how many may have written the same
	for _, op := range ops {
		switch {
		case op.Kind == get && op.Outcome == ok, op.Kind == write && op.Outcome == lost:
			seen[version{op.Key, op.Found.Version}] = op.Found
			there[version{op.Key, op.Found.Version}] = true
		case op.Kind == write && op.Outcome == ok:
			there[version{op.Key, op.If}] = true
			replaced[version{op.Key, op.If}] = true
		}
		if op.Kind == write {
			expected[version{op.Key, op.If}] = true
			if op.Outcome != lost && op.Outcome != nothing {
				written[version{op.Key, op.New.Version}]++
				same[content{op.Key, op.New}]++
			}
		}
	}
	fates := make(map[*operation]fate)
	for _, op := range ops {
		if op.Kind != write || op.Outcome != unknown && op.Outcome != "" {
			continue
		}
		now, before := version{op.Key, op.New.Version}, version{op.Key, op.If}
		was, known := seen[now]
		consumed := op.If != 0 && replaced[before] && written[before] <= 1
		switch {
		case op.New.Version == 0 && consumed:
			fates[op] = noEffect
		case op.New.Version == 0:
		case known && was == op.New && same[content{op.Key, op.New}] == 1, there[now] && written[now] == 1:
			fates[op] = effect
		case known && was == op.New:
		case known, consumed, !there[now] && !expected[now]:
			fates[op] = noEffect
		}
	}
	return fates
}

// lastWrites returns, for each operation that consists of several, the write
// that it sent last.
func lastWrites(ops []*operation) map[int64]*operation {
	last := make(map[int64]*operation)
	for _, op := range ops {
		if op.Kind == write && op.For != 0 {
			last[op.For] = op // ops are in the order of their calls
		}
	}
	return last
}

func registerSteps(ops []*operation, fates map[*operation]fate) []step {
	var steps []step
	for _, op := range ops {
		switch {
		case op.Kind == get && op.Outcome == ok, op.Kind == write && (op.Outcome == ok || op.Outcome == lost):
			steps = append(steps, step{op: op, end: op.end})
		case op.Kind == write && op.Outcome != nothing && fates[op] != noEffect:
			steps = append(steps, step{op: op, sure: fates[op] == effect})
		}
	}
	return steps
}

// leaseSteps tells of a call without a known outcome what the write tells that
// it sent last: those before had been answered, and had lost.
func leaseSteps(ops []*operation, fates map[*operation]fate) []step {
	last := lastWrites(ops)
	var steps []step
	for _, op := range ops {
		if op.Kind != claim && op.Kind != renew && op.Kind != release {
			continue
		}
		if op.Outcome == ok || op.Outcome == held {
			steps = append(steps, step{op: op, end: op.end})
			continue
		}
		switch w := last[op.ID]; {
		case w == nil: // nothing was sent, or it was lost by the clock
		case w.Outcome == lost && op.Kind == renew && op.Outcome == lost:
			steps = append(steps, step{op: op, end: op.end})
		case w.Outcome == ok: // told too late for the lease
			steps = append(steps, step{op: op, sent: w, sure: true, end: w.end})
		case w.Outcome == lost, w.Outcome == nothing, fates[w] == noEffect:
		default:
			steps = append(steps, step{op: op, sent: w, sure: fates[w] == effect})
		}
	}
	return steps
}

func fenceSteps(ops []*operation, fates map[*operation]fate) []step {
	last := lastWrites(ops)
	var steps []step
	for _, op := range ops {
		if op.Kind != act {
			continue
		}
		if op.Outcome == ok || op.Outcome == refused {
			steps = append(steps, step{op: op, end: op.end})
			continue
		}
		switch w := last[op.ID]; {
		case w == nil:
		case w.Outcome == ok:
			steps = append(steps, step{op: op, sent: w, sure: true, end: w.end})
		case w.Outcome == lost, w.Outcome == nothing, fates[w] == noEffect:
		default:
			steps = append(steps, step{op: op, sent: w, sure: fates[w] == effect})
		}
	}
	return steps
}
