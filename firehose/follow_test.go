package firehose_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/firehose/feeds"
	"github.com/cannedos/cannedos/resource"
)

// wrapped hides a sink behind another one, which lets it be found.
type wrapped struct{ firehose.Sink }

func (w wrapped) Unwrap() firehose.Sink { return w.Sink }

// linked is a Follower of a user: it reads as many pages as there are, whatever they
// hold.
type linked struct {
	taken
	follow func(r *resource.Response) (*resource.Resource, error) // nil: the one that the last page names
}

func (l *linked) Follow(_ context.Context, r *resource.Response) (*resource.Resource, error) {
	if l.follow != nil {
		return l.follow(r)
	}
	if r.Outcome == resource.NotModified {
		return nil, nil
	}
	last := r
	if n := len(r.Pages); n > 0 {
		last = r.Pages[n-1]
	}
	uri, err := resource.NextPage(last.Header, last.URL)
	if uri == "" || err != nil {
		return nil, err
	}
	page, err := r.Resource.Page(uri)
	return &page, err
}

// Events is found behind wrappers and beside others, which are offered what is new
// and nothing else.
func TestE6_EventsAmongSinks(t *testing.T) {
	for name, wrap := range map[string]func(events firehose.Sink, plain firehose.Sink) firehose.Sink{
		"sinks":   func(e, p firehose.Sink) firehose.Sink { return firehose.Sinks(p, e) },
		"wrapped": func(e, p firehose.Sink) firehose.Sink { return wrapped{firehose.Sinks(wrapped{e}, wrapped{p})} },
	} {
		bubble(t, func(t *testing.T) {
			b := newBoard(span(9, 1)...)
			plain, items := &taken{}, &collector{}
			events, err := firehose.NewEvents(firehose.EventsConfig[feeds.Event]{Reader: feeds.GitHub(), Sink: items})
			require.NoError(t, err)
			r := start(t, b.script, firehose.Config{Sink: wrap(events, plain), Resources: resource.List(uriFeed)})
			until(30 * time.Second)
			b.add(span(15, 10)...)
			b.fail(once(2, 1, status(500)))
			until(90 * time.Second)
			require.Equal(t, append(up(1, 9), up(13, 15)...), items.ids(), name)
			until(150 * time.Second) // page one is unchanged, and the others are read on
			require.Equal(t, append(append(up(1, 9), up(13, 15)...), up(10, 12)...), items.ids(), name)
			bodies := plain.bodies()
			require.Len(t, bodies, 2, name)
			require.NotEmpty(t, bodies[1])
			require.Len(t, plain.all()[0].Pages, 2)
			require.Zero(t, r.Stats().Publishing)
		})
	}
}

// One feed has one Follower: the pages that are read are those that it wants.
func TestTwoFollowersAreRefused(t *testing.T) {
	make := func() *firehose.Events[feeds.Event] {
		e, err := firehose.NewEvents(firehose.EventsConfig[feeds.Event]{Reader: feeds.GitHub()})
		require.NoError(t, err)
		return e
	}
	_, err := firehose.New(firehose.Config{Sink: firehose.Sinks(make(), wrapped{make()})})
	var field *firehose.FieldError
	require.ErrorAs(t, err, &field)
	require.Equal(t, "Sink", field.Field)
}

// A Follower takes a few lines, and is given each page with its answer.
func TestAFollowerOfAUser(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBoard(span(9, 1)...)
		sink := &linked{}
		r := start(t, b.script, firehose.Config{Sink: sink, Resources: resource.List(uriFeed)})
		until(90 * time.Second)
		require.Len(t, sink.all(), 1, "the second poll is unchanged")
		first := sink.all()[0]
		require.Empty(t, first.Cut)
		require.Len(t, first.Pages, 2)
		for i, p := range first.Pages {
			require.Equal(t, pageOf(i+2), p.Resource.URI)
			require.Equal(t, resource.Modified, p.Outcome)
			require.NotEmpty(t, p.Body)
			require.NotEmpty(t, p.Resource.Validators.ETag)
		}
		require.Zero(t, r.Stats().Publishing)
	})
}

// Whatever a Follower does wrong costs a poll or the rest of a reading, and nothing
// else.
func TestAFollowerThatMisbehaves(t *testing.T) {
	elsewhere, err := resource.New(resource.Spec{URI: "https://b.test/page"}, "")
	require.NoError(t, err)
	for name, c := range map[string]struct {
		follow func(l *linked, r *resource.Response) (*resource.Resource, error)
		cut    string // of the response; empty: the poll failed
		cause  string
		pages  int
	}{
		"panics": {follow: func(*linked, *resource.Response) (*resource.Resource, error) { panic("at once") }, cause: "panic: at once"},
		"ends":   {follow: func(*linked, *resource.Response) (*resource.Resource, error) { runtime.Goexit(); return nil, nil }, cause: "ended its goroutine"},
		"error":  {follow: func(*linked, *resource.Response) (*resource.Resource, error) { return nil, errors.New("no page") }, cause: "no page"},
		"scope":  {follow: func(*linked, *resource.Response) (*resource.Resource, error) { return &elsewhere, nil }, cause: "a page of the scope"},
		"later": {cut: "no page", follow: func(_ *linked, r *resource.Response) (*resource.Resource, error) {
			if len(r.Pages) > 0 {
				return nil, errors.New("no page")
			}
			page, err := r.Resource.Page(pageOf(2))
			return &page, err
		}},
		"later panics": {cut: "panic: later", pages: 1, follow: func(_ *linked, r *resource.Response) (*resource.Resource, error) {
			if len(r.Pages) > 1 {
				panic("later")
			}
			page, err := r.Resource.Page(pageOf(2 + len(r.Pages)))
			return &page, err
		}},
		"circle": {cut: "more than", pages: firehose.MaxPages - 1, follow: func(_ *linked, r *resource.Response) (*resource.Resource, error) {
			page, err := r.Resource.Page(pageOf(2 + len(r.Pages)%2))
			return &page, err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBoard(span(9, 1)...)
				sink := &linked{}
				sink.follow = func(r *resource.Response) (*resource.Resource, error) { return c.follow(sink, r) }
				r := start(t, b.script, firehose.Config{Sink: sink, Resources: resource.List(uriFeed)})
				until(50 * time.Second)
				if c.cut == "" {
					require.Empty(t, sink.all())
					require.Contains(t, r.explain(uriFeed).Cause, c.cause)
					require.Equal(t, resource.WaitingForServerAlive, r.explain(uriFeed).State)
				} else {
					require.Len(t, sink.all(), 1)
					require.Contains(t, sink.all()[0].Cut, c.cut)
					require.Len(t, sink.all()[0].Pages, c.pages)
				}
				until(10 * time.Minute)
				b.noEarlier(t, uriFeed, time.Minute)
				require.Greater(t, len(b.all(uriFeed)), 2)
				until(10*time.Minute + 50*time.Second)
				require.Zero(t, r.Stats().Publishing)
				require.Zero(t, r.Stats().Holding)
			})
		})
	}
}

// What NewEvents refuses, and what it fills in.
func TestEventsConfig(t *testing.T) {
	reader := feeds.GitHub()
	for field, c := range map[string]firehose.EventsConfig[feeds.Event]{
		"Reader":   {},
		"Sink":     {Reader: reader, Sink: firehose.ItemSinkFunc[feeds.Event](nil)},
		"MaxPages": {Reader: reader, MaxPages: firehose.MaxPages + 1},
		"Overlap":  {Reader: reader, Overlap: -1},
		"Seen":     {Reader: reader, Seen: firehose.MaxSeen + 1},
	} {
		_, err := firehose.NewEvents(c)
		var wrong *firehose.FieldError
		require.ErrorAs(t, err, &wrong, field)
		require.Equal(t, field, wrong.Field)
		require.True(t, strings.HasPrefix(err.Error(), "firehose: events: "), err)
	}
	for _, c := range []firehose.EventsConfig[feeds.Event]{
		{Reader: firehose.ReaderFunc[feeds.Event](nil)}, {Reader: reader, DB: (*feedDB)(nil)}, {Reader: reader, MaxPages: -1}, {Reader: reader, Seen: -1},
	} {
		_, err := firehose.NewEvents(c)
		require.Error(t, err)
	}
	_, err := firehose.NewEvents(firehose.EventsConfig[feeds.Event]{Reader: reader, MaxPages: firehose.MaxPages, Overlap: 1, Seen: firehose.MaxSeen})
	require.NoError(t, err)
	require.Equal(t, "reason-77", firehose.GapReason(77).String())
	text, err := firehose.GapDepth.MarshalText()
	require.NoError(t, err)
	require.Equal(t, "depth", string(text))
}

const (
	rssFeed  = `<rss version="2.0"><channel><title>t</title>%s</channel></rss>`
	rssItem  = `<item><guid>%s</guid><title>%s</title></item>`
	atomFeed = `<feed xmlns="http://www.w3.org/2005/Atom"><title>t</title>%s</feed>`
	atomItem = `<entry><id>%s</id><title>%s</title></entry>`
	jsonFeed = `{"version":"https://jsonfeed.org/version/1.1","title":"t","items":[%s]}`
	jsonItem = `{"id":"%s","content_text":"%s"},`
)

// RSS, Atom and JSON Feed from end to end: entries come once, in order, and one that
// was edited does not come again.
func TestE3_FeedsFromEndToEnd(t *testing.T) {
	for form, f := range map[string][3]string{
		"rss": {rssFeed, rssItem, "application/rss+xml"}, "atom": {atomFeed, atomItem, "application/atom+xml"}, "json": {jsonFeed, jsonItem, "application/feed+json"},
	} {
		t.Run(form, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				entries := [][2]string{{"b", "two"}, {"a", "one"}}
				net := newScript(func(c call) reply {
					var all strings.Builder
					for _, e := range entries {
						all.WriteString(strings.NewReplacer("%s", "\x00").Replace(f[1]))
						text := all.String()
						text = strings.Replace(text, "\x00", e[0], 1)
						text = strings.Replace(text, "\x00", e[1], 1)
						all.Reset()
						all.WriteString(text)
					}
					r := ok(strings.Replace(f[0], "%s", strings.TrimSuffix(all.String(), ","), 1), "")
					r.header["Content-Type"] = f[2]
					return r
				})
				var mu sync.Mutex
				var got []string
				events, err := firehose.NewEvents(firehose.EventsConfig[feeds.Entry]{
					Reader: feeds.Auto(),
					Sink: firehose.ItemSinkFunc[feeds.Entry](func(_ context.Context, b firehose.Batch[feeds.Entry]) error {
						mu.Lock()
						defer mu.Unlock()
						for _, item := range b.Items {
							got = append(got, item.ID+" "+item.Value.Title+item.Value.Content)
						}
						return nil
					}),
				})
				require.NoError(t, err)
				start(t, net, firehose.Config{Sink: events, Resources: resource.List("https://a.test/feed")})
				until(90 * time.Second)
				require.Equal(t, []string{"a one", "b two"}, got)
				net.do(func() { entries = [][2]string{{"c", "three"}, {"b", "two, edited"}, {"a", "one"}} })
				until(150 * time.Second)
				require.Equal(t, []string{"a one", "b two", "c three"}, got)
				require.Zero(t, events.Stats().Gaps)
			})
		})
	}
}
