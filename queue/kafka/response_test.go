package kafka

import (
	"errors"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cannedos/cannedos/resource"
)

func TestDecodeResponse(t *testing.T) {
	records, err := encodeResponse(fullResponse(t), "me/1")
	require.NoError(t, err)
	change := func(key, value string) func(*kgo.Record) {
		return func(r *kgo.Record) {
			for i := range r.Headers {
				if r.Headers[i].Key == key {
					r.Headers[i].Value = []byte(value)
				}
			}
		}
	}
	for name, c := range map[string]struct {
		change func(*kgo.Record)
		want   string
	}{
		"newer":     {change(headFormat, "2"), "newer"},
		"none":      {func(r *kgo.Record) { r.Headers = nil }, "header format: there is no such header"},
		"twice":     {func(r *kgo.Record) { r.Headers = append(r.Headers, header(headURL, "x")) }, "header url: it is there twice"},
		"take":      {change(headTake, ""), "header take"},
		"page":      {change(headPage, "-1"), "header page"},
		"pages":     {change(headPages, "10001"), "header pages"},
		"both":      {change(headPage, "1"), "pages of its own"},
		"status":    {change(headStatus, "1000"), "header status"},
		"outcome":   {change(headOutcome, "better"), "header outcome"},
		"instant":   {change(headSent, "now"), "header sent"},
		"instant 2": {change(headReceived, "0001-01-01T00:00:00Z"), "header received"},
		"resource":  {change(headResource, "\x03"), "header resource"},
		"key":       {func(r *kgo.Record) { r.Key = nil }, "is not the id"},
	} {
		t.Run(name, func(t *testing.T) {
			rec := *records[0]
			rec.Headers = append([]kgo.RecordHeader{}, rec.Headers...)
			c.change(&rec)
			_, err := decodeResponse(&rec)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, name == "newer", errors.Is(err, resource.ErrNewer))
		})
	}
	rec := *records[0]
	rec.Headers = append([]kgo.RecordHeader{header("traceparent", "of"), header("traceparent", "others")}, rec.Headers...)
	_, err = decodeResponse(&rec)
	require.NoError(t, err)
}

func FuzzDecodeResponse(f *testing.F) {
	add := func(rec *kgo.Record) {
		var flat []byte
		for _, h := range rec.Headers {
			flat = append(append(append(append(flat, h.Key...), 0), h.Value...), 0, 0, 1)
		}
		f.Add(rec.Key, rec.Value, flat)
	}
	records, err := encodeResponse(fullResponse(f), "me/1")
	require.NoError(f, err)
	for _, rec := range records {
		add(rec)
	}
	f.Fuzz(func(t *testing.T, key, value, flat []byte) {
		rec := &kgo.Record{Key: key, Value: value, Headers: unflatten(flat)}
		p, err := decodeResponse(rec)
		if err != nil {
			return
		}
		r := p.response
		headers, err := responseHeaders(r, p.take, p.page)
		if err != nil {
			t.Fatalf("what was decoded can't be encoded: %v", err)
		}
		if p.pages > 0 {
			return // its pages are records of their own
		}
		again, err := decodeResponse(&kgo.Record{Key: []byte(r.Resource.ID.String()), Value: r.Body, Headers: headers})
		if err != nil {
			t.Fatalf("%v", err)
		}
		once, err := responseHeaders(again.response, again.take, again.page)
		if err != nil || !reflect.DeepEqual(headers, once) {
			t.Fatalf("%v\n%q\n%q", err, headers, once)
		}
	})
}

// unflatten reads headers as the seeds have them.
func unflatten(flat []byte) (all []kgo.RecordHeader) {
	for len(flat) > 0 && len(all) < 100 {
		end := indexOf(flat, 0, 0, 1)
		one := flat[:end]
		flat = flat[min(len(flat), end+3):]
		at := indexOf(one, 0)
		all = append(all, kgo.RecordHeader{Key: string(one[:at]), Value: one[min(len(one), at+1):]})
	}
	return all
}

func indexOf(b []byte, mark ...byte) int {
	for i := range b {
		if len(b)-i >= len(mark) && reflect.DeepEqual(b[i:i+len(mark)], mark) {
			return i
		}
	}
	return len(b)
}
