package feeds

import "strings"

// Namespaces that attributes are looked for in.
const (
	xmlSpace = "http://www.w3.org/XML/1998/namespace"
	rdfSpace = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
)

// A vocabulary is what the name of an element belongs to.
type vocabulary uint8

// The vocabularies that feeds are read from.
const (
	foreign    vocabulary = iota // passed over
	rss                          // RSS 0.9x and 2.0 have no namespace, 1.0 has one
	atom                         // of a feed of its own, or inside of RSS
	dublinCore                   // dc: and dcterms:
	contents                     // content:encoded
)

// vocabularyOf tells by the URI of the namespace. A prefix that the feed forgot
// to declare comes as itself, and is believed.
func vocabularyOf(space string) vocabulary {
	switch strings.TrimSpace(space) {
	case "", "http://purl.org/rss/1.0/", "http://channel.netscape.com/rdf/simple/0.9/",
		"http://my.netscape.com/rdf/simple/0.9/", "http://backend.userland.com/rss2":
		return rss
	case "http://www.w3.org/2005/Atom", "http://purl.org/atom/ns#", "atom":
		return atom
	case "http://purl.org/dc/elements/1.1/", "http://purl.org/dc/terms/", "dc", "dcterms":
		return dublinCore
	case "http://purl.org/rss/1.0/modules/content/", "content":
		return contents
	}
	return foreign
}
