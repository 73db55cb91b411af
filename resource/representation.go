package resource

import (
	"net/http"
	"strings"
)

// modified takes over what a 200 says.
func (x *applying) modified() Result {
	r, a := x.r, x.a
	v := Validators{ETag: verbatim(a.Header, "Etag"), LastModified: verbatim(a.Header, "Last-Modified")}
	same := v.ETag != "" && v.ETag == r.Validators.ETag || a.Digest != 0 && a.Digest == r.Digest
	r.Validators = v
	x.fresh()
	relocated := x.confirmMove()
	x.succeed()
	if same {
		r.Quiet = satAdd(r.Quiet)
		return Result{Outcome: NotModified, Relocated: relocated}
	}
	r.Lull = max(r.Lull, r.Quiet)
	r.Digest, r.Changed, r.Quiet = a.Digest, a.Received, 0
	r.Modified = satAdd(r.Modified)
	return Result{Outcome: Modified, Publish: true, Relocated: relocated}
}

// notModified merges what a 304 says (RFC 9111, sections 3.2 and 4.3.4).
func (x *applying) notModified() Result {
	r, a := x.r, x.a
	if !a.Conditional {
		r.Validators = Validators{}
		return x.fail(ReasonProtocol, x.quick())
	}
	etag, ours := verbatim(a.Header, "Etag"), r.Validators.ETag
	matches := etag == "" || ours == "" || weakEqual(etag, ours)
	if !matches && !strings.HasPrefix(etag, "W/") {
		r.Validators = Validators{} // rule H-8: it selects another representation than ours
		return x.fail(ReasonProtocol, x.quick())
	}
	x.merge(etag, verbatim(a.Header, "Last-Modified"), matches)
	x.fresh()
	relocated := x.confirmMove()
	x.succeed()
	r.Quiet = satAdd(r.Quiet)
	return Result{Outcome: NotModified, Relocated: relocated}
}

// merge stores the validators of a 304, unless they belong to a representation
// that we never had: to ask with those would turn its changes into a 304 that
// nobody notices. That is a tag that does not match ours, and another
// Last-Modified where that is all there was to match.
func (x *applying) merge(etag, modified string, matches bool) {
	v := &x.r.Validators
	if v.ETag == "" && v.LastModified != "" && modified != "" && modified != v.LastModified {
		matches = false
	}
	if !matches {
		return
	}
	if modified != "" {
		v.LastModified = modified
	}
	if etag != "" {
		v.ETag = etag
	}
}

// fresh applies what Cache-Control, Expires and Vary say. Freshness is a floor
// as long as the cap allows (rule C-5). What may not be stored, or would match no
// later request, leaves no validators (rules C-4, H-15).
func (x *applying) fresh() {
	until, c, ok := freshUntil(x.a)
	if ok {
		limit := x.p.FreshnessCap
		if limit <= 0 {
			limit = DefaultFreshnessCap
		}
		if last := x.a.Received.Add(limit); until.After(last) {
			until = last
		}
		x.wait(until, WaitingForInterval, ReasonFresh)
	}
	if c.noStore || variesOnAll(x.a.Header) {
		x.r.Validators = Validators{}
	}
}

// variesOnAll reports whether Vary says that no other request is like this one.
func variesOnAll(h http.Header) bool {
	for _, line := range h["Vary"] {
		if !strings.Contains(line, "*") {
			continue
		}
		for name := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(name) == "*" {
				return true
			}
		}
	}
	return false
}

// weakEqual is the weak comparison of RFC 9110, section 8.8.3.2.
func weakEqual(a, b string) bool {
	return strings.TrimPrefix(a, "W/") == strings.TrimPrefix(b, "W/")
}

// verbatim is a validator as it was sent. One beyond the bound, or one that no
// request could carry, is not kept.
func verbatim(h http.Header, name string) string {
	lines := h[name]
	if len(lines) == 0 || len(lines[0]) > MaxValidator || !fieldValue(lines[0]) {
		return ""
	}
	return lines[0]
}
