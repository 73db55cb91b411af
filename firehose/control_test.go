package firehose_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// stores are the two ways in which wishes are kept.
func stores() map[string]func() db.DB {
	return map[string]func() db.DB{"memory": func() db.DB { return nil }, "durable": func() db.DB { return db.NewMemory() }}
}

func TestAdd(t *testing.T) {
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ctx := t.Context()
				net := newScript(func(c call) reply { return ok(c.URL, "") })
				os, err := firehose.New(firehose.Config{Transport: net, Resources: resource.List(uriA), DB: store()})
				require.NoError(t, err)
				require.NoError(t, os.Add(ctx, resource.Spec{URI: uriB}), "before it serves")
				synctest.Wait()
				require.Empty(t, net.all(""))
				serving, stop := context.WithCancel(ctx)
				done := make(chan error, 1)
				go func() { done <- os.Serve(serving) }()
				require.NoError(t, os.Ready(ctx))
				synctest.Wait()
				require.Len(t, net.all(""), 2)

				require.NoError(t, os.Add(ctx, resource.Spec{URI: uriC, Interval: 10 * time.Second}), "while it serves")
				synctest.Wait()
				require.Len(t, net.all(uriC), 1)
				require.NoError(t, os.Add(ctx), "nothing")

				err = os.Add(ctx, resource.Spec{URI: "https://d.test/"}, resource.Spec{URI: uriA}, resource.Spec{URI: "https://e.test/"}, resource.Spec{URI: uriC})
				require.ErrorIs(t, err, queue.ErrExists)
				require.ErrorContains(t, err, "add "+uriA)
				require.ErrorContains(t, err, "add "+uriC)
				require.NotContains(t, err.Error(), "d.test")
				synctest.Wait()
				require.Len(t, net.all("https://d.test/"), 1)
				require.Len(t, net.all("https://e.test/"), 1)

				for _, bad := range []resource.Spec{
					{URI: "gopher://x"}, {URI: "https://x.test/", Interval: -1}, {URI: "https://x.test/", Profile: "unknown"}, {URI: "https://x.test/", MediaType: "//"},
				} {
					err := os.Add(ctx, resource.Spec{URI: "https://f.test/"}, bad)
					var field *firehose.FieldError
					require.ErrorAs(t, err, &field, bad.URI)
					require.Contains(t, field.Field, "specs[1].")
				}
				synctest.Wait()
				require.Empty(t, net.all("https://f.test/"), "each Spec is checked first")
				until(61 * time.Second)
				require.Len(t, net.all(uriC), 7)
				stop()
				require.NoError(t, <-done)
				require.ErrorIs(t, os.Add(ctx, resource.Spec{URI: "https://g.test/"}), queue.ErrClosed)
			})
		})
	}
}

// What is in already keeps its pause when it is added again.
func TestAddKeepsThePause(t *testing.T) {
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := newScript(func(c call) reply { return ok(c.URL, "") })
				r := start(t, net, firehose.Config{DB: store()})
				ctx := t.Context()
				require.NoError(t, r.Add(ctx, resource.Spec{URI: uriA}))
				synctest.Wait()
				require.NoError(t, r.Pause(ctx, idOf(t, uriA)))
				require.NoError(t, r.SetInterval(ctx, idOf(t, uriA), 7*time.Minute))
				require.ErrorIs(t, r.Add(ctx, resource.Spec{URI: uriA}), queue.ErrExists)
				until(time.Hour)
				require.Len(t, net.all(uriA), 1)
				require.NoError(t, r.Resume(ctx, idOf(t, uriA)))
				until(2*time.Hour - time.Second)
				require.Len(t, net.all(uriA), 1+9)
			})
		})
	}
}

func TestRemove(t *testing.T) {
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ctx := t.Context()
				const line = "https://api.github.com/line"
				net := newScript(func(c call) reply {
					switch {
					case strings.HasSuffix(c.URL, "slow"):
						return reply{body: fmt.Sprint("late ", c.n), slow: 10 * time.Second}
					case strings.HasSuffix(c.URL, "denied"):
						return status(403)
					case strings.Contains(c.URL, "github"):
						return quota(ok(fmt.Sprint(c.n), ""), "core", 60, 0, time.Hour)
					}
					return ok(c.URL, "")
				})
				const slow, denied, head = "https://b.test/slow", "https://d.test/denied", "https://api.github.com/head"
				all := []string{uriA, slow, denied, head, line}
				r := start(t, net, firehose.Config{Resources: resource.List(all...), DB: store()})
				until(5 * time.Second)
				until(61 * time.Second) // head and line stand in the line of their bucket
				queues := []string{r.explain(head).Queue, r.explain(line).Queue}
				require.Equal(t, []string{"line/https://api.github.com#core", "line/https://api.github.com#core"}, queues)
				require.Equal(t, firehose.QueueRequestsError, r.explain(denied).Queue)
				until(75 * time.Second) // a second request of slow is in flight
				require.Equal(t, resource.HasOwner, r.explain(slow).State)
				for _, uri := range all {
					require.NoError(t, r.Remove(ctx, idOf(t, uri)), uri)
				}
				synctest.Wait()
				for _, uri := range all {
					_, err := r.Explain(ctx, idOf(t, uri))
					if uri == slow {
						require.NoError(t, err, "it is finished first")
						continue
					}
					require.ErrorIs(t, err, firehose.ErrUnknown, uri)
					require.ErrorIs(t, r.Remove(ctx, idOf(t, uri)), firehose.ErrUnknown)
				}
				published := len(r.sink.bodies())
				until(85 * time.Second)
				require.Equal(t, published+1, len(r.sink.bodies()), "and published")
				_, err := r.Explain(ctx, idOf(t, slow))
				require.ErrorIs(t, err, firehose.ErrUnknown)
				calls := len(net.all(""))
				until(5 * time.Hour)
				require.Len(t, net.all(""), calls)
				for _, uri := range all {
					require.NoError(t, r.Add(ctx, resource.Spec{URI: uri}), "nothing is left behind: %s", uri)
				}
				synctest.Wait()
				require.Len(t, net.all(""), calls+4, "one of the two of GitHub, and the others")
				require.NoError(t, r.stop())
			})
		})
	}
}

func TestD3_PauseAndResume(t *testing.T) {
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ctx := t.Context()
				net := newScript(func(c call) reply {
					r := ok(fmt.Sprint(c.n), fmt.Sprintf(`"%d"`, c.n))
					if c.URL == uriB {
						r.slow = 5 * time.Second
					}
					return r
				})
				r := start(t, net, firehose.Config{Resources: resource.List(uriA, uriB), DB: store()})
				a, b := idOf(t, uriA), idOf(t, uriB)
				until(2 * time.Second)
				for range 2 { // twice is no error
					require.NoError(t, r.Pause(ctx, a))
					require.NoError(t, r.Pause(ctx, b))
				}
				synctest.Wait()
				require.Equal(t, resource.Paused, r.explain(uriA).State, "at once")
				require.Equal(t, resource.HasOwner, r.explain(uriB).State, "in flight")
				until(6 * time.Second)
				require.Equal(t, resource.Paused, r.explain(uriB).State)
				require.Len(t, r.sink.bodies(), 2, "the answer in flight is published")
				until(10 * time.Hour)
				require.Len(t, net.all(""), 2)
				for range 2 {
					require.NoError(t, r.Resume(ctx, a))
				}
				synctest.Wait()
				require.Len(t, net.all(uriA), 2, "it was due long ago")
				require.Equal(t, `"0"`, net.all(uriA)[1].Header.Get("If-None-Match"))
				require.NoError(t, r.Pause(ctx, a))
				require.NoError(t, r.Resume(ctx, a))
				until(10*time.Hour + 59*time.Second)
				require.Len(t, net.all(uriA), 2, "a resume does not shorten the interval")
				until(10*time.Hour + 61*time.Second)
				require.Len(t, net.all(uriA), 3)
				require.Len(t, net.all(uriB), 1)
				unknown := resource.NewID()
				require.ErrorIs(t, r.Pause(ctx, unknown), firehose.ErrUnknown)
				require.ErrorIs(t, r.Resume(ctx, unknown), firehose.ErrUnknown)
				require.ErrorIs(t, r.SetInterval(ctx, unknown, time.Minute), firehose.ErrUnknown)
				require.NoError(t, r.stop())
			})
		})
	}
}

// A pause in the line of a bucket, at its head and behind it.
func TestD3_PauseInALine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply { return quota(ok(fmt.Sprint(c.n), ""), "core", 60, 0, time.Hour+59*time.Minute) })
		specs := many(4, "")
		r := start(t, net, firehose.Config{Resources: specs})
		until(10 * time.Second)
		var first string
		for _, s := range specs {
			e := r.explain(s.URI)
			require.True(t, strings.HasPrefix(e.Queue, "line/"), e.String())
			if e.Held {
				first = s.URI
			}
		}
		require.NotEmpty(t, first)
		require.NoError(t, r.Pause(t.Context(), idOf(t, first)))
		synctest.Wait()
		require.Equal(t, resource.Paused, r.explain(first).State)
		for _, s := range specs {
			if s.URI != first {
				require.NoError(t, r.Pause(t.Context(), idOf(t, s.URI)))
				break
			}
		}
		until(3 * time.Hour)
		asked := map[string]bool{}
		for _, c := range net.all("") {
			if c.At > time.Minute {
				asked[c.URL] = true
			}
		}
		require.NotContains(t, asked, first)
		require.Len(t, asked, 2)
	})
}

func TestSetInterval(t *testing.T) {
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ctx := t.Context()
				net := newScript(func(c call) reply { return status(200, "X-Poll-Interval", "20") })
				r := start(t, net, firehose.Config{Resources: resource.List(uriA), DB: store()})
				until(time.Second)
				require.NoError(t, r.SetInterval(ctx, idOf(t, uriA), 50*time.Second))
				until(75 * time.Second)
				require.NoError(t, r.SetInterval(ctx, idOf(t, uriA), time.Second))
				until(165 * time.Second)
				require.Equal(t, secs(0, 20, 70, 120, 140, 160), net.times(uriA), "from the next poll on, and never below the origin's")
				for _, bad := range []time.Duration{0, -1, resource.MaxInterval + 1} {
					var field *firehose.FieldError
					err := r.SetInterval(ctx, idOf(t, uriA), bad)
					require.ErrorAs(t, err, &field)
					require.Equal(t, bad.String(), field.Value)
				}
			})
		})
	}
}

// Explain in the states that a resource goes through, as text.
func TestExplainText(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const hub = "https://api.github.com/"
		net := newScript(func(c call) reply {
			switch c.URL {
			case uriA:
				return status(304, "X-Poll-Interval", "90")
			case uriB:
				return reply{slow: 20 * time.Second}
			case uriC:
				return status(404)
			case hub + "a":
				return quota(ok("", ""), "core", 60, 0, 10*time.Minute)
			}
			return status(400)
		})
		r := start(t, net, firehose.Config{Resources: append(resource.List(uriB, uriC, hub+"a", hub+"b", "https://d.test/"), resource.Spec{URI: uriA, Interval: time.Second})})
		until(5 * time.Second)
		for uri, want := range map[string]string{
			uriB:              "https://a.test/b: has-owner, until 2026-01-01T00:01:31.000Z (in 1m26s): a request is under way [D-4]; held by OWNER; in queue requests, in the hands of the requestor",
			uriC:              "https://c.test/c: waiting-for-server-alive, until 2026-01-01T00:02:20.417Z (in 2m15.417s): not found [S-404] (status 404: not found); in queue frozen-1000",
			hub + "b":         "https://api.github.com/b: waiting-for-reset, until 2026-01-01T00:10:01.000Z (in 9m56s): primary rate limit: nothing remains before the reset [G-12]; bucket https://api.github.com#core; in queue line/https://api.github.com#core, in the hands of the gate",
			"https://d.test/": "https://d.test/: error, will not be requested again by itself: the origin does not accept the request [S-400] (status 400: the origin does not accept the request); in queue requests-error",
		} {
			e := r.explain(uri)
			got := e.String()
			if !e.Owner.IsZero() {
				got = strings.ReplaceAll(got, e.Owner.String(), "OWNER")
			}
			require.Equal(t, digits(want), digits(got))
		}
		_, err := r.Explain(t.Context(), resource.NewID())
		require.ErrorIs(t, err, firehose.ErrUnknown)
		require.NoError(t, r.Pause(t.Context(), idOf(t, uriC)))
		synctest.Wait()
		require.Equal(t, digits("https://c.test/c: paused, until it is resumed: paused by the user [D-3] (status 404: not found); in queue frozen-1000"), digits(r.explain(uriC).String()))
	})
}

// digits leaves the numbers out of a text, which depend on jitter.
func digits(s string) string {
	return strings.Map(func(c rune) rune {
		if '0' <= c && c <= '9' || c == '.' || c == 'h' || c == 'm' {
			return -1
		}
		return c
	}, s)
}

// The figures of Stats are those of the script, and they are JSON.
func TestStatsAreTrue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			switch {
			case c.URL == uriB && c.n%2 == 1:
				return reply{err: errReset}
			case c.URL == uriA && c.n == 3:
				return status(302, "Location", "/elsewhere")
			case c.n%5 == 4:
				return ok(fmt.Sprintf("body-%d", c.n), fmt.Sprintf(`"%d"`, c.n))
			}
			r := status(304)
			if c.n == 0 {
				r = ok("0123456789", `"0"`)
			}
			return r
		})
		r := start(t, net, firehose.Config{Resources: []resource.Spec{{URI: uriA, Interval: 10 * time.Second}, {URI: uriB, Interval: 10 * time.Second}, {URI: uriC, Interval: 10 * time.Second}}})
		until(105 * time.Second)
		s := r.Stats()
		require.EqualValues(t, len(net.all("")), s.Requests)
		require.EqualValues(t, len(net.all(""))-1, s.Polls)
		sum := int64(0)
		for _, n := range s.Outcomes {
			sum += n
		}
		require.Equal(t, s.Polls, sum)
		bytes := int64(0)
		for _, p := range r.sink.responses {
			bytes += int64(len(p.Body))
		}
		require.EqualValues(t, len(r.sink.responses), s.Published)
		require.Equal(t, s.Published, s.Outcomes["modified"])
		require.GreaterOrEqual(t, s.Bytes, bytes)
		require.Equal(t, s.Polls, s.Late.Count)
		require.Zero(t, s.Late.Max, "nothing was late")
		total := 0
		for _, d := range s.Queues {
			total += d.Waiting + d.Ready + d.Held
		}
		require.Equal(t, 3, total)
		if s.States != nil { // an optional power of the queue
			n := 0
			for _, of := range s.States {
				n += of
			}
			require.Equal(t, 3, n)
			require.GreaterOrEqual(t, s.States[resource.WaitingForInterval], 2)
		}
		text, err := json.Marshal(s)
		require.NoError(t, err)
		var back map[string]any
		require.NoError(t, json.Unmarshal(text, &back))
		require.Contains(t, back, "late")
		require.EqualValues(t, s.Polls, back["polls"])
		require.Contains(t, back["late"], "p99_ms")
	})
}

func TestServeOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(call) reply { return ok("", "") })
		r := start(t, net, firehose.Config{Resources: resource.List(uriA)})
		synctest.Wait()
		require.ErrorIs(t, r.Serve(t.Context()), firehose.ErrServing)
		require.NoError(t, r.stop())
		require.ErrorIs(t, r.Serve(t.Context()), firehose.ErrServing)
		require.False(t, r.Health().Ready)
	})
	bubble(t, func(t *testing.T) {
		os, err := firehose.New(firehose.Config{Resources: resource.List(uriA)})
		require.NoError(t, err)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, os.Serve(over))
		require.ErrorIs(t, os.Serve(over), firehose.ErrServing)
		h := os.Health()
		require.True(t, h.Live)
		require.False(t, h.Ready)
	})
}

// flaky is a store that can't be read for a while.
type flaky struct {
	db.DB
	bad atomic.Bool
}

func (f *flaky) Scan(ctx context.Context, space string) iter.Seq2[db.Record, error] {
	if space != "registry" || !f.bad.Load() {
		return f.DB.Scan(ctx, space)
	}
	return func(yield func(db.Record, error) bool) { yield(db.Record{}, errReset) }
}

// Health and Ready while things go well, and while they do not.
func TestHealthAndReady(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &flaky{DB: db.NewMemory()}
		store.bad.Store(true)
		net := newScript(func(call) reply { return ok("", "") })
		r := start(t, net, firehose.Config{Resources: resource.List(uriA), DB: store})
		until(time.Second)
		h := r.Health()
		require.True(t, h.Live, "it may pass")
		require.False(t, h.Ready)
		require.Contains(t, strings.Join(h.Reasons, "\n"), "recall: backing off")
		require.Contains(t, strings.Join(h.Reasons, "\n"), errReset.Error())
		soon, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorContains(t, r.Ready(soon), "recall")
		require.Empty(t, net.all(""), "nothing is sent before the parks and wishes were read")

		store.bad.Store(false)
		require.NoError(t, r.Ready(t.Context()), "mended")
		synctest.Wait()
		require.Len(t, net.all(uriA), 1)
		require.Equal(t, firehose.Health{Live: true, Ready: true}, r.Health())
		require.NoError(t, r.stop())
	})
}

func TestResourceFile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "uris")
		var text strings.Builder
		text.WriteString("\ufeff# a comment\r\n\r\n  " + uriA + "\t\r\n" + uriB + "\n#" + uriC + "\n" + uriA + "\n")
		for i := range 600 {
			text.WriteString(fmt.Sprintf("https://host-%d.test/%d\n", i%50, i))
		}
		require.NoError(t, os.WriteFile(name, []byte(text.String()), 0o600))
		net := newScript(func(call) reply { return ok("", "") })
		r := start(t, net, firehose.Config{Resources: resource.List(uriB), ResourceFile: name})
		require.NoError(t, r.Ready(t.Context()))
		until(30 * time.Second)
		require.Len(t, net.all(""), 602, "each once")
		require.Empty(t, net.all(uriC))
		require.NoError(t, r.stop())
	})
	bubble(t, func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "uris")
		require.NoError(t, os.WriteFile(name, []byte(uriA+"\n\nftp://x.test\n"), 0o600))
		r := start(t, newScript(func(call) reply { return ok("", "") }), firehose.Config{ResourceFile: name})
		err := <-r.ended
		require.ErrorContains(t, err, name)
		var field *firehose.FieldError
		require.ErrorAs(t, err, &field)
		require.Equal(t, "line 3.URI", field.Field)
		require.Equal(t, `"ftp://x.test"`, field.Value)
		require.False(t, r.Health().Live)
	})
	bubble(t, func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "none")
		r := start(t, newScript(func(call) reply { return ok("", "") }), firehose.Config{ResourceFile: name})
		err := <-r.ended
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorContains(t, err, name)
	})
}

func TestReadSpecs(t *testing.T) {
	long := "https://a.test/" + strings.Repeat("x", resource.MaxURI)
	for text, want := range map[string]string{
		"":                             "",
		"\n\n# only\n":                 "",
		"https://a.test/\nx":           "line 2.URI",
		long:                           "line 1.URI",
		strings.Repeat("x", 100_000):   "line 1: bufio.Scanner: token too long",
		"https://a.test/\n\xff\xfe":    "line 2.URI",
		"https://user:secret@a.test/x": "line 1.URI",
	} {
		var err error
		n := 0
		for _, e := range firehose.ReadSpecs(strings.NewReader(text)) {
			require.NoError(t, err, "an error is the last pair")
			err = e
			n++
		}
		if want == "" {
			require.NoError(t, err)
			require.Zero(t, n)
			continue
		}
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret")
		require.Less(t, len(err.Error()), 400)
	}
	for range firehose.ReadSpecs(strings.NewReader("https://a.test/\nhttps://b.test/")) {
		break // nothing happens after it
	}
}

func FuzzReadSpecs(f *testing.F) {
	for _, s := range []string{"", "https://a.test/\n#x\n", "\ufeffhttp://b.test:80", "\r\r\n", "https://[::1]/%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var failed error
		for spec, err := range firehose.ReadSpecs(strings.NewReader(text)) {
			if failed != nil {
				t.Fatal("a pair after the error")
			}
			if failed = err; err == nil && spec.Validate() != nil {
				t.Fatalf("%q is not valid", spec.URI)
			}
		}
		if failed == nil && strings.Count(text, "\n") > 0 && strings.Contains(text, "\nnot a uri\n") {
			t.Fatal("a bad line was overlooked")
		}
	})
}
