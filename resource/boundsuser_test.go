package resource

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The bounds of what users and foreign headers may write.

func TestBounds_CharactersOfNames(t *testing.T) {
	const digits, letters = "0123456789", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for c := range 256 {
		s := string([]byte{byte(c)})
		require.Equal(t, strings.Contains(digits+letters+"-_./:", s), checkName("Name", s) == nil, "%q", s)
		require.Equal(t, strings.Contains(digits+letters+"!#$%&'*+-.^_`|~", s), token(s), "%q", s) // RFC 9110, section 5.6.2
	}
	name := strings.Repeat("n", MaxName)
	require.NoError(t, checkName("Name", name))
	require.Error(t, checkName("Name", name+"n"))
}

func TestBounds_CharactersOfHeaders(t *testing.T) {
	for c := range 256 {
		require.Equal(t, c == '\t' || c >= ' ' && c != 0x7f, fieldValue(string([]byte{byte(c)})), "%#x", c)
	}
	value := strings.Repeat("v", maxHeaderValue)
	require.NoError(t, (&Profile{Header: header("X-A", value)}).Validate())
	require.Error(t, (&Profile{Header: header("X-A", value+"v")}).Validate())
}

func TestBounds_Limits(t *testing.T) {
	for p, want := range map[*Profile]bool{
		{Limit: Limit{5, 5}}: true, {Limit: Limit{5, 4}}: false, {Limit: Limit{1, MaxInterval}}: true, {Limit: Limit{1, MaxInterval + 1}}: false,
		{ReservePercent: 99}: true, {ReservePercent: 100}: false,
	} {
		require.Equal(t, want, p.Validate() == nil, "%+v", p)
	}
	for _, l := range []Limit{{}, {0, sec}, {2, 0}, {-1, sec}, {1, -sec}} {
		require.Zero(t, l.Spacing(), "%+v", l)
	}
}

func TestBounds_Hosts(t *testing.T) {
	for _, c := range []byte{0x80, 0xff, '%'} {
		_, err := Origin("https://a" + string([]byte{c}) + "/")
		require.Error(t, err, "%q", c)
	}
}

func TestBounds_WhatErrorsQuote(t *testing.T) {
	long := strings.Repeat("x", 80)
	for s, want := range map[string]string{
		long: `"` + long + `"`, long + "x": `"` + long + `"...`,
		long[:79] + "éé":            `"` + long[:79] + `"...`, // no half of a rune
		strings.Repeat("\x80", 100): `""...`,
	} {
		require.Equal(t, want, clip(s))
	}
	for uri, want := range map[string]string{
		"ftp://u:p@h": `"...@h"`, "a@b": `"...@b"`, "@b": `"...@b"`, "HTTPS://u:p@h": `"https://...@h"`, "http://u:p@h": `"http://...@h"`,
	} {
		require.Equal(t, want, clipURI(uri), uri)
	}
}

func TestBounds_ReasonsInJSON(t *testing.T) {
	text, err := json.Marshal(map[string]any{"uri": "https://a.example/", "why_code": reasons})
	require.NoError(t, err)
	require.Error(t, json.Unmarshal(text, new(Resource)))
	require.Error(t, json.Unmarshal(text, new(Explanation)))
}

func TestH12_PortsOfATrustedMove(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"http://a.example/x", "https://a.example/x", true},
		{"http://a.example:80/x", "https://a.example:443/x", true},
		{"http://a.example:8080/x", "https://a.example/x", false},
		{"http://a.example/x", "https://a.example:8443/x", false},
		{"http://a.example/%zz", "https://a.example/%zz", false},
		{"http://a.example/%zz", "https://a.example/x", false},
		{"http://a.example/x", "https://a.example/%zz", false}, // as a damaged store may have it
	} {
		require.Equal(t, c.want, trusted(c.from, c.to), c)
	}
}

func TestD24_ParametersWithoutNameOrValue(t *testing.T) {
	for _, line := range []string{`</2>; =x; rel=next`, `</2>; title=; rel=next`, `</2>;; rel=next`} {
		next, err := NextPage(linkHeader(line), "https://a.example/1")
		require.NoError(t, err)
		require.Equal(t, "https://a.example/2", next, line)
	}
}

func TestD24_TheLongestLineAndTarget(t *testing.T) {
	const base = "https://a.example/1"
	line := `</2>; rel=next; title="`
	line += strings.Repeat("x", MaxLinkBytes-len(line)-1) + `"`
	require.Len(t, Links(linkHeader(line), base), 1)
	require.Empty(t, Links(linkHeader(line+" "), base))

	long := "https://a.example/" + strings.Repeat("x", MaxURI-len("https://a.example/"))
	got, err := PageURI(base, long)
	require.NoError(t, err)
	require.Equal(t, long, got)
	_, err = PageURI(base, long+"x")
	require.ErrorContains(t, err, "at most 8192 bytes")
}

// plainSource is a source that has nothing to say of itself.
type plainSource struct{ TokenSource }

func TestToken_AKeyringAsksAllOfItsSources(t *testing.T) {
	good, bad := Fixed("name", bearer(t)), Fixed("", bearer(t))
	require.Equal(t, "name", Keyring(nil, good).Credential(GitHubOrigin))
	_, err := Keyring(nil, good).Token(t.Context(), "name", GitHubOrigin)
	require.NoError(t, err)
	sources := Keyring(plainSource{good}, bad).(interface{ Validate() error })
	require.ErrorContains(t, sources.Validate(), "Sources[1]")
}
