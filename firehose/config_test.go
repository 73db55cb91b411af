package firehose_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// picky is a token source with an opinion of itself.
type picky struct{ resource.TokenSource }

func (p *picky) Validate() error {
	if p.TokenSource == nil { // reached only through a pointer that is not nil
		return &firehose.FieldError{Field: "Token", Value: "nil", Want: "a source"}
	}
	return nil
}

// Everything that is wrong with a Config is named: the field, what it holds, and
// what is allowed.
func TestConfigErrors(t *testing.T) {
	profile := func(p resource.Profile) firehose.Config {
		return firehose.Config{Profiles: map[string]resource.Profile{"good": {}, "p": p}}
	}
	spec := func(s resource.Spec) firehose.Config {
		return firehose.Config{Resources: []resource.Spec{{URI: uriB}, s}}
	}
	tiers := func(t ...queue.Tier[string]) firehose.Config { return firehose.Config{Tiers: t} }
	first := queue.Tier[string]{Name: "analyze"}
	for name, c := range map[string]struct {
		config             firehose.Config
		field, value, want string // parts of the error
	}{
		"no URI":             {spec(resource.Spec{}), "Resources[1].URI", `""`, "absolute http or https"},
		"malformed URI":      {spec(resource.Spec{URI: "http://[::1"}), "Resources[1].URI", `"http://[::1"`, "absolute http or https"},
		"another scheme":     {spec(resource.Spec{URI: "ftp://a.test/"}), "Resources[1].URI", `"ftp://a.test/"`, "http or https"},
		"relative URI":       {spec(resource.Spec{URI: "/events"}), "Resources[1].URI", `"/events"`, "absolute"},
		"password":           {spec(resource.Spec{URI: "https://me:hidden@a.test/"}), "Resources[1].URI", `"https://...@a.test/"`, "no user name or password"},
		"fragment":           {spec(resource.Spec{URI: "https://a.test/#x"}), "Resources[1].URI", "#x", "fragment"},
		"spaces":             {spec(resource.Spec{URI: "https://a.test/ b"}), "Resources[1].URI", "", "spaces"},
		"negative interval":  {spec(resource.Spec{URI: uriA, Interval: -time.Second}), "Resources[1].Interval", "-1s", "0 to"},
		"too long interval":  {spec(resource.Spec{URI: uriA, Interval: resource.MaxInterval + 1}), "Resources[1].Interval", "8784h0m0.000000001s", "0 to 8784h0m0s"},
		"media type":         {spec(resource.Spec{URI: uriA, MediaType: "text/html; charset=x"}), "Resources[1].MediaType", `"text/html; charset=x"`, "without parameters"},
		"unknown profile":    {spec(resource.Spec{URI: uriA, Profile: "nobody"}), "Resources[1].Profile", `"nobody"`, "the name of one of Profiles"},
		"bad profile name":   {spec(resource.Spec{URI: uriA, Profile: "no body"}), "Resources[1].Profile", `"no body"`, "letters"},
		"listed twice":       {spec(resource.Spec{URI: uriB, Interval: time.Hour}), "Resources[1]", `"` + uriB + `"`, "not listed already: it is the one of Resources[0]"},
		"unknown dialect":    {profile(resource.Profile{Dialect: "klingon"}), `Profiles["p"].Dialect`, `"klingon"`, `one of "ietf", "github", "gitlab"`},
		"header line break":  {profile(resource.Profile{Header: http.Header{"X-A": {"fine", "a\nSecret: b"}}}), `Profiles["p"].Header["X-A"]`, "line break", "visible characters"},
		"header name":        {profile(resource.Profile{Header: http.Header{"X A": {"b"}}}), `Profiles["p"].Header["X A"]`, "not a header name", "canonical"},
		"header not right":   {profile(resource.Profile{Header: http.Header{"x-a": {"b"}}}), `Profiles["p"].Header["x-a"]`, "not a header name", "canonical"},
		"authorization":      {profile(resource.Profile{Header: http.Header{"Authorization": {"Bearer hidden"}}}), `Profiles["p"].Header["Authorization"]`, "set by the library", "goes through Credential"},
		"cookie":             {profile(resource.Profile{Header: http.Header{"Cookie": {"hidden"}}}), `Profiles["p"].Header["Cookie"]`, "set by the library", "Credential"},
		"own header":         {profile(resource.Profile{Header: http.Header{"If-None-Match": {"x"}}}), `Profiles["p"].Header["If-None-Match"]`, "set by the library", "another name"},
		"no tokens":          {profile(resource.Profile{Credential: "key"}), `Profiles["p"].Credential`, `"key"`, "Tokens to resolve it"},
		"credential name":    {profile(resource.Profile{Credential: "a key"}), `Profiles["p"].Credential`, `"a key"`, "letters"},
		"limit":              {profile(resource.Profile{Limit: resource.Limit{Requests: -1, Per: time.Second}}), `Profiles["p"].Limit.Requests`, "-1", "1 or more"},
		"limit per":          {profile(resource.Profile{Limit: resource.Limit{Requests: 1}}), `Profiles["p"].Limit.Per`, "0s", "at least 1ns"},
		"concurrency":        {profile(resource.Profile{Concurrency: -1}), `Profiles["p"].Concurrency`, "-1", "0 (by dialect) or more"},
		"reserve":            {profile(resource.Profile{Reserve: -1}), `Profiles["p"].Reserve`, "-1", "0 or more"},
		"nil func":           {firehose.Config{Sink: firehose.SinkFunc(nil)}, "Sink", "a nil firehose.SinkFunc", "nil itself"},
		"nil sink":           {firehose.Config{Sink: (*taken)(nil)}, "Sink", "a nil *firehose_test.taken", "nil itself"},
		"nil among sinks":    {firehose.Config{Sink: firehose.Sinks(&taken{}, nil)}, "Sink[1]", "nil", "a value"},
		"nil func in sinks":  {firehose.Config{Sink: firehose.Sinks(firehose.SinkFunc(nil))}, "Sink[0]", "nil", "a value"},
		"nil transport":      {firehose.Config{Transport: (*http.Transport)(nil)}, "Transport", "a nil *http.Transport", "nil itself"},
		"nil DB":             {firehose.Config{DB: (*db.Memory)(nil)}, "DB", "a nil *db.Memory", "nil itself"},
		"nil queue":          {firehose.Config{Queue: (*queue.Memory)(nil)}, "Queue", "a nil *queue.Memory", "nil itself"},
		"nil tokens":         {firehose.Config{Tokens: (*picky)(nil)}, "Tokens", "a nil *firehose_test.picky", "nil itself"},
		"tokens' own":        {firehose.Config{Tokens: &picky{}}, "Tokens.Token", "nil", "a source"},
		"workers":            {firehose.Config{Workers: -1}, "Workers", "-1", "0 (the default) to 4096"},
		"many workers":       {firehose.Config{Workers: 5000}, "Workers", "5000", "to 4096"},
		"publishers":         {firehose.Config{Publishers: -1}, "Publishers", "-1", "to 4096"},
		"sink tries":         {firehose.Config{SinkTries: -1}, "SinkTries", "-1", "to 65536"},
		"body":               {firehose.Config{MaxBody: -1}, "MaxBody", "-1", "0 (the default) to"},
		"publish count":      {firehose.Config{PublishCount: -5}, "PublishCount", "-5", "0 (the default) to"},
		"publish bytes":      {firehose.Config{PublishBytes: -5}, "PublishBytes", "-5", "0 (the default) to"},
		"request timeout":    {firehose.Config{RequestTimeout: -time.Second}, "RequestTimeout", "-1s", "to 1h0m0s"},
		"long timeout":       {firehose.Config{RequestTimeout: 2 * time.Hour}, "RequestTimeout", "2h0m0s", "to 1h0m0s"},
		"stop timeout":       {firehose.Config{StopTimeout: -time.Second}, "StopTimeout", "-1s", "to 1h0m0s"},
		"sink timeout":       {firehose.Config{SinkTimeout: -time.Second}, "SinkTimeout", "-1s", "to 1h0m0s"},
		"jitter":             {firehose.Config{Jitter: -1}, "Jitter", "-1ns", "to 8784h0m0s"},
		"freshness":          {firehose.Config{FreshnessCap: -1}, "FreshnessCap", "-1ns", "to 8784h0m0s"},
		"park":               {firehose.Config{ParkCap: -1}, "ParkCap", "-1ns", "to 8784h0m0s"},
		"user agent":         {firehose.Config{UserAgent: "a\r\nb"}, "UserAgent", `"a\r\nb"`, "printable ASCII"},
		"name":               {firehose.Config{Name: "a//b"}, "Name", "", `the step "" is empty`},
		"first tier":         {tiers(queue.Tier[string]{Name: "ice"}), "Tiers[0].Name", `"ice"`, `"analyze"`},
		"tier of the flow":   {tiers(first, queue.Tier[string]{Name: "publish", From: 1}), "Tiers[1].Name", `"publish"`, "does not use"},
		"tier like an error": {tiers(first, queue.Tier[string]{Name: "publish-error", From: 1}), "Tiers[1].Name", `"publish-error"`, "does not use"},
		"tier like a line":   {tiers(first, queue.Tier[string]{Name: "line/x", From: 1}), "Tiers[1].Name", `"line/x"`, "does not use"},
		"tier order":         {tiers(first, queue.Tier[string]{Name: "a", From: 2}, queue.Tier[string]{Name: "b", From: 1}), "Tiers", "3 tiers", "more than 2ns"},
		"tier twice":         {tiers(first, queue.Tier[string]{Name: "a", From: 2}, queue.Tier[string]{Name: "a", From: 3}), "Tiers", "3 tiers", "no other tier"},
		"tier like another":  {tiers(first, queue.Tier[string]{Name: "a", From: 2}, queue.Tier[string]{Name: "frozen-a", From: 3}), "Tiers", "", "freezer-a"},
		"tier no alias":      {tiers(first, queue.Tier[string]{Name: "a/b", From: 2}), "Tiers", "", "freezer-a/b"},
	} {
		t.Run(name, func(t *testing.T) {
			for range 5 { // the same error each time
				os, err := firehose.New(c.config)
				require.Nil(t, os)
				var field *firehose.FieldError
				require.ErrorAs(t, err, &field)
				require.Equal(t, c.field, field.Field)
				require.Contains(t, field.Value, c.value)
				require.Contains(t, field.Want, c.want)
				require.True(t, strings.HasPrefix(err.Error(), "firehose: config: "), err.Error())
				require.NotContains(t, err.Error(), "hidden")
				_, err2 := firehose.Services(c.config)
				require.EqualError(t, err2, err.Error())
			}
		})
	}
}

// New copies what it keeps, and the zero Config is a good one.
func TestConfigIsCopied(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(call) reply { return ok("", "") })
		specs := resource.List(uriA)
		header := http.Header{"X-A": {"1"}}
		profiles := map[string]resource.Profile{"": {Header: header}}
		tiers := queue.DefaultTiers()
		os, err := firehose.New(firehose.Config{Resources: specs, Profiles: profiles, Tiers: tiers, Transport: net})
		require.NoError(t, err)
		specs[0].URI = uriB
		header["X-A"][0] = "2"
		delete(profiles, "")
		tiers[0].Name = "ice"
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- os.Serve(ctx) }()
		until(time.Second)
		require.Len(t, net.all(uriA), 1)
		require.Equal(t, "1", net.all(uriA)[0].Header.Get("X-A"))
		stop()
		require.NoError(t, <-done)
	})
	bubble(t, func(t *testing.T) {
		os, err := firehose.New(firehose.Config{})
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- os.Serve(ctx) }()
		require.NoError(t, os.Ready(ctx))
		require.Equal(t, firehose.Health{Live: true, Ready: true}, os.Health())
		require.Zero(t, os.Stats().Polls)
		stop()
		require.NoError(t, <-done)
	})
}

// Tiers of the user's are used, and what waits stands in the one for its wait.
func TestOwnTiers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(call) reply { return ok("", "") })
		r := start(t, net, firehose.Config{
			Tiers:     []queue.Tier[string]{{Name: "analyze"}, {Name: "soon", From: time.Second}, {Name: "frozen-day", From: time.Hour}},
			Resources: []resource.Spec{{URI: uriA, Interval: 30 * time.Second}, {URI: uriC, Interval: 5 * time.Hour}, {URI: uriB, Interval: 20 * time.Millisecond}},
		})
		until(time.Second)
		require.Equal(t, "soon", r.explain(uriA).Queue)
		require.Equal(t, "frozen-day", r.explain(uriC).Queue)
		require.GreaterOrEqual(t, len(net.all(uriB)), 49)
		require.NoError(t, r.Remove(t.Context(), idOf(t, uriB)))
		until(11 * time.Hour)
		require.Equal(t, secs(0, 18000, 36000), net.times(uriC))
	})
}

func TestDefaultTransportIsBounded(t *testing.T) {
	// What New makes by itself is not reachable from outside but by its work:
	// see TestRealSockets. Here only that a given one is used as it is.
	used := 0
	bubble(t, func(t *testing.T) {
		r := start(t, newScript(nil), firehose.Config{Resources: resource.List(uriA), Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			used++
			return nil, fmt.Errorf("used")
		})})
		until(time.Second)
		require.Contains(t, r.explain(uriA).Cause, "used")
	})
	require.Equal(t, 1, used)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A transport that returns neither an answer nor an error is a failure like any
// other.
func TestOddTransports(t *testing.T) {
	for name, f := range map[string]roundTrip{
		"nothing": func(*http.Request) (*http.Response, error) { return nil, nil },
		"no body": func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 200}, nil },
		"both": func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: http.NoBody}, errReset
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := start(t, newScript(nil), firehose.Config{Resources: resource.List(uriA), Transport: f})
				until(time.Minute + time.Second)
				require.Equal(t, resource.WaitingForServerAlive, r.explain(uriA).State)
				require.EqualValues(t, 2, r.Stats().Outcomes["failed"])
			})
		})
	}
	bubble(t, func(t *testing.T) {
		r := start(t, newScript(nil), firehose.Config{Resources: resource.List(uriA), Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		})})
		until(time.Second)
		require.Len(t, r.sink.responses, 1, "without any header")
	})
}
