package firehosetest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// A tag is W/"<64 hex>": a digest of what the page shows, veiled, and a code
// over it keyed by seed, credential, Accept, path and page. Whether a tag was
// handed out can so be told without remembering any. Neither the host nor the
// prefix /moved is in it: a redirected request may carry its validators along.

// variant is the key of the tags of one resource under one Accept.
type variant [32]byte

// tagMemory keeps what was last computed for a resource.
type tagMemory struct {
	accept  string
	token   credential
	variant *variant
	digest  uint64
	tag     string
	via     *variant // of the resource to which it was redirected last

	seen   [8]string // by a Watcher: tags handed out or brought along
	known  int       // how many of both, forgotten ones included
	handed int       // answers that gave one
}

func newVariant(seed uint64, authorization, accept string, key resourceKey) *variant {
	h := sha256.New()
	var n [8]byte
	for _, part := range [...]string{authorization, accept, strings.TrimPrefix(key.target, movedPrefix)} {
		binary.LittleEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	binary.LittleEndian.PutUint64(n[:], seed)
	h.Write(n[:])
	binary.LittleEndian.PutUint64(n[:], uint64(key.page))
	h.Write(n[:])
	return (*variant)(h.Sum(nil))
}

// hash is the seed of what happens to requests under this variant.
func (v *variant) hash() uint64 { return binary.LittleEndian.Uint64(v[8:]) }

func (v *variant) tag(digest uint64) string {
	var sum [32]byte
	v.fill(&sum, digest)
	var text [68]byte
	copy(text[:], `W/"`)
	hex.Encode(text[3:], sum[:])
	text[67] = '"'
	return string(text[:])
}

func (v *variant) fill(sum *[32]byte, digest uint64) {
	var in [40]byte
	copy(in[:], v[:])
	binary.LittleEndian.PutUint64(in[32:], digest)
	*sum = sha256.Sum256(in[:])
	binary.LittleEndian.PutUint64(sum[:], digest^binary.LittleEndian.Uint64(v[:]))
}

// handedOut reports whether a tag is byte for byte one of this variant.
func (v *variant) handedOut(tag string) bool {
	if len(tag) != 68 || tag[:3] != `W/"` || tag[67] != '"' {
		return false
	}
	var got, want [32]byte
	if _, err := hex.Decode(got[:], []byte(tag[3:67])); err != nil {
		return false
	}
	v.fill(&want, binary.LittleEndian.Uint64(got[:])^binary.LittleEndian.Uint64(v[:]))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && strings.ToLower(tag[3:67]) == tag[3:67]
}

// splitTags yields the members of If-None-Match lines as they stand, without
// the white space around them. A comma inside quotes does not split.
func splitTags(lines []string) (tags []string) {
	for _, line := range lines {
		quoted, from := false, 0
		for i := 0; i <= len(line); i++ {
			switch {
			case i == len(line) || line[i] == ',' && !quoted:
				if tag := strings.Trim(line[from:i], " \t"); tag != "" {
					tags = append(tags, tag)
				}
				from = i + 1
			case line[i] == '"':
				quoted = !quoted
			}
		}
	}
	return tags
}

// opaque is what weak comparison compares (H-5): the tag with its quotes. It
// is empty for what is no entity tag.
func opaque(tag string) string {
	tag = strings.TrimPrefix(tag, "W/")
	if len(tag) < 2 || tag[0] != '"' || tag[len(tag)-1] != '"' {
		return ""
	}
	return tag
}
