package firehose_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

func response(t *testing.T, body string) *resource.Response {
	t.Helper()
	r, err := resource.New(resource.Spec{URI: uriA}, "")
	require.NoError(t, err)
	return &resource.Response{
		Resource: r, URL: uriA, Status: 200, Header: http.Header{"Etag": {`W/"1"`}}, Body: []byte(body), Outcome: resource.Modified,
		Received: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600)),
	}
}

func TestJSONLines(t *testing.T) {
	var out bytes.Buffer
	sink := firehose.JSONLines(&out)
	elsewhere := response(t, "")
	elsewhere.URL, elsewhere.Status, elsewhere.Outcome, elsewhere.Header = uriB, 410, resource.Retired, nil
	for _, r := range []*resource.Response{
		response(t, "{\"a\":\n [1, \"\\u2028<&\"]}"), response(t, "text\nof two lines"), response(t, "\xff\x00binary"), elsewhere,
	} {
		require.NoError(t, sink.Take(t.Context(), r))
	}
	require.Equal(t, 4, strings.Count(out.String(), "\n"), "a line for each")
	var lines []firehose.Line
	for text := range strings.Lines(out.String()) {
		var l firehose.Line
		require.NoError(t, json.Unmarshal([]byte(text), &l2{&l}))
		lines = append(lines, l)
	}
	require.Equal(t, idOf(t, uriA), lines[0].ID)
	require.Equal(t, uriA, lines[0].URI)
	require.Empty(t, lines[0].URL)
	require.Equal(t, `W/"1"`, lines[0].ETag)
	require.Equal(t, time.Date(2026, 1, 2, 2, 4, 5, 6, time.UTC), lines[0].Received)
	require.JSONEq(t, "{\"a\":[1,\"\\u2028<&\"]}", string(lines[0].Body))
	require.Equal(t, "text\nof two lines", lines[1].Text)
	require.Nil(t, lines[1].Body)
	require.Equal(t, "\xff\x00binary", string(lines[2].Bytes))
	require.Equal(t, uriB, lines[3].URL)
	require.Equal(t, 410, lines[3].Status)
	require.Contains(t, out.String(), `"outcome":"retired"`)
}

// l2 reads a Line whose outcome, which is written as a word, is not looked at.
type l2 struct{ *firehose.Line }

func (l *l2) UnmarshalJSON(b []byte) error {
	var v struct {
		ID       resource.ID     `json:"id"`
		URI      string          `json:"uri"`
		URL      string          `json:"url"`
		Status   int             `json:"status"`
		ETag     string          `json:"etag"`
		Received time.Time       `json:"received"`
		Body     json.RawMessage `json:"body"`
		Text     string          `json:"text"`
		Bytes    []byte          `json:"bytes"`
	}
	err := json.Unmarshal(b, &v)
	*l.Line = firehose.Line{ID: v.ID, URI: v.URI, URL: v.URL, Status: v.Status, ETag: v.ETag, Received: v.Received, Body: v.Body, Text: v.Text, Bytes: v.Bytes}
	return err
}

// full is a writer with room for so many writes.
type full struct {
	bytes.Buffer
	room int
}

func (f *full) Write(p []byte) (int, error) {
	if f.room--; f.room < 0 {
		return 0, errors.New("no space left")
	}
	return f.Buffer.Write(p)
}

// After a write error it keeps saying so, whatever the writer says by then.
func TestJSONLinesKeepsItsError(t *testing.T) {
	out := &full{room: 1}
	sink := firehose.JSONLines(out)
	require.NoError(t, sink.Take(t.Context(), response(t, "one")))
	require.ErrorContains(t, sink.Take(t.Context(), response(t, "two")), "no space left")
	out.room = 100
	require.ErrorContains(t, sink.Take(t.Context(), response(t, "three")), "no space left")
	require.Equal(t, 1, strings.Count(out.String(), "\n"))
}

// Lines of many goroutines do not mix, whatever their length.
func TestJSONLinesTogether(t *testing.T) {
	var out bytes.Buffer
	sink := firehose.JSONLines(&out)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 20 {
				if err := sink.Take(context.Background(), response(t, strings.Repeat("x", i*20_000))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	n := 0
	for line := range bytes.Lines(out.Bytes()) {
		require.True(t, json.Valid(line))
		n++
	}
	require.Equal(t, 160, n)
}

func TestSinks(t *testing.T) {
	var order []string
	sink := func(name string, err error) firehose.Sink {
		return firehose.SinkFunc(func(_ context.Context, r *resource.Response) error {
			order = append(order, name)
			return err
		})
	}
	one, two := errors.New("one"), errors.New("two")
	r := response(t, "")
	require.NoError(t, firehose.Sinks().Take(t.Context(), r))
	require.NoError(t, firehose.Sinks(sink("a", nil), sink("b", nil)).Take(t.Context(), r))
	err := firehose.Sinks(sink("c", one), sink("d", nil), sink("e", two)).Take(t.Context(), r)
	require.ErrorIs(t, err, one)
	require.ErrorIs(t, err, two)
	require.EqualError(t, err, "sink 1 of 3: one\nsink 3 of 3: two")
	require.Equal(t, []string{"a", "b", "c", "d", "e"}, order, "each is offered it, in order")
}

func TestLogSink(t *testing.T) {
	var out bytes.Buffer
	sink := firehose.LogSink(slog.New(slog.NewJSONHandler(&out, nil)))
	require.NoError(t, sink.Take(t.Context(), response(t, "the body itself")))
	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))
	require.Equal(t, "published", line["msg"])
	require.Equal(t, uriA, line["uri"])
	require.EqualValues(t, 15, line["bytes"])
	require.Equal(t, "modified", line["outcome"])
	require.NotContains(t, out.String(), "the body itself")
}

func TestEventKinds(t *testing.T) {
	seen := map[string]bool{}
	for k := firehose.EventParked; k <= firehose.EventForfeited; k++ {
		text, err := k.MarshalText()
		require.NoError(t, err)
		require.Equal(t, k.String(), string(text))
		require.False(t, seen[k.String()])
		seen[k.String()] = true
	}
	require.Equal(t, "event-200", firehose.EventKind(200).String())
}
