package queue

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cannedos/cannedos/resource"
)

// A value is what the arena holds of a message: all but what its slot has, and
// but its Response. It never leaves the process and is read as often as it is
// written, so it has a layout of its own, made for that, beside the encoding of
// package resource, which stores keep for years. TestValueKeepsEverything
// compares the two.
//
//	0    shared     4 bytes: number of what it shares with others
//	4    length     2 bytes: of the value
//	6    texts      2 bytes: where they begin
//	8    flags      4 bytes: which of the optional parts follow
//	12   id         16 bytes
//	28   state, why, 1 byte each
//	30   version    uvarint
//	...  numbers    in the order of their fields in appendNumbers; instants in
//	                nanoseconds on the clock of the Memory, and durations, as
//	                package packed writes them
//	...  lengths    a uvarint for each text that isn't packed, but for the last;
//	                the URI's stands last, unless there are no others
//	...  form       1 byte, of a packed tag
//	...  texts      a packed tag, a packed date, the URI without its https://, and
//	                then the others
//
// Numbers are read out of the bytes, texts out of a string made of them all.
type value []byte

const (
	valueLength  = 4
	valueTexts   = 6
	valueFlags   = 8
	valueID      = 12
	valueState   = 28
	valueVersion = 30
)

// The flags. Of what a resource that is polled day by day doesn't have, nothing
// is written.
const (
	withInterval = 1 << iota
	withPollInterval
	withClaimed
	withClaimUntil
	withAsked
	withAnswered
	withChanged
	withNotBefore
	withDigest
	withCounters
	withAttempts
	withOwner
	withMarks // Seen, Gones, Hops, Hushed, Lull
	withHint
	withHintBase
	withPriority
	withOriginOfURI // the origin is as much of the URI as packed.OriginLen says
	withOrigin      // the URI begins with the origin: its length is there
	withSecure      // the URI begins with https://
	withTag         // the ETag is packed
	withDate        // and so is the Last-Modified
	withETag        // it is not packed
	withLastModified
	withMoved
	withHop
	withCauses // of the resource and of the message

	withInstants   = 1<<6 - 1 // of the flags from withClaimed on
	textsBesideURI = withETag | withLastModified | withMoved | withHop | withCauses
)

// mostNumbers bounds what stands before the texts.
const mostNumbers = 256

// check reports why a message can never be held.
func check(m *Message) error {
	if err := checkName(m.Queue); err != nil {
		return err
	}
	r := &m.Resource
	if !r.ID.IsZero() && r.Version >= 0 && r.Version < math.MaxInt64 && m.Attempts >= 0 && len(m.Cause) <= resource.MaxCause {
		if err := r.Encodable(); err != nil {
			return fmt.Errorf("%w: resource %v: %w", ErrRefused, r.ID, err)
		}
		return nil
	}
	refuse := func(field string, value any, want string) error {
		return fmt.Errorf("%w: %s of resource %v: %v: want %s", ErrRefused, field, r.ID, value, want)
	}
	switch {
	case r.ID.IsZero():
		return refuse("ID", "zero", "an id: resource.New gives one")
	case r.Version < 0 || r.Version == math.MaxInt64:
		return refuse("Version", r.Version, "0 or more")
	case m.Attempts < 0:
		return refuse("Attempts", m.Attempts, "0 or more")
	default:
		return refuse("Cause", fmt.Sprintf("%d bytes", len(m.Cause)), fmt.Sprintf("at most %d bytes", resource.MaxCause))
	}
}

func checkName(name string) error {
	if name == "" || len(name) > MaxName {
		return fmt.Errorf("%w: name of a queue: %d bytes: want 1 to %d", ErrRefused, len(name), MaxName)
	}
	return nil
}

// whole cuts off what the arena has behind the value.
func (v value) whole() value { return v[:binary.LittleEndian.Uint16(v[valueLength:])] }

func (v value) shared() uint32        { return binary.LittleEndian.Uint32(v) }
func (v value) setShared(n uint32)    { binary.LittleEndian.PutUint32(v, n) }
func (v value) flags() uint32         { return binary.LittleEndian.Uint32(v[valueFlags:]) }
func (v value) id() *resource.ID      { return (*resource.ID)(v[valueID:]) }
func (v value) state() resource.State { return resource.State(v[valueState]) }

// overwrite puts another value where v lies, in the same class. Most moves change
// numbers only: texts that are the same are left alone, and needn't be written
// back to the memory.
func (v value) overwrite(with value) {
	texts := len(with) - len(with.texts())
	if len(with) > len(v) || !bytes.Equal(v[texts:len(with)], with[texts:]) {
		texts = len(with)
	}
	copy(v, with[:texts])
}

// texts returns the texts of a whole value.
func (v value) texts() []byte { return v[binary.LittleEndian.Uint16(v[valueTexts:]):] }

// version returns the version of the resource.
func (v value) version() int64 {
	n, _ := binary.Uvarint(v[valueVersion:])
	return int64(n)
}
