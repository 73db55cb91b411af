package resource

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// MaxEncoded bounds the binary encoding of a resource, in bytes. A resource
// within the bounds of its fields is always below it.
const MaxEncoded = 48 << 10

// encodingVersion is the first byte of an encoding. Raise it when the layout
// changes, and keep reading the older ones.
const encodingVersion = 1

// The layout, version 1:
//
//	version     1 byte
//	flags       uvarint: which of the optional fields follow
//	id          16 bytes
//	fixed       priority, state, why, seen, gones: 1 byte each
//	version     uvarint
//	...         optional numbers in the order of the flags
//	lengths     a uvarint for each text whose flag is set
//	texts       all texts, one behind the other
//
// Instants are 8 bytes, nanoseconds since 1970 on the wall clock. Numbers come
// before texts so that a decoder makes one string for all of them.
const (
	hasInterval = 1 << iota
	hasOwner
	hasClaimed
	hasClaimUntil
	hasAsked
	hasAnswered
	hasChanged
	hasNotBefore
	hasPollInterval
	hasDigest
	hasCounters
	hasMediaType
	hasETag
	hasLastModified
	hasCause
	hasMoved
	hasProfile
	hasCredential
	hasBucket
	hasHop
	originInURI // the origin is the beginning of the URI: its length stands in the place of its text
	flagsEnd
)

// AppendBinary appends the binary encoding of r, the only one that engines
// carry, and returns the extended slice. A field beyond its bound gives a
// [*FieldError] and b unchanged; a resource made by [New] and changed only by
// this package never has one.
func (r *Resource) AppendBinary(b []byte) ([]byte, error) {
	if err := r.checkBounds(); err != nil {
		return b, err
	}
	texts, flags := r.texts()
	flags |= r.numberFlags()
	if r.Origin != "" && strings.HasPrefix(r.URI, r.Origin) {
		flags |= originInURI
	}
	b = append(b, encodingVersion)
	b = binary.AppendUvarint(b, uint64(flags))
	b = append(b, r.ID[:]...)
	b = append(b, byte(r.Priority), byte(r.State), byte(r.Why), r.Seen, r.Gones)
	b = binary.AppendUvarint(b, uint64(r.Version))
	b = r.appendNumbers(b, flags)
	for i, s := range texts {
		if flags&textFlags[i] != 0 || textFlags[i] == 0 {
			b = binary.AppendUvarint(b, uint64(len(s)))
		}
	}
	for i, s := range texts {
		if i == textOrigin && flags&originInURI != 0 {
			continue
		}
		b = append(b, s...)
	}
	return b, nil
}

// MarshalBinary returns the binary encoding; see [Resource.AppendBinary].
func (r *Resource) MarshalBinary() ([]byte, error) { return r.AppendBinary(nil) }

// UnmarshalBinary reads what AppendBinary wrote, and nothing beside it. The
// instants have no monotonic reading: call [Resource.Rebase]. Errors wrap
// [ErrEncoding], or [ErrNewer] for an encoding of a version unknown here; r is
// then unchanged. It keeps no reference to b.
func (r *Resource) UnmarshalBinary(b []byte) error {
	if len(b) > 0 && b[0] > encodingVersion {
		return fmt.Errorf("%w: version %d, this program knows %d", ErrNewer, b[0], encodingVersion)
	}
	d := decoder{b: b}
	v := d.resource()
	if d.bad != "" {
		return fmt.Errorf("%w: %s at byte %d of %d", ErrEncoding, d.bad, len(b)-len(d.b), len(b))
	}
	*r = v
	return nil
}

// texts are the texts in the order of the encoding. URI and origin are always
// there, the others where their flag is set.
const (
	textURI = iota
	textOrigin
	textMediaType
	textETag
	textLastModified
	textCause
	textMoved
	textProfile
	textCredential
	textBucket
	textHop
	textCount
)

var textFlags = [textCount]uint32{
	0, 0, hasMediaType, hasETag, hasLastModified, hasCause, hasMoved, hasProfile, hasCredential, hasBucket, hasHop,
}

var textBounds = [textCount]uint64{
	MaxURI, MaxURI, MaxName, MaxValidator, MaxValidator, MaxCause, MaxURI, MaxName, MaxName, MaxBucket, MaxURI,
}

func (r *Resource) texts() (texts [textCount]string, flags uint32) {
	texts = [textCount]string{
		r.URI, r.Origin, r.MediaType, r.Validators.ETag, r.Validators.LastModified,
		r.Cause, r.Moved, r.Profile, r.Credential, r.Bucket, r.Hop,
	}
	for i, s := range texts {
		if s != "" {
			flags |= textFlags[i]
		}
	}
	return texts, flags
}

func (r *Resource) numberFlags() (flags uint32) {
	set := func(is bool, flag uint32) {
		if is {
			flags |= flag
		}
	}
	set(r.Interval != 0, hasInterval)
	set(!r.Owner.IsZero(), hasOwner)
	set(!r.Claimed.IsZero(), hasClaimed)
	set(!r.ClaimUntil.IsZero(), hasClaimUntil)
	set(!r.Asked.IsZero(), hasAsked)
	set(!r.Answered.IsZero(), hasAnswered)
	set(!r.Changed.IsZero(), hasChanged)
	set(!r.NotBefore.IsZero(), hasNotBefore)
	set(r.PollInterval != 0, hasPollInterval)
	set(r.Digest != 0, hasDigest)
	set(r.Polls != 0 || r.Modified != 0 || r.Failures != 0 || r.Quiet != 0, hasCounters)
	return flags
}

func (r *Resource) appendNumbers(b []byte, flags uint32) []byte {
	if flags&hasInterval != 0 {
		b = binary.AppendUvarint(b, uint64(r.Interval))
	}
	if flags&hasOwner != 0 {
		b = append(b, r.Owner[:]...)
	}
	for i, t := range r.instants() {
		if flags&(hasClaimed<<i) != 0 {
			b = binary.BigEndian.AppendUint64(b, uint64(t.UnixNano()))
		}
	}
	if flags&hasPollInterval != 0 {
		b = binary.AppendUvarint(b, uint64(r.PollInterval))
	}
	if flags&hasDigest != 0 {
		b = binary.BigEndian.AppendUint64(b, r.Digest)
	}
	if flags&hasCounters != 0 {
		b = binary.AppendUvarint(b, uint64(r.Polls))
		b = binary.AppendUvarint(b, uint64(r.Modified))
		b = binary.AppendUvarint(b, uint64(r.Failures))
		b = binary.AppendUvarint(b, uint64(r.Quiet))
	}
	return b
}

func (r *Resource) checkBounds() error {
	texts, _ := r.texts()
	for i, s := range texts {
		if uint64(len(s)) > textBounds[i] {
			return &FieldError{textNames[i], fmt.Sprintf("%d bytes", len(s)), fmt.Sprintf("at most %d bytes", textBounds[i])}
		}
	}
	if r.Interval < 0 || r.Interval > MaxInterval {
		return &FieldError{"Interval", r.Interval.String(), "0 to " + MaxInterval.String()}
	}
	if r.PollInterval < 0 {
		return &FieldError{"PollInterval", r.PollInterval.String(), "0 or more"}
	}
	if r.State >= states {
		return &FieldError{"State", r.State.String(), "one of the states"}
	}
	if r.Why >= reasons {
		return &FieldError{"Why", r.Why.String(), "one of the reasons"}
	}
	if r.Version < 0 {
		return &FieldError{"Version", fmt.Sprint(r.Version), "0 or more"}
	}
	for i, t := range r.instants() {
		if !t.IsZero() && (t.Unix() < 0 || t.Unix() > lastSecond) {
			return &FieldError{instantNames[i], t.UTC().Format(time.RFC3339), "an instant from 1970 to 2200"}
		}
	}
	return nil
}

// lastSecond ends the year 2200, so that 64 bits of nanoseconds hold every
// instant of an encoding.
const lastSecond = 7_289_654_399

// instants are the instants in the order of the encoding.
func (r *Resource) instants() [6]time.Time {
	return [...]time.Time{r.Claimed, r.ClaimUntil, r.Asked, r.Answered, r.Changed, r.NotBefore}
}

var instantNames = [6]string{"Claimed", "ClaimUntil", "Asked", "Answered", "Changed", "NotBefore"}

var textNames = [textCount]string{
	"URI", "Origin", "MediaType", "ETag", "LastModified", "Cause", "Moved", "Profile", "Credential", "Bucket", "Hop",
}
