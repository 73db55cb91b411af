package resource

import (
	"fmt"
	"net/url"
	"strings"
)

// moved sends the next request into the scope where the redirect leads, once.
func (x *applying) moved() Result {
	r, a := x.r, x.a
	target, usable := location(a.Target)
	if !usable {
		r.Cause = fmt.Sprintf("status %d without a usable Location", a.Status)
		return x.fail(ReasonMoved, x.slow())
	}
	if r.Hop != "" && !sameOrigin(r.Hop, target) {
		r.Cause = "redirected again from another scope"
		return x.fail(ReasonMoved, x.slow())
	}
	if r.Hops >= MaxHops {
		r.Cause = "redirected too often"
		return x.fail(ReasonMoved, x.slow())
	}
	r.Hop, r.Hops = target, r.Hops+1
	r.State, r.Why, r.NotBefore = WaitingForInterval, ReasonMoved, a.at()
	if !x.retry.IsZero() { // with a redirect it is the wait before the hop
		x.wait(x.retry, WaitingForInterval, ReasonRetryAfter)
	}
	if permanent, _ := location(a.Permanent); r.Hops == 1 && permanent != r.Moved {
		r.Moved, r.Seen = permanent, 0
	}
	return Result{Outcome: Moved}
}

// confirmMove counts a permanent redirect whose target has just answered, and
// stores the target when it was confirmed often enough (rule H-12).
func (x *applying) confirmMove() (relocated bool) {
	r := x.r
	target, _ := location(x.a.Permanent)
	if r.Hop != "" {
		// The chain began with another request. How it began is in Moved, and only
		// its beginning can be stored.
		target = r.Moved
	}
	if target == "" || !trusted(r.URI, target) {
		r.Moved, r.Seen = "", 0
		return false
	}
	if target != r.Moved {
		r.Moved, r.Seen = target, 0
	}
	if r.Seen = satAdd8(r.Seen); r.Seen < MoveConfirmations {
		return false
	}
	r.URI, r.Moved, r.Seen = target, "", 0
	return true
}

func sameOrigin(a, b string) bool {
	x, err := originOf(a)
	y, _ := originOf(b) // empty where it has none
	return err == nil && x == y
}

// location is where a redirect leads, without the fragment, which is never sent.
// It is empty and not ok for what a [Spec] may not hold.
func location(uri string) (target string, ok bool) {
	if uri == "" {
		return "", false
	}
	target, _, _ = strings.Cut(uri, "#")
	if _, err := originOf(target); err != nil {
		return "", false
	}
	return target, true
}

// trusted reports whether a redirect may be remembered: it came over https, or
// it only lifts the same URI to https. Anybody on the way can forge the others.
func trusted(from, to string) bool {
	if !strings.HasPrefix(to, "https://") {
		return false
	}
	if strings.HasPrefix(from, "https://") {
		return true
	}
	f, err1 := url.Parse(from)
	t, err2 := url.Parse(to)
	if err1 != nil || err2 != nil || f.Port() != "" && f.Port() != "80" || t.Port() != "" && t.Port() != "443" {
		return false
	}
	path := func(u *url.URL) string { return "/" + strings.TrimPrefix(u.EscapedPath(), "/") }
	return strings.EqualFold(f.Hostname(), t.Hostname()) && path(f) == path(t) && f.RawQuery == t.RawQuery
}

// rescope keeps the origin true to the target of the next request. A bucket's
// name means nothing in another scope.
func (x *applying) rescope() bool {
	r := x.r
	origin, err := originOf(r.Target())
	if err != nil || origin == r.Origin {
		return false
	}
	r.Origin, r.Bucket = origin, ""
	return true
}
