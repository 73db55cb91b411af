package queue

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// A value is what the arena holds of a message: all but what its slot has, and
// but its Response.
//
//	shared    4 bytes: number of the texts that it shares with others
//	length    2 bytes: of the value
//	resource  2 bytes: of the encoding that follows
//	...       encoding of the resource, without those texts and its version
//	version   uvarint
//	attempts  uvarint
//	cause     the rest
type value []byte

const valueHead = 8

// texts are those that many resources share. The encoding of a resource leaves
// them out; the value names them by one number.
type texts struct{ profile, credential, origin, bucket, mediaType string }

// split moves the shared texts of r to where they belong. An origin that the
// URI begins with costs the encoding nothing and stays, so that a million
// origins don't make a million combinations.
func split(r *resource.Resource) texts {
	t := texts{profile: r.Profile, credential: r.Credential, bucket: r.Bucket, mediaType: r.MediaType}
	if !strings.HasPrefix(r.URI, r.Origin) {
		t.origin = r.Origin
		r.Origin = ""
	}
	r.Profile, r.Credential, r.Bucket, r.MediaType = "", "", "", ""
	return t
}

// join undoes split.
func (t *texts) join(r *resource.Resource) {
	r.Profile, r.Credential, r.Bucket, r.MediaType = t.profile, t.credential, t.bucket, t.mediaType
	if t.origin != "" {
		r.Origin = t.origin
	}
}

// check reports why a message can never be held.
func check(m *Message) error {
	if err := checkName(m.Queue); err != nil {
		return err
	}
	refuse := func(field string, value any, want string) error {
		return fmt.Errorf("%w: %s of resource %v: %v: want %s", ErrRefused, field, m.Resource.ID, value, want)
	}
	switch r := &m.Resource; {
	case r.ID.IsZero():
		return refuse("ID", "zero", "an id: resource.New gives one")
	case r.Version < 0 || r.Version == math.MaxInt64:
		return refuse("Version", r.Version, "0 or more")
	case m.Attempts < 0:
		return refuse("Attempts", m.Attempts, "0 or more")
	case len(m.Cause) > resource.MaxCause:
		return refuse("Cause", fmt.Sprintf("%d bytes", len(m.Cause)), fmt.Sprintf("at most %d bytes", resource.MaxCause))
	case len(r.Profile) > resource.MaxName || len(r.Credential) > resource.MaxName || len(r.MediaType) > resource.MaxName:
		n := max(len(r.Profile), len(r.Credential), len(r.MediaType))
		return refuse("Profile, Credential or MediaType", fmt.Sprintf("%d bytes", n), fmt.Sprintf("at most %d bytes", resource.MaxName))
	case len(r.Origin) > resource.MaxURI:
		return refuse("Origin", fmt.Sprintf("%d bytes", len(r.Origin)), fmt.Sprintf("at most %d bytes", resource.MaxURI))
	case len(r.Bucket) > resource.MaxBucket:
		return refuse("Bucket", fmt.Sprintf("%d bytes", len(r.Bucket)), fmt.Sprintf("at most %d bytes", resource.MaxBucket))
	}
	return nil
}

func checkName(name string) error {
	if name == "" || len(name) > MaxName {
		return fmt.Errorf("%w: name of a queue: %d bytes: want 1 to %d", ErrRefused, len(name), MaxName)
	}
	return nil
}

// appendValue appends the value of m, as it is to be stored: with the version
// given, and its shared texts still unnumbered. idAt is where in the value the
// id of the resource stands, so that it needs no room beside it.
func (c clock) appendValue(b []byte, m *Message, version int64, now time.Time) (_ []byte, shared texts, idAt uint8, err error) {
	start := len(b)
	r := m.Resource
	shared = split(&r)
	c.freeze(&r, now)
	r.Version = 0
	b = append(b, make([]byte, valueHead)...)
	b, err = r.AppendBinary(b)
	if err != nil {
		return b[:start], texts{}, 0, fmt.Errorf("%w: resource %v: %w", ErrRefused, r.ID, err)
	}
	encoded := len(b) - start - valueHead
	at := bytes.Index(b[start+valueHead:min(len(b), start+math.MaxUint8)], r.ID[:])
	if at < 0 || encoded > resource.MaxEncoded {
		return b[:start], texts{}, 0, fmt.Errorf("%w: resource %v: its encoding has %d bytes or hides its id", ErrRefused, r.ID, encoded)
	}
	b = binary.AppendUvarint(b, uint64(version))
	b = binary.AppendUvarint(b, uint64(m.Attempts))
	b = append(b, m.Cause...)
	binary.LittleEndian.PutUint16(b[start+4:], uint16(len(b)-start))
	binary.LittleEndian.PutUint16(b[start+6:], uint16(encoded))
	return b, shared, uint8(valueHead + at), nil
}

// whole cuts off what the arena has behind the value.
func (v value) whole() value { return v[:binary.LittleEndian.Uint16(v[4:])] }

func (v value) shared() uint32     { return binary.LittleEndian.Uint32(v) }
func (v value) setShared(n uint32) { binary.LittleEndian.PutUint32(v, n) }

func (v value) encoded() []byte { return v[valueHead : valueHead+binary.LittleEndian.Uint16(v[6:])] }

// version returns the version of the resource.
func (v value) version() int64 {
	n, _ := binary.Uvarint(v[valueHead+len(v.encoded()):])
	return int64(n)
}

// decode sets what m has of a whole value, with the texts that it shares. It
// keeps no reference to v.
func (c clock) decode(m *Message, v value, shared *texts) error {
	if err := m.Resource.UnmarshalBinary(v.encoded()); err != nil {
		return err
	}
	rest := v[valueHead+len(v.encoded()):]
	version, n := binary.Uvarint(rest)
	attempts, k := binary.Uvarint(rest[n:])
	m.Resource.Version, m.Attempts, m.Cause = int64(version), int(attempts), string(rest[n+k:])
	shared.join(&m.Resource)
	c.thaw(&m.Resource)
	return nil
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

// hold returns the number of t for one value more. like is the number of a
// combination that is probably the same.
func (n *interner) hold(t texts, like uint32) uint32 {
	if int(like) < len(n.all) && n.all[like] != nil && n.all[like].texts == t {
		n.all[like].values++
		return like
	}
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
