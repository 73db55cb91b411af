package ietf

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// What is said of a quota that leaves more than one reading open.
const (
	doubtWindow = "RateLimit without t: the whole window of its policy is taken"
	doubtMinute = "RateLimit with nothing left and no t that makes sense: a minute is waited"
	doubtHuge   = "RateLimit with a t beyond a year: not believed"
	doubtUnit   = "RateLimit-Policy in a unit that is not known: not counted"
)

// A quota is a policy together with what remains of it.
type quota struct {
	name, key string
	bucket    string
	limit     int64
	per       time.Duration
	spacing   time.Duration
	told      bool // remaining and wait were
	remaining int64
	wait      time.Duration
	rejected  bool
}

// tally joins the two fields.
type tally struct {
	quotas      []quota
	ignored     []string // names of policies that count something else than requests
	concurrency int
	doubt       string
}

// policies takes the policies in their order. What counts requests becomes a
// quota; a cap on requests in flight is one, and no rate; bytes are no requests
// (rule I-7).
func (t *tally) policies(all []policy) {
	for _, p := range all {
		switch p.unit {
		case unitRequests:
			if t.find(p.name, p.key) < 0 {
				t.add(quota{name: p.name, key: p.key, limit: p.quota, per: p.per})
			}
			continue
		case unitConcurrent:
			most := int(min(max(p.quota, 1), 1<<20))
			if t.concurrency == 0 || most < t.concurrency {
				t.concurrency = most
			}
		case unitBytes:
		default:
			t.doubt = doubtUnit
		}
		t.ignored = append(t.ignored, p.name)
	}
}

// limits takes what remains. Of two items of the same name and key the worse
// counts.
func (t *tally) limits(all []limit) {
	for _, l := range all {
		i := t.find(l.name, l.key)
		if i < 0 && slices.Contains(t.ignored, l.name) {
			continue
		}
		if i < 0 {
			q := quota{name: l.name, key: l.key}
			if same := t.find(l.name, ""); same >= 0 {
				q.limit, q.per = t.quotas[same].limit, t.quotas[same].per
			}
			if i = t.add(q); i < 0 {
				continue
			}
		}
		q := &t.quotas[i]
		if l.key != "" { // then the quota has that one, or none
			q.key = l.key
			q.bucket = bucketName(q.name, q.key)
		}
		left, ok := t.until(q, &l)
		switch {
		case !ok:
		case q.told:
			q.remaining, q.wait = min(q.remaining, l.remaining), max(q.wait, left)
		default:
			q.told, q.remaining, q.wait = true, l.remaining, left
		}
	}
}

// until is how long what remains has to last. Without a t that makes sense it is
// the window of the policy, which can only be longer, and a minute where nothing
// is left; else nothing is known of the window, and ok is false.
func (t *tally) until(q *quota, l *limit) (left time.Duration, ok bool) {
	if l.hasReset {
		if left = wait(l.reset); left <= resource.MaxInterval {
			return left, true
		}
		t.doubt = doubtHuge
	}
	switch {
	case q.per > 0:
		t.doubt = doubtWindow
		return q.per, true
	case l.remaining == 0:
		t.doubt = doubtMinute
		return resource.LimitFallback, true
	}
	return 0, false
}

// find returns the quota of that name and key. A policy that names no key stands
// for the first one that comes.
func (t *tally) find(name, key string) int {
	for i := range t.quotas {
		if q := &t.quotas[i]; q.name == name && (q.key == key || q.key == "" || key == "") {
			return i
		}
	}
	return -1
}

// add appends a quota, up to as many as a lesson can hold; -1 beyond.
func (t *tally) add(q quota) int {
	if len(t.quotas) > resource.MaxAlso {
		return -1
	}
	q.bucket = bucketName(q.name, q.key)
	q.spacing = resource.Limit{Requests: int(min(q.limit, 1<<30)), Per: q.per}.Spacing()
	t.quotas = append(t.quotas, q)
	return len(t.quotas) - 1
}

// mark finds the quotas that refused a request: those that the problem names,
// else those that have nothing left.
func (t *tally) mark(p problem) {
	for i := range t.quotas {
		q := &t.quotas[i]
		q.rejected = p.names(q.name) || len(p.violated) == 0 && q.told && q.remaining == 0
	}
}

// unlisted adds to a lesson the policies that a problem names and the fields do
// not, such as one that counts bytes. They are never the lesson's own quota: that
// would move a resource from its bucket into theirs.
func (t *tally) unlisted(p problem, l *resource.Lesson) {
	for i, name := range p.violated {
		if t.find(name, "") < 0 && len(l.Also) < resource.MaxAlso && !slices.Contains(p.violated[:i], name) {
			l.Also = append(l.Also, resource.Quota{Bucket: bucketName(name, ""), Rejected: true})
		}
	}
}

// bucketName is what a policy is called as a bucket: its name, and a fingerprint
// of its partition key, which may say who somebody is. A name that is empty or
// too long to be one is replaced by a fingerprint of its own.
func bucketName(name, key string) string {
	if name == "" || len(name) > resource.MaxBucket-20 {
		name = "policy-" + fingerprint(name)
	}
	if key != "" {
		name += "#" + fingerprint(key)
	}
	return name
}

func fingerprint(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}
