package resource

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Bounds of what is read of the Link lines of one answer. What lies beyond them
// is not read: no page of a feed needs a tenth of it.
const (
	MaxLinks     = 64       // links of an answer
	MaxLinkBytes = 64 << 10 // bytes of all its Link lines together
	maxLinkRels  = 16       // relation types of one link
)

// Link is one link of a Link header (RFC 8288, section 3) whose context is the
// answer itself. It is a plain value.
type Link struct {
	// Target is the URI that the link leads to, absolute: a relative one was
	// resolved against the URL that was answered. Its scheme may be any.
	Target string

	// Rel are the relation types in lower case, in the order of the header. A
	// link without a rel parameter has none.
	Rel []string
}

// Is reports whether the link has the relation type rel, such as "next", in
// either case (RFC 8288, section 3.3).
func (l *Link) Is(rel string) bool {
	return slices.ContainsFunc(l.Rel, func(r string) bool { return strings.EqualFold(r, rel) })
}

// Links reads the Link lines of an answer, in their order (rule D-24). base is
// the URL that was answered in the end, which [Response] has in URL: relative
// targets are resolved against it, and never against a base that the body names.
//
// It reads as RFC 8288, appendix B, has clients read: commas and semicolons may
// stand inside <> and quotes, names of parameters are in any case, values may be
// unquoted, and of several rel the first counts. A link with an anchor speaks of
// something else than the answer and is left out, as is one whose target is no
// URI. What can't be read ends its line, not the others. Links never fails: a
// header from which nothing can be learnt gives nil.
func Links(h http.Header, base string) []Link {
	lines := h["Link"]
	if len(lines) == 0 {
		return nil
	}
	from, err := url.Parse(base)
	if err != nil {
		return nil
	}
	var links []Link
	room := MaxLinkBytes
	for _, line := range lines {
		if len(line) > room {
			break
		}
		room -= len(line)
		for rest := line; len(links) < MaxLinks; {
			var raw rawLink
			var ok bool
			if raw, rest, ok = nextLink(rest); !ok {
				break
			}
			if raw.anchored {
				continue
			}
			if target, ok := resolve(from, raw.target); ok {
				links = append(links, Link{target, relations(raw.rel)})
			}
		}
	}
	return links
}

// NextPage returns the URI of the page that follows, as the answer's Link lines
// name it with rel=next, without a fragment. It is empty where none is named:
// the answer is the last page. Of several the first counts.
//
// The error is a [*FieldError] for a page that is named and must not be
// followed, with the reasons of [PageURI]: what lies behind it stays unread, and
// that should be said.
func NextPage(h http.Header, base string) (uri string, err error) {
	links := Links(h, base)
	i := slices.IndexFunc(links, func(l Link) bool { return l.Is("next") })
	if i < 0 {
		return "", nil
	}
	return PageURI(base, links[i].Target)
}

// PageURI resolves ref, by which a page names another, against the URL of the
// page, and drops its fragment. Links that a page gives are followed and never
// built (rule G-19), but only within the origin of the page, since a request to
// the next page carries the same token (rule D-24).
//
// The error is a [*FieldError] for a page that a [Spec] may not hold, for one of
// another origin, of which another scheme is one too, and for the page itself,
// which would be read for ever.
func PageURI(base, ref string) (uri string, err error) {
	refused := func(value, want string) (string, error) {
		return "", &FieldError{"Next page", clipURI(value), want}
	}
	origin, err := originOf(base)
	if err != nil {
		return "", err
	}
	if len(ref) > MaxURI {
		return refused(ref, "at most 8192 bytes")
	}
	from, _ := url.Parse(base) // originOf has parsed it
	target, ok := resolve(from, ref)
	if !ok {
		return refused(ref, "a URI or a reference to one (RFC 3986)")
	}
	target, _, _ = strings.Cut(target, "#")
	switch to, err := originOf(target); {
	case err != nil:
		return refused(target, "what a resource may have: an absolute http or https URI of at most 8192 bytes without user name or password")
	case to != origin:
		return refused(target, "a page of the same origin, "+origin)
	case target == base:
		return refused(target, "another page than the one that names it")
	}
	return target, nil
}

// resolve returns what ref means where from was answered (RFC 3986, section 5).
// An absolute reference is kept as it came: an origin may tell two spellings
// apart.
func resolve(from *url.URL, ref string) (target string, ok bool) {
	u, err := url.Parse(ref)
	if err != nil {
		return "", false
	}
	if u.IsAbs() {
		return ref, true
	}
	return from.ResolveReference(u).String(), from.IsAbs()
}

// relations splits the value of rel, a list with spaces between.
func relations(value string) []string {
	var rels []string
	for rel := range strings.FieldsSeq(value) {
		if len(rels) < maxLinkRels {
			rels = append(rels, strings.ToLower(rel))
		}
	}
	return rels
}

// rawLink is a link as it stands in its line.
type rawLink struct {
	target   string
	rel      string // of the first rel parameter
	anchored bool   // it has an anchor parameter
}

// nextLink takes the first link off a line.
func nextLink(line string) (l rawLink, rest string, ok bool) {
	line = strings.TrimLeft(line, " \t,")
	if line == "" || line[0] != '<' {
		return l, "", false
	}
	target, rest, closed := strings.Cut(line[1:], ">")
	if !closed {
		return l, "", false
	}
	l.target = strings.Trim(target, " \t")
	hasRel := false
	for {
		rest = strings.TrimLeft(rest, " \t")
		if rest == "" || rest[0] != ';' {
			return l, rest, true
		}
		var name, value string
		name, value, rest = parameter(rest[1:])
		switch {
		case strings.EqualFold(name, "anchor"):
			l.anchored = true
		case strings.EqualFold(name, "rel") && !hasRel:
			l.rel, hasRel = value, true
		}
	}
}

// parameter takes a name with its value, if it has one, off what follows a
// semicolon.
func parameter(s string) (name, value, rest string) {
	end := strings.IndexAny(s, "=;,")
	if end < 0 {
		return strings.Trim(s, " \t"), "", ""
	}
	name = strings.Trim(s[:end], " \t")
	if s[end] != '=' {
		return name, "", s[end:]
	}
	s = strings.TrimLeft(s[end+1:], " \t")
	if strings.HasPrefix(s, `"`) {
		value, rest = quoted(s[1:])
		return name, value, rest
	}
	if end = strings.IndexAny(s, ";,"); end < 0 {
		end = len(s)
	}
	return name, strings.Trim(s[:end], " \t"), s[end:]
}

// quoted takes a quoted string off what follows its first quote (RFC 9110,
// section 5.6.4). One without an end reaches to the end of the line.
func quoted(s string) (value, rest string) {
	end := strings.IndexAny(s, `"\`)
	if end < 0 {
		return s, ""
	}
	if s[end] == '"' { // nothing is escaped, as nearly always
		return s[:end], s[end+1:]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:]
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}
