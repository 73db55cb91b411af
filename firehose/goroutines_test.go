package firehose_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// These tests run outside a bubble, over real sockets, and wait for what
// happens, never for time to pass.

// settled waits until no more goroutines run than before. Those of the server's
// side of closed connections end a moment later by themselves.
func settled(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	if runtime.NumGoroutine() > before {
		stacks := make([]byte, 1<<20)
		t.Fatalf("%s", stacks[:runtime.Stack(stacks, true)])
	}
}

// New starts nothing.
func TestNewStartsNothing(t *testing.T) {
	store, err := db.OpenFile(filepath.Join(t.TempDir(), "state"))
	require.NoError(t, err)
	defer store.Close()
	before := runtime.NumGoroutine()
	for range 10 {
		_, err := firehose.New(firehose.Config{Resources: resource.List(uriA, uriB), DB: store})
		require.NoError(t, err)
		_, err = firehose.Services(firehose.Config{Resources: resource.List(uriA)})
		require.NoError(t, err)
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
}

// After Serve has returned there are as many goroutines as before: with idle
// connections, after every call of control, and with a sink that blocks until
// its context ends.
func TestGoroutinesAfterShutdown(t *testing.T) {
	for _, durable := range []bool{false, true} {
		t.Run(fmt.Sprint("durable ", durable), func(t *testing.T) {
			var polls atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n := polls.Add(1)
				w.Header().Set("Etag", fmt.Sprintf(`"%d"`, n))
				fmt.Fprint(w, n)
			}))
			defer server.Close()
			var store db.DB
			if durable {
				file, err := db.OpenFile(filepath.Join(t.TempDir(), "state"))
				require.NoError(t, err)
				defer file.Close()
				store = file
			}
			runtime.GC()
			before := runtime.NumGoroutine()
			var blocked atomic.Int64
			config := firehose.Config{DB: store, Profiles: map[string]resource.Profile{"": {Concurrency: 8}}, StopTimeout: 5 * time.Second, SinkTimeout: time.Minute}
			for i := range 20 {
				config.Resources = append(config.Resources, resource.Spec{URI: fmt.Sprintf("%s/%d", server.URL, i), Interval: 10 * time.Millisecond})
			}
			config.Sink = firehose.SinkFunc(func(ctx context.Context, r *resource.Response) error {
				if polls.Load() < 100 {
					return nil
				}
				blocked.Add(1)
				<-ctx.Done()
				return context.Cause(ctx)
			})
			config.StopTimeout = 200 * time.Millisecond
			os, err := firehose.New(config)
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- os.Serve(ctx) }()
			require.NoError(t, os.Ready(ctx))
			first := idOf(t, config.Resources[0].URI)
			require.NoError(t, os.Pause(ctx, first))
			require.NoError(t, os.Resume(ctx, first))
			require.NoError(t, os.SetInterval(ctx, first, time.Second))
			require.NoError(t, os.Add(ctx, resource.Spec{URI: server.URL + "/added"}))
			require.NoError(t, os.Remove(ctx, idOf(t, config.Resources[1].URI)))
			_, err = os.Explain(ctx, first)
			require.NoError(t, err)
			require.Eventually(t, func() bool { return blocked.Load() > 0 }, time.Minute, time.Millisecond)
			os.Stats()
			cancel()
			require.NoError(t, <-done)
			settled(t, before)
		})
	}
}

// A sink that is deaf to its context is named, and not waited for.
func TestDeafSinkIsNamed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		net := newScript(func(call) reply { return ok("x", "") })
		r := start(t, net, firehose.Config{
			Resources: resource.List(uriA), StopTimeout: 3 * time.Second,
			Sink: firehose.SinkFunc(func(context.Context, *resource.Response) error { <-release; return nil }),
		})
		until(time.Second)
		err := r.stop()
		require.ErrorContains(t, err, "os/publisher")
		require.LessOrEqual(t, at(), 8*time.Second)
		require.False(t, r.Health().Live)
		close(release)
	})
}

// The whole of it over a real socket: gzip, 304, redirects and a truncated
// body.
func TestRealSockets(t *testing.T) {
	var mux http.ServeMux
	var conditional atomic.Int64
	mux.HandleFunc("/feed", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") == `W/"x"` {
			conditional.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		if r.Header.Get("Accept-Encoding") != "gzip" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Etag", `W/"x"`)
		w.Header().Set("Content-Encoding", "gzip")
		fmt.Fprint(w, gzipped("the feed"))
	})
	mux.HandleFunc("/short", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "short")
	})
	mux.HandleFunc("/to", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/feed", http.StatusFound) })
	server := httptest.NewServer(&mux)
	defer server.Close()
	before := runtime.NumGoroutine()
	sink := &taken{}
	every := 20 * time.Millisecond
	os, err := firehose.New(firehose.Config{Sink: sink, Resources: []resource.Spec{
		{URI: server.URL + "/feed", Interval: every}, {URI: server.URL + "/short", Interval: every}, {URI: server.URL + "/to", Interval: every},
	}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- os.Serve(ctx) }()
	require.Eventually(t, func() bool { return conditional.Load() >= 6 && len(sink.bodies()) == 2 }, time.Minute, time.Millisecond)
	e, err := os.Explain(ctx, idOf(t, server.URL+"/short"))
	require.NoError(t, err)
	require.Contains(t, e.Cause, "broke off")
	cancel()
	require.NoError(t, <-done)
	require.Equal(t, []string{"the feed", "the feed"}, sink.bodies())
	settled(t, before)
}
