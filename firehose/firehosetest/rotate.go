package firehosetest

import "time"

// revocation is a token that was replaced.
type revocation struct {
	from instant // it is refused
	told instant // an answer had said so; zero: none yet
}

// Rotate replaces a token: from an instant on, requests with the old value of
// Authorization are answered 401 and cost nothing. The new one is that of the
// same user, from now on: it draws on the same buckets, is parked by the same
// limits, and sees the same resources, with other validators (E-8). Once a 401
// has said so, requests with the old one are counted as StaleToken.
func (o *Origin) Rotate(old, renewed string, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before, after := o.credential(old), o.credential(renewed)
	o.aliases[after] = o.user(before)
	o.revoked[before] = &revocation{from: o.at(at)}
	delete(o.revoked, after)
}

// user is the credential whose scope a token draws on.
func (o *Origin) user(token credential) credential {
	if c, ok := o.aliases[token]; ok {
		return c
	}
	return token
}

// judgeToken counts StaleToken (S-401).
func (x *exchange) judgeToken() {
	r := x.origin.revoked[x.token]
	if r != nil && r.told != 0 && x.origin.knew(x.flight, r.told) {
		x.origin.counts.StaleToken++
	}
}

// renounced reports whether the token was replaced.
func (x *exchange) renounced(now instant) bool {
	r := x.origin.revoked[x.token]
	return r != nil && r.from <= now
}

// learnToken notes that a client was told.
func (x *exchange) learnToken(now instant) {
	if r := x.origin.revoked[x.token]; r != nil && r.told == 0 && x.stale {
		r.told = now
	}
}
