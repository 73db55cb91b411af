package queue

import (
	"strings"

	"github.com/cannedos/cannedos/resource"
)

// texts are those that many resources share, and the variant of their requests,
// which follows from the first two. A value leaves them out and names them by one
// number.
type texts struct {
	profile, credential, origin, bucket, mediaType string

	variant uint64
}

// sharedBy returns the shared texts of r, whose value has these flags. An origin
// that the URI begins with costs the value nothing and stays there, so that a
// million origins don't make a million combinations.
func sharedBy(r *resource.Resource, flags uint32) texts {
	t := texts{profile: r.Profile, credential: r.Credential, origin: r.Origin, bucket: r.Bucket, mediaType: r.MediaType, variant: r.Variant}
	if flags&(withOriginOfURI|withOrigin) != 0 {
		t.origin = ""
	}
	return t
}

// are reports whether they are those of r.
func (t *texts) are(r *resource.Resource, flags uint32) bool {
	origin := r.Origin
	if flags&(withOriginOfURI|withOrigin) != 0 {
		origin = ""
	}
	return t.profile == r.Profile && t.credential == r.Credential && t.origin == origin &&
		t.bucket == r.Bucket && t.mediaType == r.MediaType && t.variant == r.Variant
}

// join gives them to r.
func (t *texts) join(r *resource.Resource, flags uint32) {
	r.Profile, r.Credential, r.Bucket, r.MediaType, r.Variant = t.profile, t.credential, t.bucket, t.mediaType, t.variant
	if flags&(withOriginOfURI|withOrigin) == 0 {
		r.Origin = t.origin
	}
}

// An interner numbers combinations of shared texts, and forgets those that no
// value names any more.
type interner struct {
	byTexts map[texts]uint32
	all     []*counted
	free    []uint32
}

type counted struct {
	texts
	values int
}

func newInterner() interner { return interner{byTexts: map[texts]uint32{}} }

// hold returns the number of the texts of r for one value more, which has these
// flags. like is the number of a combination that is probably the same.
func (n *interner) hold(r *resource.Resource, flags, like uint32) uint32 {
	if int(like) < len(n.all) && n.all[like] != nil && n.all[like].are(r, flags) {
		n.all[like].values++
		return like
	}
	t := sharedBy(r, flags)
	i, ok := n.byTexts[t]
	if !ok {
		// A copy: the caller's texts may be parts of something bigger.
		for _, s := range []*string{&t.profile, &t.credential, &t.origin, &t.bucket, &t.mediaType} {
			*s = strings.Clone(*s)
		}
		if last := len(n.free) - 1; last >= 0 {
			i = n.free[last]
			n.free = n.free[:last]
		} else {
			i = uint32(len(n.all))
			n.all = append(n.all, nil)
		}
		n.all[i] = &counted{texts: t}
		n.byTexts[t] = i
	}
	n.all[i].values++
	return i
}

// release gives one value's hold up.
func (n *interner) release(i uint32) {
	c := n.all[i]
	if c.values--; c.values > 0 {
		return
	}
	delete(n.byTexts, c.texts)
	n.all[i] = nil
	n.free = append(n.free, i)
}
