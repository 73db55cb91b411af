package resource

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Dialect is how an origin speaks of its limits. It is data plus functions, and
// pure like all of this package. The zero Dialect is none.
//
// Who needs another one than those of [Dialects] fills in Name, Detect and Read,
// and puts it into [Parser.Dialects]. [Answer.Count], [Answer.Seconds],
// [Answer.Unix] and [Answer.Date] read headers, [Lesson.QuotaFor] and
// [Lesson.QuotaUntil] say what was found, and [Lesson.Reject] reads rejections in
// the way that suits most origins.
type Dialect struct {
	// Name is what a [Profile] calls it: at most 128 of letters, digits and
	// - _ . / :
	Name string

	// Concurrency is how many requests of one scope may be in flight together
	// where the user says nothing. Zero: no bound.
	Concurrency int

	// Limit is a rate that origins of this dialect document and never tell in
	// their answers. It counts where the user declares none; who knows of an
	// installation that allows more declares that. Zero: none.
	Limit Limit

	// Generic says that many origins speak it. A scope that has spoken a dialect
	// which is not generic is not taken for this one because of a single answer.
	Generic bool

	// Detect says by what an answer of an origin is known to speak this dialect,
	// in a few words such as "its origin", or nothing when it is not known to.
	// Nil: the dialect is used only when it is asked for by name. The header may
	// be nil.
	Detect func(origin string, h http.Header) (why string)

	// Read fills in what the answer teaches. It is not called for answers that
	// never came. Of answers that a cache served, what it reads of a quota or a
	// bucket's name is dropped. It keeps neither of its arguments.
	Read func(a *Answer, l *Lesson)

	known builtin // which of this package it is; zero: somebody else's
}

// builtin numbers the dialects of this package. They are called by their number
// and not through Read: a call through a function value would move the lesson of
// every answer to the heap.
type builtin uint8

const (
	foreign builtin = iota
	knownGitHub
	knownGitLab
	knownDiscord
	knownShopify
	knownStripe
	knownSlack
	knownReddit
	knownX
	knownBasecamp
	knownLegacy
	knownXRateLimit
	knownPlain
)

// builtins are in the order in which they are tried: those that only one service
// speaks, then what many speak, then the one that fits every origin. Nothing
// writes to it.
var builtins = [...]Dialect{
	// 900 points a minute, a request being one, is a limit that no answer tells. (The
	// seconds of computing that are documented beside it hold by themselves while
	// answers come one at a time.)
	{Name: "github", Concurrency: 1, Limit: Limit{Requests: 900, Per: time.Minute}, Detect: detectGitHub, Read: readGitHub, known: knownGitHub},
	{Name: "gitlab", Concurrency: 4, Detect: detectGitLab, Read: readGitLab, known: knownGitLab},
	{Name: "discord", Concurrency: 4, Detect: detectDiscord, Read: readDiscord, known: knownDiscord},
	{Name: "shopify", Concurrency: 2, Detect: detectShopify, Read: readShopify, known: knownShopify},
	// 100 a second for live accounts; 25 for sandboxes and for single endpoints.
	// Answers do not tell which, so the least of them it is.
	{Name: "stripe", Concurrency: 4, Limit: Limit{Requests: 25, Per: time.Second}, Detect: detectStripe, Read: readStripe, known: knownStripe},
	{Name: "slack", Concurrency: 4, Detect: detectSlack, Read: readSlack, known: knownSlack},
	{Name: "reddit", Concurrency: 2, Detect: detectReddit, Read: readReddit, known: knownReddit},
	{Name: "x", Concurrency: 4, Detect: detectX, Read: readX, known: knownX},
	{Name: "basecamp", Concurrency: 4, Detect: detectBasecamp, Read: readBasecamp, known: knownBasecamp},
	{Name: "ietf-legacy", Concurrency: 4, Generic: true, Detect: detectLegacy, Read: readLegacy, known: knownLegacy},
	{Name: "x-ratelimit", Concurrency: 4, Generic: true, Detect: detectXRateLimit, Read: readXRateLimit, known: knownXRateLimit},
	{Name: "plain", Concurrency: 4, Generic: true, Detect: detectPlain, Read: readPlain, known: knownPlain},
}

// Dialects returns the dialects that this package knows, in the order in which
// they are tried:
//
//   - github, gitlab, discord, shopify, stripe, slack, reddit, x and basecamp are
//     those of the services of these names;
//   - ietf-legacy is RateLimit-Limit, -Remaining and -Reset as in the drafts of
//     the IETF up to the sixth. The fields of the later ones are structured:
//     package resource/ietf reads them;
//   - x-ratelimit is X-RateLimit-Limit, -Remaining and -Reset of services that
//     nobody has described here, with a reset in whatever unit;
//   - plain, the last, knows status codes and Retry-After, and fits every origin.
//
// The slice is the caller's.
func Dialects() []Dialect { return slices.Clone(builtins[:]) }

// DialectNamed returns the dialect of that name from known, or from [Dialects]
// where known is nil; of several the first. The error is a [*FieldError] whose
// field is "Dialect" and that lists the known names.
func DialectNamed(known []Dialect, name string) (Dialect, error) {
	if known == nil {
		known = builtins[:]
	}
	if i := indexOf(known, name); i >= 0 {
		return known[i], nil
	}
	var names []string
	for i := range known {
		names = append(names, strconv.Quote(known[i].Name))
	}
	return Dialect{}, &FieldError{"Dialect", clip(name), "one of " + strings.Join(names, ", ") + ", or empty to detect it"}
}

func indexOf(all []Dialect, name string) int {
	for i := range all {
		if all[i].Name == name && name != "" {
			return i
		}
	}
	return -1
}

// choose returns the dialect to read an answer with, and why. What the scope has
// spoken before counts where the answer itself says less: error pages of proxies
// carry none of an API's headers, or those of another program, and must not make
// a GitHub less of one.
func (p *Parser) choose(a *Answer, failure bool) (d *Dialect, why string) {
	if p.Dialect.Read != nil {
		return &p.Dialect, "named"
	}
	all := p.Dialects
	if all == nil {
		all = builtins[:]
	}
	spoken := indexOf(all, p.Spoken)
	if failure && spoken >= 0 {
		return &all[spoken], "spoken before"
	}
	for i := range all {
		if all[i].Detect == nil {
			continue
		}
		if why = all[i].Detect(a.Origin, a.Header); why != "" {
			d = &all[i]
			break
		}
	}
	if d == nil {
		last := builtins[len(builtins)-1:]
		d, why = &last[0], detectPlain("", nil)
	}
	if spoken >= 0 && (d.known == knownPlain || d.Generic && !all[spoken].Generic) {
		return &all[spoken], "spoken before"
	}
	return d, why
}

// read lets the dialect of an answer read it.
func (p *Parser) read(a *Answer, l *Lesson) {
	l.Jitter, l.Failure = a.Jitter, a.Status == 0 || a.Status >= 500
	d, why := p.choose(a, l.Failure)
	l.Dialect, l.Because = d.Name, why
	if a.Status == 0 {
		return
	}
	switch d.known {
	case knownGitHub:
		readGitHub(a, l)
	case knownGitLab:
		readGitLab(a, l)
	case knownDiscord:
		readDiscord(a, l)
	case knownShopify:
		readShopify(a, l)
	case knownStripe:
		readStripe(a, l)
	case knownSlack:
		readSlack(a, l)
	case knownReddit:
		readReddit(a, l)
	case knownX:
		readX(a, l)
	case knownBasecamp:
		readBasecamp(a, l)
	case knownLegacy:
		readLegacy(a, l)
	case knownXRateLimit:
		readXRateLimit(a, l)
	case knownPlain:
		readPlain(a, l)
	default:
		*l = readForeign(d, a, *l)
	}
}

// readForeign works on a copy of its own, which a call through a function value
// moves to the heap.
func readForeign(d *Dialect, a *Answer, l Lesson) Lesson {
	if d.Read != nil {
		d.Read(a, &l)
	}
	return l
}

func detectPlain(string, http.Header) string { return "nothing else fits" }

// readPlain reads limits of an origin that sends no quota: status codes and
// Retry-After.
func readPlain(a *Answer, l *Lesson) { l.Reject(a) }
