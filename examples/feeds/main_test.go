package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/resource"
)

func last(t *testing.T, stdout *bytes.Buffer) (s summary) {
	t.Helper()
	lines := bytes.Split(bytes.TrimSpace(stdout.Bytes()), []byte("\n"))
	require.NoError(t, json.Unmarshal(lines[len(lines)-1], &s), "the last line of %s", stdout.Bytes())
	return s
}

func TestRun(t *testing.T) {
	var stdout, stderr bytes.Buffer
	out := filepath.Join(t.TempDir(), "editions")
	require.NoError(t, run(t.Context(), []string{"-for", "2500ms", "-out", out}, &stdout, &stderr))
	s := last(t, &stdout)
	require.Equal(t, 3, s.Feeds)
	require.GreaterOrEqual(t, s.New, int64(3), "the first edition of each")
	require.Equal(t, s.New, s.Kept)
	require.Positive(t, s.Unchanged)
	require.Zero(t, s.Other)
	require.Empty(t, stderr.String())
	require.Contains(t, stdout.String(), "3 feeds, each at most every 1s")

	entries, err := os.ReadDir(out)
	require.NoError(t, err)
	require.Len(t, entries, int(s.Kept))
	for _, entry := range entries {
		body, err := os.ReadFile(filepath.Join(out, entry.Name()))
		require.NoError(t, err)
		if filepath.Ext(entry.Name()) == ".json" {
			require.True(t, json.Valid(body), "%s: %s", entry.Name(), body)
		} else {
			require.True(t, bytes.HasPrefix(body, []byte("<?xml")), "%s: %s", entry.Name(), body)
		}
	}
}

// TestRestart polls a file of URLs twice. The second run finds them asked just
// now, and asks nothing.
func TestRestart(t *testing.T) {
	folder := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var asked atomic.Int32
	feeds := newFeeds(time.Now())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		stop() // what is on its way is finished, and kept
		feeds.ServeHTTP(w, r)
	}))
	defer server.Close()
	file := filepath.Join(folder, "feeds.txt")
	require.NoError(t, os.WriteFile(file, []byte("# one\n"+server.URL+"/rss.xml\n\n"), 0o600))
	args := []string{"-file", file, "-out", folder, "-db", filepath.Join(folder, "feeds.db")}

	var stdout, stderr bytes.Buffer
	require.NoError(t, run(ctx, args, &stdout, &stderr))
	require.Contains(t, stdout.String(), "1 feeds, each at most every 1h0m0s")
	require.EqualValues(t, 1, last(t, &stdout).Kept)

	stdout.Reset()
	require.NoError(t, run(t.Context(), append(args, "-for", "500ms"), &stdout, &stderr))
	require.Zero(t, last(t, &stdout).Polls)
	require.EqualValues(t, 1, asked.Load(), "requests in both runs")
}

func TestFileName(t *testing.T) {
	r := &resource.Response{Received: time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC), Header: http.Header{}}
	r.Resource.ID = resource.NewID()
	for contentType, ending := range map[string]string{
		"application/rss+xml; charset=utf-8": "xml", "text/xml": "xml", "application/feed+json": "json",
		"text/html": "raw", "": "raw", "../../etc/passwd": "raw", "x/../../json": "raw",
	} {
		r.Header.Set("Content-Type", contentType)
		name := fileName(r)
		require.Equal(t, r.Resource.ID.String()+"-20300102T030405.000000006Z."+ending, name, contentType)
		require.True(t, filepath.IsLocal(name))
		require.False(t, strings.ContainsAny(name, `/\:`))
	}
}

func TestBadArguments(t *testing.T) {
	folder := t.TempDir()
	file := func(text string) string {
		name := filepath.Join(folder, "feeds.txt")
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		return name
	}
	var stdout, stderr bytes.Buffer
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"https://example.org/feed"}, "-file"},
		{[]string{"-for", "-1s"}, "-for -1s"},
		{[]string{"-interval", "-1s", "-out", folder}, "Interval"},
		{[]string{"-file", filepath.Join(folder, "none")}, "none"},
		{[]string{"-file", file("# nothing\n")}, "no URL in it"},
	} {
		require.ErrorContains(t, run(t.Context(), c.args, &stdout, &stderr), c.want)
	}
	require.ErrorContains(t, run(t.Context(), []string{"-file", file("https://example.org/\nfeed\n")}, &stdout, &stderr), "line 2")
	require.ErrorIs(t, run(t.Context(), []string{"-h"}, &stdout, &stderr), flag.ErrHelp)
}
