package resource

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOrigin_NormalForm(t *testing.T) {
	for uri, want := range map[string]string{
		"https://api.github.com/events":        "https://api.github.com",
		"HTTPS://API.GitHub.com:443":           "https://api.github.com",
		"https://api.github.com:/":             "https://api.github.com",
		"http://a.example:80/?q":               "http://a.example",
		"http://a.example:443/":                "http://a.example:443",
		"https://a.example:08443/":             "https://a.example:8443",
		"http://[::1]:8080/x":                  "http://[::1]:8080",
		"http://[2001:DB8::1]/":                "http://[2001:db8::1]",
		"http://127.0.0.1":                     "http://127.0.0.1",
		"https://xn--bcher-kva.example/%C3%BC": "https://xn--bcher-kva.example",
		"https://a.example/@user?mail=a@b":     "https://a.example",
	} {
		origin, err := Origin(uri)
		require.NoError(t, err, uri)
		require.Equal(t, want, origin)
		again, err := Origin(origin)
		require.NoError(t, err)
		require.Equal(t, origin, again)
	}
}

func TestSpec_BadURIs(t *testing.T) {
	const absolute = "an absolute http or https URI with a host"
	for uri, want := range map[string]string{
		"":                              absolute,
		"a.example/events":              absolute,
		"/events":                       absolute,
		"//a.example/events":            absolute,
		"ftp://a.example/":              absolute,
		"https:a.example":               absolute,
		"https://":                      absolute,
		"https://:80/":                  absolute,
		"https://[::1":                  absolute,
		"https://a.example/%zz":         absolute,
		"https://a.example/a b":         "no spaces or control characters",
		"https://a.example/\r\nHost: b": "no spaces or control characters",
		"https://a.example/\x7f":        "no spaces or control characters",
		"https://u@a.example/":          "no user name or password: name a credential in the profile instead",
		"https://u:p@a.example/":        "no user name or password: name a credential in the profile instead",
		"https://a.example/#top":        "no fragment: it is never sent",
		"https://a.example/#":           "no fragment: it is never sent",
		"https://a.example:0/":          "a port from 1 to 65535",
		"https://a.example:65536/":      "a port from 1 to 65535",
		"https://bücher.example/":       "a host in ASCII without a zone: an international name is written as xn--...",
		"http://[fe80::1%25eth0]/":      "a host in ASCII without a zone: an international name is written as xn--...",
		"https://a.example/" + strings.Repeat("x", MaxURI): "at most 8192 bytes",
	} {
		_, err := New(Spec{URI: uri}, "")
		e, ok := errors.AsType[*FieldError](err)
		require.True(t, ok, uri)
		require.Equal(t, "URI", e.Field, uri)
		require.Equal(t, want, e.Want, uri)
		require.LessOrEqual(t, len(e.Value), 90)
	}
}

// However a URI is broken, what could be a password stays out of the error.
func TestSpec_ErrorsShowNoPassword(t *testing.T) {
	const pass = "hunter2"
	for _, uri := range []string{
		"https://user:" + pass + "@a.example/", "https:/user:" + pass + "@a.example/", "user:" + pass + "@a.example",
		"https://user:" + pass + "/with/slash@a.example/", "https://user:" + pass + "?@a.example/", "https://user:" + pass + "#@a.example/",
		"https://user:" + pass + "@a.example/ @b", "HTTPS://user:" + pass + "@a.example:99999/", pass + "//u@a.example", "https://" + pass + "%zz@a.example",
	} {
		_, err := Origin(uri)
		require.Error(t, err, uri)
		require.NotContains(t, err.Error(), pass)
		require.Contains(t, err.Error(), "@", "the rest is shown")
	}
}

func TestSpec_OtherFields(t *testing.T) {
	good := Spec{URI: "https://a.example/", Interval: MaxInterval, Profile: "team/mirror-1", MediaType: "application/activity+json", Priority: -128}
	require.NoError(t, good.Validate())
	for want, s := range map[string]Spec{
		`resource: Interval: -1ns: want 0 to 8784h0m0s`:                                                                                {Interval: -1},
		`resource: Interval: 8784h0m0.000000001s: want 0 to 8784h0m0s`:                                                                 {Interval: MaxInterval + 1},
		`resource: Profile: "a b": want at most 128 of letters, digits and - _ . / :`:                                                  {Profile: "a b"},
		`resource: Profile: "a\nb": want at most 128 of letters, digits and - _ . / :`:                                                 {Profile: "a\nb"},
		`resource: Profile: "` + strings.Repeat("x", 80) + `"...: want at most 128 of letters, digits and - _ . / :`:                   {Profile: strings.Repeat("x", MaxName+1)},
		`resource: MediaType: "json": want a media type without parameters or wildcards, such as application/json`:                     {MediaType: "json"},
		`resource: MediaType: "text/html; charset=utf-8": want a media type without parameters or wildcards, such as application/json`: {MediaType: "text/html; charset=utf-8"},
		`resource: MediaType: "text/*": want a media type without parameters or wildcards, such as application/json`:                   {MediaType: "text/*"},
		`resource: MediaType: "a/b/c": want a media type without parameters or wildcards, such as application/json`:                    {MediaType: "a/b/c"},
		`resource: MediaType: "/": want a media type without parameters or wildcards, such as application/json`:                        {MediaType: "/"},
		`resource: MediaType: " text/html": want a media type without parameters or wildcards, such as application/json`:               {MediaType: " text/html"},
	} {
		s.URI = "https://a.example/"
		require.EqualError(t, s.Validate(), want)
	}
	_, err := New(Spec{URI: "https://a.example/"}, "no spaces")
	require.EqualError(t, err, `resource: Credential: "no spaces": want at most 128 of letters, digits and - _ . / :`)
	require.Equal(t, "Resources[2].Interval", (&FieldError{Field: "Interval"}).In("Resources[2]").Field)
}

func TestNew_DerivesTheSameIDForTheSameWish(t *testing.T) {
	a, err := New(Spec{URI: "https://a.example/x"}, "token")
	require.NoError(t, err)
	b, err := New(Spec{URI: "https://a.example/x", Interval: time.Hour, Priority: 3}, "")
	require.NoError(t, err)
	require.Equal(t, a.ID, b.ID)
	c, err := New(Spec{URI: "https://a.example/x", Profile: "other"}, "token")
	require.NoError(t, err)
	require.NotEqual(t, a.ID, c.ID)
	given := NewID()
	d, err := New(Spec{URI: "https://a.example/x", ID: given}, "token")
	require.NoError(t, err)
	require.Equal(t, given, d.ID)

	require.Equal(t, Scope{"token", "https://a.example"}, a.Scope())
	require.Equal(t, "token@https://a.example", a.Scope().String())
	require.Equal(t, "https://a.example", b.Scope().String())
	require.Equal(t, "token@https://a.example", a.Key().String())
	a.Bucket = "core"
	require.Equal(t, "token@https://a.example#core", a.Key().String())
	require.Equal(t, a.URI, a.Target())
	a.Hop = "https://b.example/"
	require.Equal(t, a.Hop, a.Target())
}

func TestID_Texts(t *testing.T) {
	seen := map[ID]bool{}
	for range 100 {
		id := NewID()
		require.False(t, seen[id])
		seen[id] = true
		require.Equal(t, byte(4), id[6]>>4, "version 4")
		require.Equal(t, byte(2), id[8]>>6, "variant of RFC 9562")
		back, err := ParseID(strings.ToUpper(id.String()))
		require.NoError(t, err)
		require.Equal(t, id, back)
	}
	child := DeriveID(NewID(), "page 2")
	require.Equal(t, byte(8), child[6]>>4, "version 8")
	require.True(t, ID{}.IsZero())
	require.True(t, Owner{}.IsZero())
	owner := NewOwner()
	require.False(t, owner.IsZero())
	text, err := owner.MarshalText()
	require.NoError(t, err)
	var back Owner
	require.NoError(t, back.UnmarshalText(text))
	require.Equal(t, owner, back)
	for _, bad := range []string{
		"", "6ba7b810-9dad-11d1-80b4-00c04fd430c", "6ba7b810-9dad-11d1-80b4-00c04fd430c88", "6ba7b8109-dad-11d1-80b4-00c04fd430c8",
		"6ba7b810-9dad-11d1-80b4-00c04fd430cg", "{6ba7b810-9dad-11d1-80b4-00c04fd430}", strings.Repeat("é", 200),
	} {
		_, err := ParseID(bad)
		e, ok := errors.AsType[*FieldError](err)
		require.True(t, ok, bad)
		require.Equal(t, "ID", e.Field)
		require.Error(t, back.UnmarshalText([]byte(bad)))
		require.Equal(t, owner, back)
	}
}

func TestProfile_Validate(t *testing.T) {
	good := Profile{
		Header:  http.Header{"User-Agent": {"mirror/1 (me@a.example)"}, "Accept": {"application/json\t"}},
		Dialect: "github", Credential: "GITHUB_TOKEN", Limit: Limit{10, time.Second}, Concurrency: 3, Reserve: 5,
	}
	require.NoError(t, good.Validate())
	require.NoError(t, (&Profile{}).Validate())
	for want, p := range map[string]Profile{
		`Header["user-agent"]: not a header name: want a canonical name such as User-Agent`:                                                         {Header: http.Header{"user-agent": {"x"}}},
		`Header["A B"]: not a header name: want a canonical name such as User-Agent`:                                                                {Header: http.Header{"A B": {"x"}}},
		`Header["If-None-Match"]: set by the library, or a secret: want another name; a secret goes through Credential`:                             {Header: http.Header{"If-None-Match": {"x"}, "Range": {"x"}}},
		`Header["Authorization"]: set by the library, or a secret: want another name; a secret goes through Credential`:                             {Header: http.Header{"Authorization": {secret()}}},
		`Header["X-Api-Key"]: set by the library, or a secret: want another name; a secret goes through Credential`:                                 {Header: http.Header{"X-Api-Key": {secret()}}},
		`Header["X-A"]: a value too long, or with a line break or another control character: want at most 8192 visible characters, spaces and tabs`: {Header: http.Header{"X-A": {"fine", secret() + "\r\nX-B: 1"}}},
		`Header["X-B"]: a value too long, or with a line break or another control character: want at most 8192 visible characters, spaces and tabs`: {Header: http.Header{"X-B": {strings.Repeat("x", 8193)}}},
		`Dialect: "git hub": want at most 128 of letters, digits and - _ . / :`:                                                                     {Dialect: "git hub"},
		`Credential: "a b": want at most 128 of letters, digits and - _ . / :`:                                                                      {Credential: "a b"},
		`Limit.Requests: 0: want 1 or more, or a zero Limit for none`:                                                                               {Limit: Limit{0, time.Second}},
		`Limit.Per: 0s: want at least 1ns a request, at most 8784h0m0s`:                                                                             {Limit: Limit{1, 0}},
		`Limit.Per: 9ns: want at least 1ns a request, at most 8784h0m0s`:                                                                            {Limit: Limit{10, 9}},
		`Limit.Per: 8785h0m0s: want at least 1ns a request, at most 8784h0m0s`:                                                                      {Limit: Limit{10, MaxInterval + time.Hour}},
		`Concurrency: -1: want 0 (by dialect) or more`:                                                                                              {Concurrency: -1},
		`Reserve: -1: want 0 or more`: {Reserve: -1},
	} {
		for range 5 { // the same fault every time, whatever the order of a map
			require.EqualError(t, p.Validate(), "resource: "+want)
		}
	}
}

// Rounded down, an eighth request would fit into a second of seven.
func TestLimit_SpacingRoundsUp(t *testing.T) {
	for _, l := range []Limit{{7, time.Second}, {1, time.Hour}, {3, time.Nanosecond * 3}, {999, time.Minute}, {1, 1}} {
		require.GreaterOrEqual(t, l.Spacing()*time.Duration(l.Requests), l.Per)
		require.Less(t, l.Spacing()*time.Duration(l.Requests), l.Per+time.Duration(l.Requests))
	}
	require.Zero(t, Limit{}.Spacing())
	require.True(t, Limit{}.IsZero())
	require.False(t, Limit{Requests: 1}.IsZero())
}
