package firehose_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// lockedBuffer is where logs go that are searched.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// spill is a script whose failures tell everything about the request, as careless
// transports and origins do.
func spill(secret string) *script {
	dump := func(c call) string { return fmt.Sprintf("GET %s %v %q", c.URL, c.Header, c.Header) }
	return newScript(func(c call) reply {
		echo := map[string]string{
			"Etag": `"` + secret + `"`, "Last-Modified": secret, "X-Echo": "Bearer " + secret, "X-Ratelimit-Resource": secret,
			"Retry-After": secret, "Content-Type": "text/" + secret, "X-Query": url.QueryEscape(secret),
		}
		switch {
		case strings.HasSuffix(c.URL, "/good"):
			return ok(fmt.Sprint(c.n), fmt.Sprintf(`"%d"`, c.n))
		case strings.HasSuffix(c.URL, "/echo"):
			return reply{body: fmt.Sprint(c.n), header: echo}
		case strings.HasSuffix(c.URL, "/type"):
			return reply{body: "x", header: echo}
		case strings.HasSuffix(c.URL, "/error"):
			return reply{err: errors.New(dump(c))}
		case strings.HasSuffix(c.URL, "/wrapped"):
			return reply{err: &url.Error{Op: "Get", URL: c.URL, Err: fmt.Errorf("%w: %s", errReset, dump(c))}}
		case strings.HasSuffix(c.URL, "/panic"):
			return reply{boom: dump(c)}
		case strings.HasSuffix(c.URL, "/panic-error"):
			return reply{boom: errors.New(dump(c))}
		case strings.HasSuffix(c.URL, "/body"):
			return reply{body: "half", tail: errors.New(dump(c))}
		case strings.HasSuffix(c.URL, "/redirect"):
			return status(302, "Location", "https://evil.test/?got="+secret)
		case strings.HasSuffix(c.URL, "/moved"):
			return status(301, "Location", "/there?got="+secret)
		case strings.HasSuffix(c.URL, "/out"):
			return status(301, "Location", "https://evil.test/plain")
		case strings.HasSuffix(c.URL, "/403"):
			return reply{status: 403, body: dump(c), header: echo}
		case strings.HasSuffix(c.URL, "/400"):
			return reply{status: 400, body: dump(c), header: echo}
		case strings.HasSuffix(c.URL, "/410"):
			return reply{status: 410, body: dump(c), header: echo}
		case strings.HasSuffix(c.URL, "/429"):
			return reply{status: 429, body: "secondary rate limit " + dump(c), header: map[string]string{"Retry-After": "40", "Gh-Limited-By": secret}}
		}
		return ok("", "")
	})
}

// A token that was given to the library is found in the requests at its own
// origin, and in not one byte of anything else.
func TestD24_TokensAreNowhereElse(t *testing.T) {
	secret := strings.Join([]string{"made", "Up", "0451", "by", "the", "test"}, "-x-")
	dir := t.TempDir()
	for _, form := range []string{"bearer", "header", "basic"} {
		t.Run(form, func(t *testing.T) {
			bubble(t, func(t *testing.T) { keepSecret(t, form, secret, filepath.Join(dir, form)) })
		})
	}
}

func keepSecret(t *testing.T, form, secret, dir string) {
	token, err := resource.BearerToken(secret)
	switch form {
	case "header":
		token, err = resource.HeaderToken("X-Api-Key", secret)
	case "basic":
		token, err = resource.HeaderToken("Authorization", "Basic "+secret)
	}
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(dir, 0o700))
	store, err := db.OpenFile(filepath.Join(dir, "state"))
	require.NoError(t, err)

	net := spill(secret)
	text, lines := &lockedBuffer{}, &lockedBuffer{}
	all := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
	sink := &taken{refuse: func(n int, r *resource.Response) error {
		switch n % 4 {
		case 1:
			return fmt.Errorf("sink refuses %+v", r)
		case 2:
			panic(fmt.Sprintf("sink panics over %#v", *r))
		}
		return nil
	}}
	config := firehose.Config{
		Profiles: map[string]resource.Profile{"p": {Credential: "the-name", Concurrency: 8}}, Workers: 8,
		Tokens: resource.Keyring(resource.Fixed("the-name", token, "https://own.test", "https://limited.test")),
		Logger: slog.New(slog.NewMultiHandler(slog.NewTextHandler(text, all), slog.NewJSONHandler(lines, all))),
		DB:     store, Sink: sink, SinkTries: 2, Observer: sink.observe,
	}
	for _, path := range []string{
		"good", "echo", "type", "error", "wrapped", "panic", "panic-error", "body", "redirect", "moved", "out", "403", "400", "410",
	} {
		spec := resource.Spec{URI: "https://own.test/" + path, Profile: "p", Interval: 5 * time.Second}
		if path == "type" {
			spec.MediaType = "text/plain"
		}
		config.Resources = append(config.Resources, spec)
	}
	config.Resources = append(config.Resources, resource.Spec{URI: "https://limited.test/429", Profile: "p"}, resource.Spec{URI: "https://evil.test/mine"})
	r := start(t, net, config)
	var found []string
	look := func(where, what string) {
		for _, form := range []string{secret, url.QueryEscape(secret), fmt.Sprintf("%x", secret), base64Of(secret)} {
			if strings.Contains(what, form) {
				found = append(found, where)
			}
		}
	}
	for i := range 30 {
		until(time.Duration(i*10) * time.Second)
		text, err := json.Marshal(r.Stats())
		require.NoError(t, err)
		look("stats", string(text)+fmt.Sprintf("%+v %#v", r.Stats(), r.Stats()))
		look("health", fmt.Sprintf("%+v", r.Health()))
		for _, spec := range config.Resources {
			e, err := r.Explain(context.Background(), id(t, spec))
			text, _ := json.Marshal(e)
			look("explain", e.String()+fmt.Sprintf("%+v %#v %v", e, e, err)+string(text))
		}
		for _, name := range firehose.ErrorQueues() {
			for _, b := range r.errorsIn(name) {
				text, _ := json.Marshal(b)
				look("errors", fmt.Sprintf("%+v %#v", b, b)+string(text))
			}
		}
	}
	look("the OS", fmt.Sprintf("%v %+v %#v", r.OS, r.OS, r.OS))
	require.NoError(t, r.stop())
	look("reflection", strings.Join(reachable(r.OS, net), "\x00"))
	require.NoError(t, store.Close())
	look("the log as text", text.b.String())
	look("the log as JSON", lines.b.String())
	for _, e := range sink.events {
		text, _ := json.Marshal(e)
		look("events", fmt.Sprintf("%+v", e)+string(text))
	}
	for _, p := range sink.responses {
		look("responses", fmt.Sprintf("%+v %s", *p, p.Body))
	}
	files := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		content, err := os.ReadFile(path)
		look("state file", string(content))
		return err
	}))
	require.Positive(t, files)
	require.Empty(t, found)

	carried := 0
	for _, c := range net.all("") {
		has := strings.Contains(fmt.Sprint(c.URL, c.Header), secret)
		own := strings.HasPrefix(c.URL, "https://own.test/") || strings.HasPrefix(c.URL, "https://limited.test/")
		require.Equal(t, own, has, c.URL)
		require.NotContains(t, c.URL, secret)
		for name, values := range c.Header {
			if name != "Authorization" && name != "X-Api-Key" {
				require.NotContains(t, fmt.Sprint(values), secret, name)
			}
		}
		if has {
			carried++
		}
	}
	require.Greater(t, carried, 100)
	require.Greater(t, text.b.Len(), 10_000, "there is something to search")
	require.Contains(t, sink.kinds(), "dropped")
}

func base64Of(s string) string {
	text, _ := json.Marshal([]byte(s))
	return strings.Trim(string(text), `"=`)[:len(s)]
}

// reachable collects every text that can be reached from v by reflection,
// unexported fields included, but through the one value that is left out.
func reachable(v, but any) (texts []string) {
	seen := map[[2]uintptr]bool{}
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.String:
			texts = append(texts, v.String())
		case reflect.Pointer:
			key := [2]uintptr{v.Pointer(), uintptr(reflect.ValueOf(v.Type()).Pointer())}
			if v.IsNil() || seen[key] || v.Pointer() == reflect.ValueOf(but).Pointer() || v.Type().PkgPath() == "testing" {
				return
			}
			seen[key] = true
			walk(v.Elem())
		case reflect.Interface:
			walk(v.Elem())
		case reflect.Struct:
			if v.Type().PkgPath() == "testing" {
				return
			}
			for _, field := range v.Fields() {
				walk(field)
			}
		case reflect.Map:
			for it := v.MapRange(); it.Next(); {
				walk(it.Key())
				walk(it.Value())
			}
		case reflect.Slice, reflect.Array:
			if v.Type().Elem().Kind() == reflect.Uint8 {
				b := make([]byte, v.Len())
				for i := range b {
					b[i] = byte(v.Index(i).Uint())
				}
				texts = append(texts, string(b))
				return
			}
			if k := v.Type().Elem().Kind(); k <= reflect.Complex128 && k != reflect.Invalid {
				return
			}
			for i := range v.Len() {
				walk(v.Index(i))
			}
		}
	}
	walk(reflect.ValueOf(v))
	return texts
}

// The search finds a secret wherever it may hide: else it would prove nothing.
func TestReachableFinds(t *testing.T) {
	type inner struct{ m map[string]any }
	type outer struct {
		b []byte
		p *inner
		r io.Reader
		h http.Header
	}
	v := &outer{[]byte("one"), &inner{map[string]any{"two": []any{"three"}}}, strings.NewReader("four"), http.Header{"Five": {"six"}}}
	require.Subset(t, reachable(v, &inner{}), []string{"one", "two", "three", "four", "Five", "six"})
}
