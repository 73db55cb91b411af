package histories

import "fmt"

// figures say how much was checked.
type figures struct {
	Histories  int `json:"histories"`
	Operations int `json:"operations"` // on records
	Writes     int `json:"writes"`     // whose outcome was told
	Unknown    int `json:"unknown"`    // writes whose outcome was not
	CutOff     int `json:"cutOff"`     // of those: under way when their process was killed
	LeaseCalls int `json:"leaseCalls"`
	Claims     int `json:"claims"`    // that won
	TakenOver  int `json:"takenOver"` // of those: from another, whose lease had expired
	Renewals   int `json:"renewals"`
	Acts       int `json:"acts"` // under a token
	Refused    int `json:"refused"`
	Held       int `json:"held"`   // times that work ran under db.Hold
	Faults     int `json:"faults"` // calls that were struck, connections cut, kills
}

func count(h *history) figures {
	f := figures{Histories: 1, Faults: h.faults}
	type version struct {
		key string
		n   int64
	}
	wrote := make(map[version]string) // owners
	for _, op := range h.ops {
		switch op.Kind {
		case get, write:
			f.Operations++
			f.countWrite(op)
			if op.Kind == write && op.Outcome == ok {
				wrote[version{op.Key, op.New.Version}] = op.New.Owner
				before := wrote[version{op.Key, op.If}]
				if op.New.Owner != "" && before != "" && before != op.New.Owner {
					f.TakenOver++
				}
			}
		case act:
			f.Acts++
			if op.Outcome == refused {
				f.Refused++
			}
		case work:
			f.Held++
		default:
			f.LeaseCalls++
			if op.Outcome == ok && op.Kind == claim {
				f.Claims++
			}
			if op.Outcome == ok && op.Kind == renew {
				f.Renewals++
			}
		}
	}
	return f
}

func (f *figures) countWrite(op *operation) {
	switch {
	case op.Kind != write:
	case op.Outcome == ok, op.Outcome == lost:
		f.Writes++
	case op.Outcome != nothing:
		f.Unknown++
		if op.Outcome == "" {
			f.CutOff++
		}
	}
}

// each calls do with the fields of f and of g.
func (f figures) each(g figures, do func(name string, a, b int)) {
	do("operations", f.Operations, g.Operations)
	do("writes", f.Writes, g.Writes)
	do("unknown outcomes", f.Unknown, g.Unknown)
	do("claims", f.Claims, g.Claims)
	do("take-overs", f.TakenOver, g.TakenOver)
	do("renewals", f.Renewals, g.Renewals)
	do("acts", f.Acts, g.Acts)
	do("faults", f.Faults, g.Faults)
}

func (f figures) plus(g figures) figures {
	return figures{
		f.Histories + g.Histories, f.Operations + g.Operations, f.Writes + g.Writes, f.Unknown + g.Unknown, f.CutOff + g.CutOff,
		f.LeaseCalls + g.LeaseCalls, f.Claims + g.Claims, f.TakenOver + g.TakenOver, f.Renewals + g.Renewals,
		f.Acts + g.Acts, f.Refused + g.Refused, f.Held + g.Held, f.Faults + g.Faults,
	}
}

// require returns an error if n histories had less than least each, on the
// average.
func (f figures) require(least figures, n int) error {
	var err error
	f.each(least, func(name string, got, want int) {
		if got < n*want {
			err = fmt.Errorf("%d %s in %d histories, at least %d of each are wanted", got, name, n, want)
		}
	})
	return err
}
