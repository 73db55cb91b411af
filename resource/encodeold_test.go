package resource

import (
	"encoding/binary"
	"strings"
)

// appendOld writes versions 1 and 2 of the encoding as former programs did.
func appendOld(b []byte, r *Resource) ([]byte, error) {
	if err := r.Encodable(); err != nil {
		return b, err
	}
	texts, flags := oldTexts(r)
	flags |= oldNumberFlags(r)
	if r.Origin != "" && strings.HasPrefix(r.URI, r.Origin) {
		flags |= oldOriginInURI
	}
	version := byte(firstVersion)
	if flags >= oldFlagsEnd1 || r.Why > lastReason1 {
		version = secondVersion
	}
	b = append(b, version)
	b = binary.AppendUvarint(b, uint64(flags))
	b = append(b, r.ID[:]...)
	b = append(b, byte(r.Priority), byte(r.State), byte(r.Why), r.Seen, r.Gones)
	b = binary.AppendUvarint(b, uint64(r.Version))
	b = appendOldNumbers(b, r, flags)
	for i, s := range texts {
		if flags&oldTextFlags[i] != 0 || oldTextFlags[i] == 0 {
			b = binary.AppendUvarint(b, uint64(len(s)))
		}
	}
	for i, s := range texts {
		if i == textOrigin && flags&oldOriginInURI != 0 {
			continue
		}
		b = append(b, s...)
	}
	return b, nil
}

func oldTexts(r *Resource) (texts [textCount]string, flags uint32) {
	texts = [textCount]string{
		r.URI, r.Origin, r.MediaType, r.Validators.ETag, r.Validators.LastModified,
		r.Cause, r.Moved, r.Profile, r.Credential, r.Bucket, r.Hop,
	}
	for i, s := range texts {
		if s != "" {
			flags |= oldTextFlags[i]
		}
	}
	return texts, flags
}

func oldNumberFlags(r *Resource) (flags uint32) {
	set := func(is bool, flag uint32) {
		if is {
			flags |= flag
		}
	}
	set(r.Interval != 0, oldHasInterval)
	set(!r.Owner.IsZero(), oldHasOwner)
	set(!r.Claimed.IsZero(), oldHasClaimed)
	set(!r.ClaimUntil.IsZero(), oldHasClaimUntil)
	set(!r.Asked.IsZero(), oldHasAsked)
	set(!r.Answered.IsZero(), oldHasAnswered)
	set(!r.Changed.IsZero(), oldHasChanged)
	set(!r.NotBefore.IsZero(), oldHasNotBefore)
	set(r.PollInterval != 0, oldHasPollInterval)
	set(r.Digest != 0, oldHasDigest)
	set(!r.Hint.IsZero(), oldHasHint)
	set(r.Variant != 0, oldHasVariant)
	set(r.Hops != 0 || r.Hushed || r.Lull != 0, oldHasMarks)
	set(r.Polls != 0 || r.Modified != 0 || r.Failures != 0 || r.Quiet != 0, oldHasCounters)
	return flags
}

func appendOldNumbers(b []byte, r *Resource, flags uint32) []byte {
	if flags&oldHasInterval != 0 {
		b = binary.AppendUvarint(b, uint64(r.Interval))
	}
	if flags&oldHasOwner != 0 {
		b = append(b, r.Owner[:]...)
	}
	for i, t := range r.instants() {
		if flags&(oldHasClaimed<<i) != 0 {
			b = binary.BigEndian.AppendUint64(b, uint64(t.UnixNano()))
		}
	}
	if flags&oldHasPollInterval != 0 {
		b = binary.AppendUvarint(b, uint64(r.PollInterval))
	}
	if flags&oldHasDigest != 0 {
		b = binary.BigEndian.AppendUint64(b, r.Digest)
	}
	if flags&oldHasCounters != 0 {
		b = binary.AppendUvarint(b, uint64(r.Polls))
		b = binary.AppendUvarint(b, uint64(r.Modified))
		b = binary.AppendUvarint(b, uint64(r.Failures))
		b = binary.AppendUvarint(b, uint64(r.Quiet))
	}
	if flags&oldHasHint != 0 {
		b = binary.AppendUvarint(b, uint64(r.Hint.Interval))
		b = binary.AppendUvarint(b, uint64(r.Hint.SkipHours))
		b = append(b, r.Hint.SkipDays)
		base := int64(0)
		if !r.Hint.Base.IsZero() {
			base = r.Hint.Base.UnixNano()
		}
		b = binary.BigEndian.AppendUint64(b, uint64(base))
	}
	if flags&oldHasVariant != 0 {
		b = binary.BigEndian.AppendUint64(b, r.Variant)
	}
	if flags&oldHasMarks != 0 {
		hushed := byte(0)
		if r.Hushed {
			hushed = 1
		}
		b = binary.AppendUvarint(append(b, r.Hops, hushed), uint64(r.Lull))
	}
	return b
}
