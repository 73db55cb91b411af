package firehose

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// maxExcerpt is how much of a rejection's body is read to find out which limit
// it was.
const maxExcerpt = 8 << 10

// refusedError says that a request was not sent, since its bucket does not
// admit it now.
type refusedError struct{ resource.Decision }

func (e *refusedError) Error() string {
	return fmt.Sprintf("firehose: not sent: %s [%s]", e.Why, e.Why.Key())
}

// tokenError says that a request was not sent for want of a token.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return "firehose: not sent: " + e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }

// exchange is what the reserving transport and the Requestor share of one poll,
// hop by hop.
type exchange struct {
	id     resource.ID
	scope  resource.Scope
	state  *scopeState // of scope
	bucket string
	jitter float64
	dress  *dress // of the latest hop

	sent   time.Time       // of the latest hop
	answer resource.Answer // of the latest hop
	lesson resource.Lesson
	hops   int // requests that left

	variant  uint64 // that the resource's validators belong to; zero: not known
	answered uint64 // that those of the answer belong to
	alone    bool   // its limits count for it alone, by its profile

	told  hearsay             // of the host, by the latest hop
	scrub func(string) string // takes the secret out of a text; nil: there is none
}

// clean returns a text without the secret that the poll's requests carry: errors
// of a transport may quote requests, and answers may echo them.
func (x *exchange) clean(s string) string {
	if x.scrub == nil {
		return s
	}
	return x.scrub(s)
}

// reserving is what every request goes through on its way to the RoundTripper,
// redirects included. It resolves the token, reserves, sends, and learns from the
// header; a park is written down before the caller sees the answer. All this has to
// happen here, since whatever happens later can be lost with its service.
type reserving struct {
	base     http.RoundTripper
	buckets  *buckets
	probes   *probes // nil: no other shard may reach the same hosts
	tokens   resource.TokenSource
	parser   resource.Parser
	key      []byte // of fingerprints
	log      func(ctx context.Context, msg string, args ...any)
	refusals chan struct{} // holds at most one sign that a credential was refused
	tell     func(kind EventKind, scope resource.Scope, cause string)
}

// send sends one request, which becomes its own, if its bucket admits it. Errors:
// *refusedError, *tokenError, or what the base says.
func (t *reserving) send(req *http.Request, x *exchange) (*http.Response, error) {
	token, err := t.token(req.Context(), x.scope)
	if err != nil {
		return nil, &tokenError{err}
	}
	if req.Context().Err() != nil { // a source may take its time, whatever its context says (rule D-10)
		return nil, &tokenError{fmt.Errorf("the token came too late: %w", context.Cause(req.Context()))}
	}
	s := x.state
	probe := t.probe(req.Context(), s.host, x.jitter)
	now := time.Now()
	reserved, d := s.take(x.bucket, now, probe)
	if reserved == nil {
		probe.end()
		return nil, &refusedError{d}
	}
	handedOn := false
	defer func() {
		if !handedOn { // no answer, or a panic of the base
			t.news(x, reserved.lose(x.ofHost(req.Context(), err), now, time.Now()), "no answer")
		}
	}()
	finger := token.Fingerprint(t.key)
	if x.conditionally(req.Header, t.key, finger) {
		t.tell(EventUnconditional, x.scope, "what a request carries has changed since its validators came")
	}
	if !token.IsZero() {
		without := maps.Clone(req.Header)
		token.Authorize(req.Header)
		x.scrub = scrubber(without, req.Header)
	}
	x.sent, x.hops = now, x.hops+1
	x.answer = resource.Answer{Origin: x.scope.Origin, Path: req.URL.Path, Sent: now, Conditional: conditional(req.Header), Jitter: x.jitter}
	resp, err := t.call(req, x)
	x.answer.Received = time.Now()
	if err != nil {
		t.failed(req.Context(), x, reserved, err)
		return nil, err
	}
	if x.scrub != nil {
		for _, values := range resp.Header {
			for i, v := range values {
				values[i] = x.clean(v)
			}
		}
	}
	t.learn(req.Context(), s, x, reserved, resp, finger)
	x.answered = x.dress.variant(t.key, finger, varies(resp.Header))
	handedOn = true
	if resp.Body == http.NoBody { // and nobody need close it
		reserved.release(nil)
		return resp, nil
	}
	resp.Body = &releasing{resp.Body, reserved}
	return resp, nil
}

// call calls the base. Its panic is a network error like any other, without the
// request that it may quote.
func (t *reserving) call(req *http.Request, x *exchange) (resp *http.Response, err error) {
	defer func() {
		if v := recover(); v != nil {
			resp, err = nil, fmt.Errorf("firehose: transport: panic: %s", x.clean(fmt.Sprint(v)))
		}
	}()
	resp, err = t.base.RoundTrip(req)
	if err == nil && (resp == nil || resp.Body == nil) {
		return nil, errors.New("firehose: transport: neither an answer with a body nor an error")
	}
	if err != nil && resp != nil && resp.Body != nil {
		resp.Body.Close()
	}
	if err == nil && resp.Header == nil {
		resp.Header = http.Header{}
	}
	return resp, err
}

// scrubber returns what takes the secret of a request out of a text: whatever
// its header has beyond that of the request without it. It is a function, so
// that nothing that prints an exchange can show the secret.
func scrubber(without, with http.Header) func(string) string {
	var pairs []string
	for name, values := range with {
		if slices.Equal(values, without[name]) {
			continue
		}
		for _, v := range values {
			_, bare, _ := strings.Cut(v, " ") // without its scheme
			for _, secret := range []string{v, bare} {
				if len(secret) >= minSecret {
					pairs = append(pairs, secret, "[redacted]", url.QueryEscape(secret), "[redacted]", url.PathEscape(secret), "[redacted]")
				}
			}
		}
	}
	if pairs == nil {
		return nil
	}
	return strings.NewReplacer(pairs...).Replace
}

// minSecret is the length below which a text is no secret, and would be found
// everywhere.
const minSecret = 4

// token asks the source. What it panics with is not repeated: it may be the
// token.
func (t *reserving) token(ctx context.Context, scope resource.Scope) (token resource.Token, err error) {
	defer func() {
		if v := recover(); v != nil {
			token, err = resource.Token{}, errors.New("the token source panicked")
		}
	}()
	if scope.Credential == "" {
		return resource.Token{}, nil
	}
	if t.tokens == nil {
		return resource.Token{}, fmt.Errorf("no token source resolves the credential %q", scope.Credential)
	}
	return t.tokens.Token(ctx, scope.Credential, scope.Origin)
}

// learn reads the header, and for a rejection the beginning of the body.
func (t *reserving) learn(ctx context.Context, s *scopeState, x *exchange, reserved *reservation, resp *http.Response, finger string) {
	a := &x.answer
	a.Status, a.Header = resp.StatusCode, resp.Header
	letGo, now := func() {}, a.Received
	switch a.Status {
	case http.StatusForbidden, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		letGo = sync.OnceFunc(s.holdBack()) // until it is known which limit this is
		defer letGo()
		excerpt, _ := io.ReadAll(io.LimitReader(resp.Body, maxExcerpt)) // what came before an error is still evidence
		a.Excerpt = legible(resp.Header, excerpt)
		now = time.Now()
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(excerpt), resp.Body), resp.Body}
	}
	parser := t.parserFor(s)
	x.lesson = parser.Lesson(a)
	s.bound(&x.lesson)
	taught := x.lesson
	if x.ownLimit() {
		x.lesson.Own = true
		taught.Kind, taught.Failure = resource.NoLimit, true
	}
	free := a.Status == http.StatusNotModified && a.Conditional && x.scope.Credential != "" && x.lesson.Dialect == githubDialect
	dialect, _ := resource.DialectNamed(parser.Dialects, x.lesson.Dialect)
	changed := reserved.settle(&taught, a.Sent, now, free, &dialect)
	t.judge(s, x, finger) // before its scope is written
	letGo()
	a.Strikes = reserved.strikes()
	if kind := reserved.heard(x.ofHost(ctx, nil)); kind != noEvent {
		t.news(x, kind, fmt.Sprintf("status %d", a.Status))
	}
	if x.lesson.Named {
		x.bucket = x.lesson.Bucket
		s.learnKin(a.Path, x.bucket)
	}
	if len(changed) == 0 {
		return
	}
	// The end of the poll must not keep the park from being written.
	err := t.buckets.saveAgain(context.WithoutCancel(ctx), changed)
	if err != nil {
		t.log(ctx, "bucket not saved: it holds in memory, and is written again with the next answer", "err", err)
	}
}

// legible is the beginning of a body as text, where the transport has left it
// packed: the words that tell one limit from another, or from a refusal, can't be
// found else.
func legible(h http.Header, excerpt []byte) []byte {
	if !strings.EqualFold(h.Get("Content-Encoding"), "gzip") {
		return excerpt
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(excerpt))
	if err != nil {
		return excerpt
	}
	text, _ := io.ReadAll(io.LimitReader(unzipped, maxExcerpt)) // it may end in the middle
	return text
}

const saveTimeout = 10 * time.Second

// hopeless reports whether a store will not take what it has refused.
func hopeless(err error) bool {
	return errors.Is(err, db.ErrClosed) || errors.Is(err, db.ErrInvalid) || errors.Is(err, db.ErrTooLarge) ||
		errors.Is(err, db.ErrFailed)
}

// parserFor returns the parser for a scope: the dialect that a profile names,
// or the one that the scope has spoken before.
func (t *reserving) parserFor(s *scopeState) resource.Parser {
	p := t.parser
	said := s.spoken()
	p.Spoken = said.dialect
	if said.declared != "" {
		p.Dialect, _ = resource.DialectNamed(p.Dialects, said.declared) // names were checked by New
	}
	return p
}

// ownLimit reports whether a limit counts for the resource alone: its profile says
// so, or there is no credential that others share with it.
func (x *exchange) ownLimit() bool {
	switch x.lesson.Kind {
	case resource.NoLimit:
		return false
	case resource.CredentialLimit:
		return x.scope.Credential == ""
	}
	return x.alone && !x.lesson.HasQuota
}

// judge tells what an answer says of the credential that its request carried.
func (t *reserving) judge(s *scopeState, x *exchange, finger string) {
	switch {
	case x.lesson.Kind == resource.CredentialLimit:
		if s.refuse(finger) {
			t.tell(EventRefused, x.scope, x.lesson.Evidence)
			select {
			case t.refusals <- struct{}{}:
			default:
			}
		}
	case x.answer.Status < 300 || x.answer.Status == http.StatusNotModified:
		if s.accepted(finger) {
			t.tell(EventRenewed, x.scope, "accepted again")
		}
	}
}

// failed says what a missing answer means.
func (t *reserving) failed(ctx context.Context, x *exchange, reserved *reservation, err error) {
	x.answer.Trouble, x.answer.Cause = trouble(err)
	x.answer.Cause = x.clean(x.answer.Cause)
	x.lesson = t.parser.Lesson(&x.answer)
	if neverSent(err) {
		t.news(x, reserved.release(x.ofHost(ctx, err)), "no connection")
	}
}

// news tells people of a change that an answer, or the lack of one, has made.
func (t *reserving) news(x *exchange, kind EventKind, cause string) {
	if kind != noEvent {
		t.tell(kind, x.scope, cause)
	}
}

// ofHost is what the end of a request tells of its host: err, or the answer. A
// request that we gave up ourselves tells nothing.
func (x *exchange) ofHost(ctx context.Context, err error) *hearsay {
	told := &x.told
	*told = hearsay{who: x.id, sent: x.sent, now: time.Now(), jitter: x.jitter}
	if err != nil {
		told.failed = true
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errTimeout) && !errors.Is(cause, context.DeadlineExceeded) {
			return nil
		}
		return told
	}
	switch x.answer.Status {
	case http.StatusServiceUnavailable:
		told.until = x.lesson.Until
		fallthrough
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		told.failed = true
	}
	return told
}

// neverSent reports whether an error means that nothing of the request left.
func neverSent(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true
	}
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns != nil
}

// trouble names an error of a request: by its kind, without its URL, which may
// hold a secret of the user's.
func trouble(err error) (resource.Reason, string) {
	if _, ok := errors.AsType[*tokenError](err); ok {
		return resource.ReasonToken, err.Error()
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return resource.ReasonTLS, err.Error()
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return resource.ReasonTLS, err.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return resource.ReasonNetwork, "no complete answer in time"
	}
	return resource.ReasonNetwork, err.Error()
}

func conditional(h http.Header) bool {
	return len(h["If-None-Match"]) > 0 || len(h["If-Modified-Since"]) > 0
}

// releasing ends the reservation when the body is closed: until then the
// request is in flight.
type releasing struct {
	io.ReadCloser
	reserved *reservation
}

func (b *releasing) Close() error {
	defer b.reserved.release(nil)
	return b.ReadCloser.Close()
}

// jitter gives random numbers from [0,1), repeatable where a seed is given.
type jitter struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func newJitter(seed uint64) *jitter {
	if seed == 0 {
		return &jitter{}
	}
	return &jitter{rng: rand.New(rand.NewPCG(seed, seed))}
}

func (j *jitter) next() float64 {
	if j.rng == nil {
		return rand.Float64()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.rng.Float64()
}
