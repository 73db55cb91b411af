package firehose

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cannedos/cannedos/resource"
)

// dress is what a request carries that many have in common: all headers but the
// validators and the token. It is made once for each kind of request and never
// changed, so that a poll costs a copy of it and no more.
type dress struct {
	header http.Header

	// The variants of a request without a token, whether or not the user agent
	// counts. Zero: not worked out yet.
	variants [2]atomic.Uint64
}

// dressKind is what a dress depends on.
type dressKind struct {
	profile   *resource.Profile
	mediaType string
	github    bool // the origin is GitHub's
	foreign   bool // the origin is not that of the URI: a redirect has led there
}

// wardrobe holds the dresses that were made. Its zero value is empty.
type wardrobe struct {
	mu  sync.RWMutex
	all map[dressKind]*dress
}

// maxDresses bounds those that are kept: media types are the user's, and may be
// many.
const maxDresses = 1024

// dress returns what requests of a kind carry.
func (w *wardrobe) dress(kind dressKind, agent string) *dress {
	w.mu.RLock()
	d := w.all[kind]
	w.mu.RUnlock()
	if d != nil {
		return d
	}
	d = &dress{header: newHeader(kind, agent)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if made := w.all[kind]; made != nil {
		return made
	}
	if w.all == nil {
		w.all = map[dressKind]*dress{}
	}
	if len(w.all) < maxDresses {
		w.all[kind] = d
	}
	return d
}

func newHeader(kind dressKind, agent string) http.Header {
	h := http.Header{}
	if kind.foreign { // a header may be a secret that nobody there knows for one (rule G-18)
		for _, name := range []string{"User-Agent", "Accept", "Accept-Language"} {
			if values := kind.profile.Header[name]; len(values) > 0 {
				h[name] = values
			}
		}
	} else {
		maps.Copy(h, kind.profile.Header)
	}
	def := func(name, value string) {
		if h.Get(name) == "" {
			h.Set(name, value)
		}
	}
	def("User-Agent", agent)
	switch {
	case kind.github:
		def("Accept", "application/vnd.github+json")
		def("X-Github-Api-Version", "2022-11-28")
	case kind.mediaType != "":
		def("Accept", kind.mediaType)
	default:
		def("Accept", "*/*")
	}
	return h
}

// on returns the header of one request: the dress with validators.
func (d *dress) on(v resource.Validators) http.Header {
	h := make(http.Header, len(d.header)+3) // and a token
	maps.Copy(h, d.header)
	lines := make([]string, 2)
	if v.ETag != "" {
		lines[0] = v.ETag
		h["If-None-Match"] = lines[0:1:1]
	}
	if v.LastModified != "" {
		lines[1] = v.LastModified
		h["If-Modified-Since"] = lines[1:2:2]
	}
	return h
}

// variant returns that of a request in this dress with the token of a fingerprint.
func (d *dress) variant(key []byte, finger string, byAgent bool) uint64 {
	if finger != "" {
		return variantOf(d.header, key, finger, byAgent)
	}
	memo := &d.variants[0]
	if byAgent {
		memo = &d.variants[1]
	}
	v := memo.Load()
	if v == 0 {
		v = variantOf(d.header, key, "", byAgent)
		memo.Store(v)
	}
	return v
}

// atHome reports whether the origin of r is that of its URI. Most often that
// shows without taking the URI apart.
func atHome(r *resource.Resource) bool {
	if rest, ok := strings.CutPrefix(r.URI, r.Origin); ok && (rest == "" || rest[0] == '/' || rest[0] == '?') {
		return true
	}
	own, err := resource.Origin(r.URI)
	return err == nil && own == r.Origin
}
