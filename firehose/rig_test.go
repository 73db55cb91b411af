package firehose_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// epoch is when the clock of a test stands at its beginning: late enough for
// resets in Unix seconds to make sense.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// bubble runs a test in virtual time that begins at epoch.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(epoch))
		f(t)
	})
}

// at is the time since epoch.
func at() time.Duration { return time.Since(epoch) }

// call is a request that the origin got.
type call struct {
	At     time.Duration // since epoch
	URL    string
	Header http.Header
	n      int // how many of this URL came before
}

// reply is what the origin does with a call.
type reply struct {
	status  int // 0: 200
	header  map[string]string
	body    string
	none    bool          // no body, said as net/http does where the length is 0
	tail    error         // what reading the body ends with instead of io.EOF
	slow    time.Duration // before the answer
	trickle time.Duration // before the end of the body
	err     error         // instead of an answer
	boom    any           // panics with it
	after   func()        // called when the reply has been made
}

// script is an origin of a test: it answers as the test says, and records.
type script struct {
	turn   sync.Mutex // held while answer runs, and by do
	answer func(c call) reply

	mu       sync.Mutex
	calls    []call
	seen     map[string]int
	inFlight int
	most     int // in flight together
}

func newScript(answer func(c call) reply) *script {
	return &script{answer: answer, seen: map[string]int{}}
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	s.mu.Lock()
	c := call{At: at(), URL: req.URL.String(), Header: req.Header.Clone(), n: s.seen[req.URL.String()]}
	s.seen[c.URL]++
	s.calls = append(s.calls, c)
	s.inFlight++
	s.most = max(s.most, s.inFlight)
	s.mu.Unlock()
	done := sync.OnceFunc(func() {
		s.mu.Lock()
		s.inFlight--
		s.mu.Unlock()
	})
	r := s.turnOf(c)
	if r.after != nil {
		defer r.after()
	}
	if err := wait(req.Context(), r.slow); err != nil {
		done()
		return nil, err
	}
	if r.boom != nil {
		done()
		panic(r.boom)
	}
	if r.err != nil {
		done()
		return nil, r.err
	}
	if r.status == 0 {
		r.status = http.StatusOK
	}
	h := http.Header{}
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	for k, v := range r.header {
		if v == "" {
			h.Del(k)
		} else {
			h[http.CanonicalHeaderKey(k)] = strings.Split(v, "\n")
		}
	}
	if r.none {
		done()
		return &http.Response{StatusCode: r.status, Header: h, Body: http.NoBody, Request: req}, nil
	}
	body := &scriptBody{ctx: req.Context(), from: strings.NewReader(r.body), tail: r.tail, trickle: r.trickle, done: done}
	return &http.Response{
		Status: http.StatusText(r.status), StatusCode: r.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: body, ContentLength: -1, Request: req,
	}, nil
}

func (s *script) turnOf(c call) reply {
	s.turn.Lock()
	defer s.turn.Unlock()
	return s.answer(c)
}

// do changes what answer goes by.
func (s *script) do(change func()) {
	s.turn.Lock()
	defer s.turn.Unlock()
	change()
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

type scriptBody struct {
	ctx     context.Context
	from    io.Reader
	tail    error
	trickle time.Duration
	done    func()
}

func (b *scriptBody) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if err == io.EOF {
		if err := wait(b.ctx, b.trickle); err != nil {
			return n, err
		}
		b.trickle = 0
		if b.tail != nil {
			return n, b.tail
		}
	}
	return n, err
}

func (b *scriptBody) Close() error {
	b.done()
	return nil
}

// all returns the calls so far, of one URL if it is not empty.
func (s *script) all(url string) []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.calls), func(c call) bool { return url != "" && c.URL != url })
}

// times returns when the calls of a URL came.
func (s *script) times(url string) (all []time.Duration) {
	for _, c := range s.all(url) {
		all = append(all, c.At)
	}
	return all
}

func (s *script) together() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// taken records what a sink took and what happened.
type taken struct {
	mu        sync.Mutex
	responses []*resource.Response
	events    []firehose.Event
	refuse    func(n int, r *resource.Response) error // of the n-th offer; nil: take all
	offers    int
}

func (s *taken) Take(ctx context.Context, r *resource.Response) error {
	s.mu.Lock()
	n, refuse := s.offers, s.refuse
	s.offers++
	s.mu.Unlock()
	if refuse != nil {
		if err := refuse(n, r); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.responses = append(s.responses, r)
	return nil
}

func (s *taken) observe(e firehose.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

// bodies returns what was taken, in order.
func (s *taken) bodies() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.responses {
		all = append(all, string(r.Body))
	}
	return all
}

// all returns the responses that were taken, in order.
func (s *taken) all() []*resource.Response {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.responses)
}

func (s *taken) kinds() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		all = append(all, e.Kind.String())
	}
	return all
}

// rig is an OS that polls a script.
type rig struct {
	*firehose.OS
	t    *testing.T
	net  *script
	sink *taken
	stop func() error // ends Serve and returns its error

	ended chan error // gets the error of Serve, unless stop has
}

// start serves an OS over a script. What the config leaves open is filled in.
func start(t *testing.T, net *script, config firehose.Config) *rig {
	t.Helper()
	r := &rig{t: t, net: net, sink: &taken{}}
	if config.Transport == nil {
		config.Transport = net
	}
	if config.Sink == nil {
		config.Sink = r.sink
	}
	if config.Observer == nil {
		config.Observer = r.sink.observe
	}
	if config.Seed == 0 {
		config.Seed = 1
	}
	os, err := firehose.New(config)
	require.NoError(t, err)
	r.OS = os
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- os.Serve(ctx) }()
	r.ended = done
	r.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(time.Hour): // a test has taken it
			return nil
		}
	})
	t.Cleanup(func() { r.stop() })
	return r
}

// until sleeps until the instant since epoch, and lets everything settle.
func until(d time.Duration) {
	time.Sleep(time.Until(epoch.Add(d)))
	synctest.Wait()
}

// id is the ID of the resource at a URI under a profile.
func id(t *testing.T, spec resource.Spec) resource.ID {
	t.Helper()
	r, err := resource.New(spec, "")
	require.NoError(t, err)
	return r.ID
}

func idOf(t *testing.T, uri string) resource.ID { return id(t, resource.Spec{URI: uri}) }

// explain is where a resource is and why.
func (r *rig) explain(uri string) firehose.Explanation {
	r.t.Helper()
	return r.explainSpec(resource.Spec{URI: uri})
}

func (r *rig) explainSpec(spec resource.Spec) firehose.Explanation {
	r.t.Helper()
	e, err := r.Explain(context.Background(), id(r.t, spec))
	require.NoError(r.t, err)
	return e
}

// find returns the resource as its error queue, or its next publication, has it.
func (r *rig) errorsIn(queue string) []firehose.Buried {
	r.t.Helper()
	list, err := r.Errors(context.Background(), queue, resource.ID{}, 1000)
	require.NoError(r.t, err)
	return list
}

const (
	uriA = "https://a.test/a"
	uriB = "https://a.test/b"
	uriC = "https://c.test/c"
)

var errReset = errors.New("connection reset by peer")

func secs(n ...float64) (all []time.Duration) {
	for _, v := range n {
		all = append(all, time.Duration(v*float64(time.Second)))
	}
	return all
}

func ok(body, etag string) reply {
	r := reply{body: body, header: map[string]string{}}
	if etag != "" {
		r.header["Etag"] = etag
	}
	return r
}

func status(code int, header ...string) reply {
	r := reply{status: code, header: map[string]string{}}
	for i := 0; i+1 < len(header); i += 2 {
		r.header[header[i]] = header[i+1]
	}
	return r
}

func unix(d time.Duration) string { return fmt.Sprint(epoch.Add(d).Unix()) }
