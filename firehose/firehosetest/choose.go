package firehosetest

import (
	"net/http"
	"strconv"
)

// choose decides how to answer. Limits in force come before scripts, scripts
// before faults, faults before new secondary limits.
func (o *Origin) choose(x *exchange, now instant) {
	b := x.res.bucket
	out := x.down(now)
	switch {
	case out != nil:
		x.suffer(out)
		return
	case x.renounced(now):
		x.step, x.stale = unauthorized(), true
		return
	case x.agentless:
		x.step = Step{Kind: Status, Status: http.StatusForbidden}
		return
	case b.scope.secondary.until > now:
		x.rejection = bySecondary
		return
	case b.exhausted():
		x.rejection = byPrimary
		return
	default:
		x.step = o.next(x)
	}
	if x.step.Kind != Reset { // it never got an answer that could say so
		b.charge(x.flight)
	}
}

// next takes a step from the script, or draws a fault.
func (o *Origin) next(x *exchange) Step {
	at := x.path
	if x.key.page > 1 {
		at += "?page=" + strconv.Itoa(x.key.page)
	}
	if script := o.scripts[at]; len(script) > 0 {
		step := script[0]
		if script[0].Times--; script[0].Times <= 0 {
			o.scripts[at] = script[1:]
		}
		if len(o.scripts[at]) == 0 {
			delete(o.scripts, at)
		}
		return step
	}
	h := mix(x.res.tags.variant.hash() ^ x.res.requests*0x9e3779b97f4a7c15)
	draw := fraction(h)
	for _, f := range o.cfg.Faults {
		if draw -= f.Probability; draw < 0 {
			return f.Step
		}
	}
	crowded := o.cfg.SecondaryConcurrency > 0 && x.res.scope.inFlight > o.cfg.SecondaryConcurrency
	if crowded || x.host.Secondary > 0 && fraction(mix(h)) < x.host.Secondary {
		return Step{Kind: Secondary, Form: o.cfg.SecondaryForm}
	}
	return Step{}
}
