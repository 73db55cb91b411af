package ietf

import (
	"net/http"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// Name is what a [resource.Profile] calls this dialect.
const Name = "ietf"

// Dialect returns the dialect of the draft. Put it before those of
// [resource.Dialects] into [resource.Parser.Dialects]: some origins send the
// fields of several drafts, and the later ones say more.
func Dialect() resource.Dialect {
	return resource.Dialect{Name: Name, Concurrency: 4, Detect: detect, Read: read}
}

// The fields, as net/http canonicalises their names.
const (
	limitField  = "Ratelimit"
	policyField = "Ratelimit-Policy"
)

// detect knows the dialect by RateLimit, or by RateLimit-Policy. Where the three
// fields of the older drafts come with them, in which RateLimit-Policy meant
// another thing, RateLimit has to be well formed: else those say more.
func detect(_ string, h http.Header) string {
	older := len(h["Ratelimit-Remaining"]) > 0 || len(h["Ratelimit-Limit"]) > 0
	switch {
	case len(h[limitField]) > 0 && (!older || wellFormed(h[limitField])):
		return "RateLimit"
	case len(h[policyField]) > 0 && !older:
		return "RateLimit-Policy"
	}
	return ""
}

func wellFormed(lines []string) bool {
	limits, _, isOld := parseLimits(lines)
	return len(limits) > 0 || isOld
}

// read fills in what an answer teaches.
func read(a *resource.Answer, l *resource.Lesson) {
	limits, old, isOld := parseLimits(a.Header[limitField])
	if isOld {
		l.QuotaFor(a, old.limit, old.remaining, old.wait)
		l.Reject(a)
		return
	}
	t := tally{}
	t.policies(parsePolicies(a.Header[policyField]))
	t.limits(limits)
	l.Concurrency, l.Doubt = t.concurrency, t.doubt
	if a.Status != http.StatusTooManyRequests && a.Status != http.StatusServiceUnavailable {
		t.fill(a, l)
		return
	}
	if until, _, ok := a.RetryAfter(); ok {
		for i := range t.quotas { // it takes precedence over t (rule I-5)
			if q := &t.quotas[i]; q.told && q.remaining == 0 {
				q.wait = until.Sub(a.Received)
			}
		}
	}
	p := parseProblem(a)
	t.mark(p)
	t.fill(a, l)
	t.unlisted(p, l)
	reject(a, l, p, len(t.quotas) > 0 && t.quotas[0].rejected)
}

// fill writes the quotas into the lesson: the first of them as its own, since the
// order of the policies stays the same while what remains does not.
func (t *tally) fill(a *resource.Answer, l *resource.Lesson) {
	for i := range t.quotas {
		q := &t.quotas[i]
		var told resource.Lesson
		if q.told {
			told.QuotaFor(a, max(q.limit, q.remaining), q.remaining, q.wait)
		}
		if i == 0 {
			l.Named, l.Bucket, l.Spacing = true, q.bucket, q.spacing
			l.HasQuota, l.Limit, l.Remaining, l.Reset, l.Window = told.HasQuota, told.Limit, told.Remaining, told.Reset, told.Window
		} else if told.HasQuota || q.rejected {
			l.Also = append(l.Also, resource.Quota{
				Bucket: q.bucket, Limit: told.Limit, Remaining: told.Remaining, Reset: told.Reset, Window: told.Window,
				Spacing: q.spacing, Rejected: q.rejected,
			})
		}
	}
}

// reject says what a 429 or a 503 rejects: the quotas that it names, or those
// that have nothing left (rule I-10), and else the whole scope. own says that the
// lesson's own quota is one of them.
func reject(a *resource.Answer, l *resource.Lesson, p problem, own bool) {
	some := own
	for i := range l.Also {
		some = some || l.Also[i].Rejected
	}
	switch {
	case p.kind == abnormalUsage:
		l.Refuse(a, resource.SecondaryLimit, true, "problem type abnormal-usage-detected")
	case p.kind == reducedCapacity:
		l.Refuse(a, resource.OverloadLimit, true, "problem type temporary-reduced-capacity")
	case a.Status == http.StatusServiceUnavailable:
		l.Reject(a)
	case !some:
		l.Refuse(a, resource.OverloadLimit, true, "status 429")
	default:
		evidence := "status 429, nothing remains of a policy"
		if len(p.violated) > 0 {
			evidence = "status 429, violated-policies"
		}
		l.Refuse(a, resource.PrimaryLimit, false, evidence)
		l.Spared = !own
		untilReset(l)
	}
}

// untilReset gives each quota that refused the request an instant: Retry-After,
// else its own reset. That of the lesson is the one of its quota, or the latest of
// the others where that was spared.
func untilReset(l *resource.Lesson) {
	retry, latest := l.Until, time.Time{}
	for i := range l.Also {
		q := &l.Also[i]
		if !q.Rejected {
			continue
		}
		if q.Until = retry; retry.IsZero() && !q.Reset.IsZero() {
			q.Until = q.Reset.Add(resource.AfterReset)
		}
		if q.Until.After(latest) {
			latest = q.Until
		}
	}
	switch {
	case !l.Fallback:
	case !l.Spared && l.HasQuota:
		l.Until, l.Fallback = l.Reset.Add(resource.AfterReset), false
	case l.Spared && !latest.IsZero():
		l.Until, l.Fallback = latest, false
	}
}
