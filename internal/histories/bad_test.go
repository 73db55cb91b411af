package histories

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// at gives an operation its instants, which are those of the clock too. An end
// of 0 is none.
func at(call, end int64, op operation) *operation {
	op.call, op.end, op.From, op.To = call, end, call, end
	return &op
}

func wrote(outcome string, from, to int64) operation {
	w := operation{Kind: write, Key: "h/r", Outcome: outcome, If: from}
	if to != 0 {
		w.New = version(to)
	}
	return w
}

func version(n int64) cell {
	if n == 0 {
		return cell{}
	}
	return cell{Version: n, Value: "x"}
}

func lostTo(from, to, found int64) operation {
	w := wrote(lost, from, to)
	w.Found = version(found)
	return w
}

func found(n int64) operation {
	return operation{Kind: get, Key: "h/r", Outcome: ok, Found: version(n)}
}

// on is a call on a lease with a TTL of 100 and a Skew of 10.
func on(kind, outcome, owner string, token, until int64) operation {
	return operation{Kind: kind, Key: "h/l", Outcome: outcome, Owner: owner, Token: token, Until: until, TTL: 100, Skew: 10}
}

func heldBy(holder string, until int64) operation {
	op := on(claim, held, "b", 0, until)
	op.Holder = holder
	return op
}

func acted(outcome string, token int64) operation {
	return operation{Kind: act, Key: "h/f", Outcome: outcome, Owner: "a", Token: token}
}

// part is a write of the operation with an ID.
func part(id int64, outcome string, from int64, to cell) operation {
	return operation{Kind: write, Key: "h/l", For: id, Outcome: outcome, If: from, New: to}
}

func readLease(is cell) operation {
	return operation{Kind: get, Key: "h/l", Outcome: ok, Found: is}
}

func with(id int64, op operation) operation {
	op.ID = id
	return op
}

// TestGoodHistories: what may be is accepted.
func TestGoodHistories(t *testing.T) {
	for name, ops := range map[string][]*operation{
		"one after the other":         {at(1, 2, wrote(ok, 0, 1)), at(3, 4, found(1)), at(5, 6, wrote(ok, 1, 2)), at(7, 8, found(2)), at(9, 10, lostTo(1, 3, 2))},
		"unknown and seen":            {at(1, 2, wrote(ok, 0, 1)), at(3, 4, wrote(unknown, 1, 2)), at(5, 6, found(1)), at(7, 8, found(2))},
		"unknown and never seen":      {at(1, 2, wrote(ok, 0, 1)), at(3, 4, wrote(unknown, 1, 2)), at(5, 6, wrote(ok, 1, 3)), at(7, 8, found(3))},
		"carried out after a delete":  {at(1, 2, wrote(unknown, 0, 1)), at(3, 4, wrote(ok, 0, 2)), at(5, 6, wrote(ok, 2, 0)), at(7, 8, found(0)), at(9, 10, found(1))},
		"an unknown delete":           {at(1, 2, wrote(ok, 0, 1)), at(3, 0, wrote("", 1, 0)), at(5, 6, found(1)), at(7, 8, found(0))},
		"at the same time":            {at(1, 2, wrote(ok, 0, 1)), at(3, 9, wrote(ok, 1, 2)), at(4, 5, found(2)), at(6, 8, lostTo(1, 3, 2))},
		"taken over once expired":     {at(1, 3, on(claim, ok, "a", 1, 102)), at(50, 60, heldBy("a", 102)), at(102, 110, on(claim, ok, "b", 2, 205))},
		"renewed and released":        {at(1, 3, on(claim, ok, "a", 1, 102)), at(50, 52, on(renew, ok, "a", 1, 151)), at(60, 61, on(release, ok, "a", 1, 0)), at(62, 64, on(claim, ok, "b", 4, 163))},
		"claimed again by the same":   {at(1, 3, on(claim, ok, "a", 1, 102)), at(50, 52, on(claim, ok, "a", 2, 151))},
		"a claim nobody has heard of": {at(1, 3, with(1, on(claim, unknown, "a", 0, 0))), at(2, 3, part(1, unknown, 0, cell{1, "a", 102, ""})), at(50, 60, heldBy("a", 102)), at(51, 52, readLease(cell{1, "a", 102, ""}))},
		"a renewal told too late": {
			at(1, 3, with(1, on(claim, ok, "a", 1, 102))), at(2, 3, part(1, ok, 0, cell{1, "a", 102, ""})),
			at(50, 99, with(2, on(renew, lost, "a", 1, 0))), at(51, 98, part(2, ok, 1, cell{2, "a", 151, ""})), at(99, 101, heldBy("a", 151)),
		},
		"refused under an old token":    {at(1, 2, acted(ok, 2)), at(3, 4, acted(refused, 1)), at(5, 6, acted(ok, 2))},
		"an act that may have happened": {at(1, 2, with(1, acted(unknown, 2))), at(1, 2, part(1, unknown, 0, cell{1, "", 0, "y"})), at(3, 4, acted(ok, 1)), at(5, 6, acted(ok, 1))},
	} {
		require.NoError(t, judge(ops), name)
	}
}

// TestBadHistories: what must not be is refused, and for that reason.
func TestBadHistories(t *testing.T) {
	for name, c := range map[string]struct {
		want error
		ops  []*operation
	}{
		"a lost write":              {errNotLinearizable, []*operation{at(1, 2, wrote(ok, 0, 1)), at(3, 4, found(0))}},
		"a lost replacement":        {errNotLinearizable, []*operation{at(1, 2, wrote(ok, 0, 1)), at(3, 4, wrote(ok, 1, 2)), at(5, 6, found(1))}},
		"a stale read":              {errNotLinearizable, []*operation{at(1, 2, wrote(ok, 0, 1)), at(3, 9, wrote(ok, 1, 2)), at(4, 5, found(2)), at(6, 7, found(1))}},
		"read before it was sent":   {errNotLinearizable, []*operation{at(1, 2, found(1)), at(3, 4, wrote(ok, 0, 1))}},
		"read and never sent":       {errNotLinearizable, []*operation{at(1, 2, wrote(ok, 0, 1)), at(3, 4, found(2))}},
		"two winners":               {errNotLinearizable, []*operation{at(1, 2, wrote(ok, 0, 1)), at(3, 9, wrote(ok, 1, 2)), at(3, 9, wrote(ok, 1, 3))}},
		"lost to what it expected":  {errNotLinearizable, []*operation{at(1, 2, wrote(ok, 0, 1)), at(3, 4, lostTo(1, 2, 1))}},
		"lost and yet there":        {errNotLinearizable, []*operation{at(1, 2, wrote(ok, 0, 1)), at(3, 4, lostTo(0, 2, 1)), at(5, 6, found(2))}},
		"nothing done and there":    {errNotLinearizable, []*operation{at(1, 2, wrote(nothing, 0, 1)), at(3, 4, found(1))}},
		"seen and gone":             {errNotLinearizable, []*operation{at(1, 2, wrote(ok, 0, 1)), at(3, 4, wrote(unknown, 1, 2)), at(5, 6, found(2)), at(7, 8, found(1))}},
		"carried out twice":         {errNotLinearizable, []*operation{at(1, 2, wrote(unknown, 0, 1)), at(3, 4, found(1)), at(5, 6, wrote(ok, 1, 0)), at(7, 8, found(0)), at(9, 10, found(1))}},
		"killed with a write told":  {errNotLinearizable, []*operation{at(1, 2, wrote(ok, 0, 1)), at(3, 0, wrote("", 1, 2)), at(5, 6, found(0))}},
		"two owners by the model":   {errNotLinearizable, []*operation{at(1, 3, on(claim, ok, "a", 1, 102)), at(50, 60, on(claim, ok, "b", 2, 155))}},
		"two owners at once":        {errTwoHolders, []*operation{at(1, 3, on(claim, ok, "a", 1, 102)), at(50, 60, on(claim, ok, "b", 2, 155))}},
		"two owners after renewing": {errTwoHolders, []*operation{at(1, 3, on(claim, ok, "a", 1, 102)), at(50, 52, on(renew, ok, "a", 1, 151)), at(102, 104, on(claim, ok, "b", 3, 203))}},
		"two owners in Hold":        {errTwoHolders, []*operation{at(1, 90, on(work, ok, "a", 1, 102)), at(80, 95, on(work, ok, "b", 2, 170))}},
		"a hold cut short by death": {errTwoHolders, []*operation{at(1, 0, on(work, "", "a", 1, 102)), at(80, 95, on(work, ok, "b", 2, 170))}},
		"a token that goes back":    {errToken, []*operation{at(1, 3, on(claim, ok, "a", 2, 102)), at(110, 113, on(claim, ok, "b", 1, 212))}},
		"a token given twice":       {errToken, []*operation{at(1, 3, on(claim, ok, "a", 1, 102)), at(2, 5, on(claim, ok, "a", 1, 103))}},
		"held by who released":      {errNotLinearizable, []*operation{at(1, 3, on(claim, ok, "a", 1, 102)), at(5, 6, on(release, ok, "a", 1, 0)), at(7, 8, heldBy("a", 102))}},
		"held and expired":          {errNotLinearizable, []*operation{at(1, 3, on(claim, ok, "a", 1, 102)), at(103, 105, heldBy("a", 102))}},
		"renewed after a take-over": {errNotLinearizable, []*operation{at(1, 3, on(claim, ok, "a", 1, 102)), at(103, 105, on(claim, ok, "b", 2, 204)), at(106, 108, on(renew, ok, "a", 1, 207))}},
		"a take-over by the dead":   {errNotLinearizable, []*operation{at(1, 3, on(claim, ok, "a", 1, 102)), at(50, 0, with(2, on(claim, "", "b", 0, 0))), at(51, 0, part(2, "", 1, cell{2, "b", 151, ""})), at(60, 61, heldBy("b", 151)), at(60, 61, readLease(cell{2, "b", 151, ""}))}},
		"a claim before its call":   {errNotLinearizable, []*operation{at(50, 60, on(claim, ok, "a", 1, 102))}},
		"an old token let in":       {errNotLinearizable, []*operation{at(1, 2, acted(ok, 2)), at(3, 4, acted(ok, 1))}},
		"refused without a higher":  {errNotLinearizable, []*operation{at(1, 2, acted(ok, 1)), at(3, 4, acted(refused, 1))}},
		"a holder refused": {errRefused, []*operation{at(1, 2, acted(ok, 2)), at(3, 4, operation{
			Kind: act, Key: "h/f", Outcome: refused, Token: 1, Believed: true,
		})}},
	} {
		require.ErrorIs(t, judge(c.ops), c.want, name)
	}
}

// TestUndecided: a checker that can't find an end says so.
func TestUndecided(t *testing.T) {
	ops := slices.Repeat([]*operation{at(1, 2, found(0))}, 60)
	ops = append(ops, at(1, 2, found(1)))
	require.ErrorIs(t, judgeWithin(ops, 10*time.Millisecond), errUndecided)
}
