package resource

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/cannedos/cannedos/internal/packed"
)

// MaxEncoded bounds the binary encoding of a resource, in bytes. A resource
// within the bounds of its fields is always below it.
const MaxEncoded = 48 << 10

// encodingVersion is the first byte of an encoding. Raise it when the layout
// changes, and keep reading the older ones: see decodeold.go.
const encodingVersion = 3

// The layout, version 3. Millions of them are held in memory, so what nearly every
// resource has takes little, and what few have takes nothing where it isn't:
//
//	version     1 byte
//	flags       uvarint: which of the optional fields follow, and how
//	id          16 bytes, unless it is zero
//	state, why  1 byte each
//	version     uvarint
//	...         optional numbers: priority, interval, owner, instants, poll
//	            interval, digest, counters, variant, marks, hint
//	lengths     a uvarint for each text that is there, the URI first
//	texts       all texts, one behind the other
//
// Instants, waits, tags and dates are written as package packed says; instants are
// nanoseconds since 1970 on the wall clock. A tag that is packed has its form in
// the place of its length, and a date none. Numbers come before texts so that a
// decoder makes one string for all of them.
//
// The flags of what is common come first: those of a resource that is polled day by
// day take three bytes.
const (
	hasInterval = 1 << iota
	hasAsked
	hasAnswered
	hasChanged
	hasNotBefore
	hasPollInterval
	hasDigest
	hasCounters
	hasVariant
	secureURI   // the URI begins with https://, which is left out
	originOfURI // the origin is as much of the URI as packed.OriginLen says
	hasETag
	packedETag // with hasETag
	hasLastModified
	packedLastModified // with hasLastModified
	hasProfile
	hasCredential
	hasBucket
	hasMediaType
	hasID
	originInURI // the origin is the beginning of the URI: its length stands in the place of its text

	hasPriority
	hasOwner
	hasClaimed
	hasClaimUntil
	hasMarks // seen, gones, hops, hushed: 1 byte each, lull as a uvarint
	hasHint  // interval, skipped hours as a uvarint, skipped days as 1 byte, base in 8 bytes, 0 for none
	hasCause
	hasMoved
	hasHop
	hasOrigin // in a text of its own
	flagsEnd
)

// Instants have two bits apart from the others, as few resources are claimed.
const (
	claimBits = 1<<packed.Claimed | 1<<packed.ClaimUntil
	askedBits = 1<<packed.Asked | 1<<packed.Answered | 1<<packed.Changed | 1<<packed.NotBefore
)

// AppendBinary appends the binary encoding of r, the only one that engines
// carry, and returns the extended slice. An ID of zero takes no room in it, so who
// keeps encodings by ID may leave it out of them. A field beyond its bound gives a
// [*FieldError] and b unchanged; a resource made by [New] and changed only by
// this package never has one.
func (r *Resource) AppendBinary(b []byte) ([]byte, error) {
	if err := r.Encodable(); err != nil {
		return b, err
	}
	var at packed.Instants
	set := r.wallInstants(&at)
	flags := r.numberFlags() | uint64(set&askedBits)/(1<<packed.Asked)*hasAsked | uint64(set&claimBits)*hasClaimed
	texts := r.texts()
	flags |= r.textFlags(&texts)

	// Tags and dates are packed before it is known whether they can be.
	var short [packedRoom]byte
	tag, form := packed.AppendTag(short[:0], r.Validators.ETag)
	if form != 0 {
		flags |= packedETag
	}
	date, ok := packed.AppendDate(tag[len(tag):], r.Validators.LastModified)
	if ok {
		flags |= packedLastModified
	}

	b = append(b, encodingVersion)
	b = binary.AppendUvarint(b, flags)
	if flags&hasID != 0 {
		b = append(b, r.ID[:]...)
	}
	b = append(b, byte(r.State), byte(r.Why))
	b = binary.AppendUvarint(b, uint64(r.Version))
	b = r.appendNumbers(b, flags, &at, set)
	b = appendLengths(b, flags, &texts, form)
	for i, s := range texts {
		switch {
		case i == textURI && flags&secureURI != 0:
			b = append(b, s[len(packed.Secure):]...)
		case i == textOrigin && flags&hasOrigin == 0:
		case i == textETag && flags&packedETag != 0:
			b = append(b, tag...)
		case i == textLastModified && flags&packedLastModified != 0:
			b = append(b, date...)
		default:
			b = append(b, s...)
		}
	}
	return b, nil
}

// packedRoom is what a packed tag and a packed date take at most.
const packedRoom = 64 + packed.DateSize

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

// texts are the texts in the order of the encoding.
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

// presence are the flags of texts that may be missing: all but URI and origin.
var presence = [textCount]uint64{
	0, 0, hasMediaType, hasETag, hasLastModified, hasCause, hasMoved, hasProfile, hasCredential, hasBucket, hasHop,
}

var textBounds = [textCount]uint64{
	MaxURI, MaxURI, MaxName, MaxValidator, MaxValidator, MaxCause, MaxURI, MaxName, MaxName, MaxBucket, MaxURI,
}

func (r *Resource) texts() [textCount]string {
	return [textCount]string{
		r.URI, r.Origin, r.MediaType, r.Validators.ETag, r.Validators.LastModified,
		r.Cause, r.Moved, r.Profile, r.Credential, r.Bucket, r.Hop,
	}
}

func (r *Resource) textFlags(texts *[textCount]string) (flags uint64) {
	for i, s := range texts {
		if s != "" {
			flags |= presence[i]
		}
	}
	if strings.HasPrefix(r.URI, packed.Secure) {
		flags |= secureURI
	}
	switch {
	case r.Origin == r.URI[:packed.OriginLen(r.URI)]:
		flags |= originOfURI
	case strings.HasPrefix(r.URI, r.Origin):
		flags |= originInURI
	default:
		flags |= hasOrigin
	}
	return flags
}

// appendLengths appends what says where each text ends. form is that of the tag.
func appendLengths(b []byte, flags uint64, texts *[textCount]string, form packed.TagForm) []byte {
	for i, s := range texts {
		n := len(s)
		switch {
		case i == textURI && flags&secureURI != 0:
			n -= len(packed.Secure)
		case i == textURI:
		case i == textOrigin && flags&originOfURI != 0, i == textLastModified && flags&packedLastModified != 0:
			continue
		case i == textOrigin:
		case flags&presence[i] == 0:
			continue
		case i == textETag && flags&packedETag != 0:
			b = append(b, byte(form))
			continue
		}
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

func (r *Resource) numberFlags() (flags uint64) {
	set := func(is bool, flag uint64) {
		if is {
			flags |= flag
		}
	}
	set(!r.ID.IsZero(), hasID)
	set(r.Priority != 0, hasPriority)
	set(r.Interval != 0, hasInterval)
	set(!r.Owner.IsZero(), hasOwner)
	set(r.PollInterval != 0, hasPollInterval)
	set(r.Digest != 0, hasDigest)
	set(r.Polls != 0 || r.Modified != 0 || r.Failures != 0 || r.Quiet != 0, hasCounters)
	set(r.Variant != 0, hasVariant)
	set(r.Seen != 0 || r.Gones != 0 || r.Hops != 0 || r.Hushed || r.Lull != 0, hasMarks)
	set(!r.Hint.IsZero(), hasHint)
	return flags
}

func (r *Resource) appendNumbers(b []byte, flags uint64, at *packed.Instants, set uint8) []byte {
	if flags&hasPriority != 0 {
		b = append(b, byte(r.Priority))
	}
	if flags&hasInterval != 0 {
		b = packed.AppendWait(b, r.Interval)
	}
	if flags&hasOwner != 0 {
		b = append(b, r.Owner[:]...)
	}
	b = packed.AppendInstants(b, at, set)
	if flags&hasPollInterval != 0 {
		b = packed.AppendWait(b, r.PollInterval)
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
	if flags&hasVariant != 0 {
		b = binary.BigEndian.AppendUint64(b, r.Variant)
	}
	if flags&hasMarks != 0 {
		hushed := byte(0)
		if r.Hushed {
			hushed = 1
		}
		b = binary.AppendUvarint(append(b, r.Seen, r.Gones, r.Hops, hushed), uint64(r.Lull))
	}
	if flags&hasHint != 0 {
		b = packed.AppendWait(b, r.Hint.Interval)
		b = append(binary.AppendUvarint(b, uint64(r.Hint.SkipHours)), r.Hint.SkipDays)
		base := int64(0)
		if !r.Hint.Base.IsZero() {
			base = r.Hint.Base.UnixNano()
		}
		b = binary.BigEndian.AppendUint64(b, uint64(base))
	}
	return b
}

// wallInstants puts the instants of r that are not zero into at, as the wall clock
// tells them, and returns which those are.
func (r *Resource) wallInstants(at *packed.Instants) (set uint8) {
	for i, t := range r.instants() {
		if !t.IsZero() {
			at[i] = t.UnixNano()
			set |= 1 << i
		}
	}
	return set
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
	for i, t := range r.instants() {
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
func (r *Resource) instants() [6]*time.Time {
	return [...]*time.Time{&r.Claimed, &r.ClaimUntil, &r.Asked, &r.Answered, &r.Changed, &r.NotBefore}
}

var instantNames = [6]string{"Claimed", "ClaimUntil", "Asked", "Answered", "Changed", "NotBefore"}
