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
// changes, and keep reading the older ones. A resource without what only version
// 2 holds (a feed's hint, a variant, marks) is written as version 1, byte for
// byte: an older program goes on reading it.
const (
	encodingVersion = 2
	firstVersion    = 1
)

// The layout, versions 1 and 2:
//
//	version     1 byte
//	flags       uvarint: which of the optional fields follow
//	id          16 bytes
//	fixed       priority, state, why, seen, gones: 1 byte each
//	version     uvarint
//	...         optional numbers in the order of the flags, except
//	hint        version 2 only: interval and skipped hours as uvarints, skipped
//	            days as 1 byte, base as an instant, 0 for none
//	variant     version 2 only: 8 bytes
//	marks       version 2 only, last of the numbers: hops and hushed, 1 byte each,
//	            lull as a uvarint
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
	flagsEnd1
	hasHint    = flagsEnd1 // from version 2 on
	hasVariant = hasHint << 1
	hasMarks   = hasVariant << 1
	flagsEnd   = hasMarks << 1
)

// AppendBinary appends the binary encoding of r, the only one that engines
// carry, and returns the extended slice. A field beyond its bound gives a
// [*FieldError] and b unchanged; a resource made by [New] and changed only by
// this package never has one.
func (r *Resource) AppendBinary(b []byte) ([]byte, error) {
	if err := r.Encodable(); err != nil {
		return b, err
	}
	texts, flags := r.texts()
	flags |= r.numberFlags()
	if r.Origin != "" && strings.HasPrefix(r.URI, r.Origin) {
		flags |= originInURI
	}
	version := byte(firstVersion)
	if flags >= flagsEnd1 || r.Why > lastReason1 {
		version = encodingVersion
	}
	b = append(b, version)
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
	set(!r.Hint.IsZero(), hasHint)
	set(r.Variant != 0, hasVariant)
	set(r.Hops != 0 || r.Hushed || r.Lull != 0, hasMarks)
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
	if flags&hasHint != 0 {
		b = binary.AppendUvarint(b, uint64(r.Hint.Interval))
		b = binary.AppendUvarint(b, uint64(r.Hint.SkipHours))
		b = append(b, r.Hint.SkipDays)
		base := int64(0)
		if !r.Hint.Base.IsZero() {
			base = r.Hint.Base.UnixNano()
		}
		b = binary.BigEndian.AppendUint64(b, uint64(base))
	}
	if flags&hasVariant != 0 {
		b = binary.BigEndian.AppendUint64(b, r.Variant)
	}
	if flags&hasMarks != 0 {
		hushed := byte(0)
		if r.Hushed {
			hushed = 1
		}
		b = binary.AppendUvarint(append(b, r.Hops, hushed), uint64(r.Lull))
	}
	return b
}

// Encodable reports the first field beyond its bound, as the [*FieldError] that
// AppendBinary would give: a resource without one can be held by every queue and
// every store. It allocates nothing where there is none, and is asked with every
// move of every resource; so each field is compared where it is.
func (r *Resource) Encodable() error {
	switch {
	case len(r.URI) > MaxURI:
		return tooLong("URI", r.URI, MaxURI)
	case len(r.Origin) > MaxURI:
		return tooLong("Origin", r.Origin, MaxURI)
	case len(r.MediaType) > MaxName:
		return tooLong("MediaType", r.MediaType, MaxName)
	case len(r.Validators.ETag) > MaxValidator:
		return tooLong("ETag", r.Validators.ETag, MaxValidator)
	case len(r.Validators.LastModified) > MaxValidator:
		return tooLong("LastModified", r.Validators.LastModified, MaxValidator)
	case len(r.Cause) > MaxCause:
		return tooLong("Cause", r.Cause, MaxCause)
	case len(r.Moved) > MaxURI:
		return tooLong("Moved", r.Moved, MaxURI)
	case len(r.Profile) > MaxName:
		return tooLong("Profile", r.Profile, MaxName)
	case len(r.Credential) > MaxName:
		return tooLong("Credential", r.Credential, MaxName)
	case len(r.Bucket) > MaxBucket:
		return tooLong("Bucket", r.Bucket, MaxBucket)
	case len(r.Hop) > MaxURI:
		return tooLong("Hop", r.Hop, MaxURI)
	case uint64(r.Interval) > uint64(MaxInterval):
		return &FieldError{"Interval", r.Interval.String(), "0 to " + MaxInterval.String()}
	case r.PollInterval < 0:
		return &FieldError{"PollInterval", r.PollInterval.String(), "0 or more"}
	case !r.Hint.IsZero() && r.Hint != r.Hint.normal():
		return &FieldError{"Hint", fmt.Sprintf("%+v", r.Hint), "what FeedHint returns"}
	case r.State >= states:
		return &FieldError{"State", r.State.String(), "one of the states"}
	case r.Why >= reasons:
		return &FieldError{"Why", r.Why.String(), "one of the reasons"}
	case r.Version < 0:
		return &FieldError{"Version", fmt.Sprint(r.Version), "0 or more"}
	}
	for i, t := range [...]*time.Time{&r.Claimed, &r.ClaimUntil, &r.Asked, &r.Answered, &r.Changed, &r.NotBefore} {
		if uint64(t.Unix()) > lastSecond && !t.IsZero() {
			return &FieldError{instantNames[i], t.UTC().Format(time.RFC3339), "an instant from 1970 to 2200"}
		}
	}
	return nil
}

func tooLong(field, text string, most int) error {
	return &FieldError{field, fmt.Sprintf("%d bytes", len(text)), fmt.Sprintf("at most %d bytes", most)}
}

// lastSecond ends the year 2200, so that 64 bits of nanoseconds hold every
// instant of an encoding.
const lastSecond = 7_289_654_399

// instants are the instants in the order of the encoding.
func (r *Resource) instants() [6]time.Time {
	return [...]time.Time{r.Claimed, r.ClaimUntil, r.Asked, r.Answered, r.Changed, r.NotBefore}
}

var instantNames = [6]string{"Claimed", "ClaimUntil", "Asked", "Answered", "Changed", "NotBefore"}
