package dbtest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

// TestModels gives the checkers histories that they must refuse, and their
// healthy twins.
func TestModels(t *testing.T) {
	a, b := db.Owner{1}, db.Owner{2}
	write := func(version int64) recordInput {
		return recordInput{id: "r", write: db.Write{If: version, Record: db.Record{Space: "s", ID: "r", Version: version + 1}}}
	}
	get, won := recordInput{id: "r", get: true}, recordOutput{ok: true}
	claimOf := func(owner db.Owner, from int64) leaseInput { return leaseInput{kind: claim, owner: owner, from: from} }
	got := func(token, now int64) leaseOutput {
		return leaseOutput{ok: true, token: token, now: now, until: now + 100}
	}
	type step struct{ in, out any }
	for name, c := range map[string]struct {
		lease bool
		want  bool
		steps []step
	}{
		"write and read":            {false, true, []step{{write(0), won}, {get, recordOutput{current: cell{1, ""}}}}},
		"an old read":               {false, false, []step{{write(0), won}, {get, recordOutput{}}}},
		"two winners":               {false, false, []step{{write(0), won}, {write(0), won}}},
		"lost to what it expected":  {false, false, []step{{write(0), won}, {write(1), recordOutput{current: cell{1, ""}}}}},
		"claim after the end":       {true, true, []step{{claimOf(a, 0), got(1, 0)}, {claimOf(b, 100), got(2, 100)}}},
		"claim before the end":      {true, false, []step{{claimOf(a, 0), got(1, 0)}, {claimOf(b, 99), got(2, 99)}}},
		"a token twice":             {true, false, []step{{claimOf(a, 0), got(1, 0)}, {claimOf(b, 100), got(1, 100)}}},
		"held after the end":        {true, false, []step{{claimOf(a, 0), got(1, 0)}, {claimOf(b, 100), leaseOutput{holder: a, until: 100}}}},
		"renewed, then claimed":     {true, false, []step{{claimOf(a, 0), got(1, 0)}, {leaseInput{kind: renew, owner: a, token: 1}, leaseOutput{ok: true, wrote: true, until: 150}}, {claimOf(b, 120), got(3, 120)}}},
		"renewed what was taken":    {true, false, []step{{claimOf(a, 0), got(1, 0)}, {claimOf(b, 100), got(2, 100)}, {leaseInput{kind: renew, owner: a, token: 1}, leaseOutput{ok: true, wrote: true, until: 250}}}},
		"lost without a reason":     {true, false, []step{{claimOf(a, 0), got(1, 0)}, {leaseInput{kind: renew, owner: a, token: 1, ends: 90_000}, leaseOutput{to: 50_000}}}},
		"released, then claimed":    {true, true, []step{{claimOf(a, 0), got(1, 0)}, {leaseInput{kind: release, owner: a, token: 1}, leaseOutput{ok: true, wrote: true}}, {claimOf(b, 10), got(3, 10)}}},
		"held though nobody has it": {true, false, []step{{claimOf(b, 10), leaseOutput{holder: a, until: 100}}}},
	} {
		var h history
		for _, s := range c.steps {
			require.NoError(t, h.call(0, func() (any, any, error) { return s.in, s.out, nil }))
		}
		model := recordModel()
		if c.lease {
			model = leaseModel()
		}
		r := &recorder{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			h.require(r, model)
		}()
		<-done
		require.Equal(t, c.want, !r.failed, "%s: %s", name, fmt.Sprint(c.steps))
	}
}
