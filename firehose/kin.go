package firehose

import (
	"net/url"
	"strings"

	"github.com/cannedos/cannedos/resource"
)

// A resource that no answer has named a bucket for yet is taken to draw from the
// one that others of its scope draw from. Where a scope has several, those of its
// kin know better: what the answers to paths that begin alike have named, such as
// search for all below /search. Otherwise each of them would be sent once to find
// out that a bucket is exhausted which is known to be (rules G-16, D-14).

// maxKin bounds the beginnings of paths that one scope remembers.
const maxKin = 256

// kinNames are the beginnings of a path by which its kin are known, the longer
// first: two segments, and one.
func kinNames(path string) (names [2]string) {
	end := strings.IndexByte(strings.TrimPrefix(path, "/"), '/')
	if end < 0 {
		names[0] = path
		return names
	}
	end++ // the slash in front
	names[1] = path[:end]
	if next := strings.IndexByte(path[end+1:], '/'); next >= 0 {
		path = path[:end+1+next]
	}
	names[0] = path
	return names
}

// kin is which bucket the answers to paths that begin so have named; empty: several.
type kin map[string]string

// learn remembers the bucket that the answer to a path has named. What is presumed
// anyway is not worth remembering, but for the contradiction.
func (k *kin) learn(path, bucket, presumed string) {
	for _, name := range kinNames(path) {
		was, known := (*k)[name]
		switch {
		case name == "", known && was == bucket:
		case known:
			(*k)[name] = "" // its kin do not agree
		case bucket != presumed && len(*k) < maxKin:
			if *k == nil {
				*k = kin{}
			}
			(*k)[name] = bucket
		}
	}
}

// guess names the bucket of what was never answered, or nothing.
func (k kin) guess(target string) string {
	if len(k) == 0 {
		return ""
	}
	u, err := url.Parse(target)
	if err != nil {
		return ""
	}
	for _, name := range kinNames(u.Path) {
		if bucket := k[name]; bucket != "" {
			return bucket
		}
	}
	return ""
}

func (s *scopeState) learnKin(path, bucket string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kin.learn(path, bucket, s.presumed)
	s.hasKin.Store(len(s.kin) > 0)
}

// guess names the bucket of a resource that has none, if its kin do.
func (s *scopeState) guess(r *resource.Resource) {
	if r.Bucket != "" || !s.hasKin.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Bucket = s.kin.guess(r.Target())
}
