package resource

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// secret is what must appear nowhere. It is made at run time, so that no scanner
// takes it for a real one.
func secret() string { return "ghp_" + strings.Repeat("s3cr3t", 6) }

func bearer(t *testing.T) Token {
	t.Helper()
	token, err := BearerToken(secret())
	require.NoError(t, err)
	return token
}

// silent fails the test if the secret, in any dress, is in text.
func silent(t *testing.T, what, text string) {
	t.Helper()
	for _, dress := range []string{secret(), hex.EncodeToString([]byte(secret())), fmt.Sprintf("% x", secret()), fmt.Sprint([]byte(secret()))} {
		require.NotContains(t, text, dress, what)
	}
}

func TestToken_ShowsItselfToNobody(t *testing.T) {
	token := bearer(t)
	type inside struct {
		Token   Token
		Pointer *Token
		hidden  Token
		Map     map[string]Token
		Any     any
		List    []Token
	}
	values := map[string]any{
		"token": token, "pointer": &token,
		"struct":  inside{token, &token, token, map[string]Token{"k": token}, token, []Token{token}},
		"pstruct": &inside{Token: token, hidden: token},
		"fixed":   Fixed("c", token), "keyring": Keyring(Fixed("c", token), Env("VARIABLE")),
		"error": fmt.Errorf("with %v and %+v", token, &token),
	}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%U", "%p", "%T", "%w", "%10.3s", "% #x"} {
			silent(t, name+" "+verb, fmt.Sprintf(verb, v))
		}
		silent(t, name, fmt.Sprint(v))
		var logged bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&logged, nil), slog.NewJSONHandler(&logged, nil)} {
			slog.New(h).With("with", v).WithGroup("g").Info("m", "value", v, slog.Any("any", v), slog.Group("g", "v", v))
		}
		silent(t, name, logged.String())
		text, _ := json.Marshal(v) // an error is as good
		silent(t, name, string(text))
		text, _ = xml.Marshal(v)
		silent(t, name, string(text))
		var stream bytes.Buffer
		_ = gob.NewEncoder(&stream).Encode(v)
		silent(t, name, stream.String())
		walk(t, name, reflect.ValueOf(v), 0)
	}
	require.Error(t, gob.NewEncoder(&bytes.Buffer{}).Encode(token), "gob finds nothing to encode")
	text, err := json.Marshal(map[string]any{"token": token})
	require.NoError(t, err)
	require.JSONEq(t, `{"token":"[redacted]"}`, string(text))
	require.Equal(t, "[redacted]", token.String())
	require.Equal(t, "[redacted]", fmt.Sprintf("%x", token))
	require.Equal(t, "[redacted]", token.LogValue().String())
}

// walk looks at everything that reflection reaches, unexported fields included.
func walk(t *testing.T, what string, v reflect.Value, depth int) {
	t.Helper()
	if depth > 12 || !v.IsValid() {
		return
	}
	switch v.Kind() {
	case reflect.String:
		silent(t, what, v.String())
	case reflect.Pointer, reflect.Interface:
		walk(t, what, v.Elem(), depth+1)
	case reflect.Struct:
		for _, field := range v.Fields() {
			walk(t, what, field, depth+1)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			walk(t, what, v.Index(i), depth+1)
		}
	case reflect.Map:
		for key, value := range v.Seq2() {
			walk(t, what, key, depth+1)
			walk(t, what, value, depth+1)
		}
	}
}

func TestToken_AuthorizesAndFingerprints(t *testing.T) {
	token := bearer(t)
	h := http.Header{}
	token.Authorize(h)
	require.Equal(t, http.Header{"Authorization": {"Bearer " + secret()}}, h)
	key, err := HeaderToken("x-api-key", "v")
	require.NoError(t, err)
	key.Authorize(h)
	require.Equal(t, "v", h.Get("X-Api-Key"))

	require.True(t, Token{}.IsZero())
	require.False(t, token.IsZero())
	empty := http.Header{}
	Token{}.Authorize(empty)
	require.Empty(t, empty)
	zero, err := BearerToken("")
	require.NoError(t, err)
	require.True(t, zero.IsZero())

	require.Len(t, token.Fingerprint([]byte("key")), 16)
	require.Equal(t, token.Fingerprint([]byte("key")), bearer(t).Fingerprint([]byte("key")))
	require.NotEqual(t, token.Fingerprint([]byte("key")), token.Fingerprint([]byte("other")))
	require.NotEqual(t, token.Fingerprint([]byte("key")), key.Fingerprint([]byte("key")))
	require.Empty(t, Token{}.Fingerprint([]byte("key")))
}

func TestToken_BadInputIsNamedWithoutTheSecret(t *testing.T) {
	for name, value := range map[string]string{"line break": secret() + "\n", "zero": "\x00" + secret(), "long": strings.Repeat(secret(), 400)} {
		_, err := BearerToken(value)
		require.EqualError(t, err, "resource: Token: [redacted]: want 1 to 8192 characters without line breaks or other control characters", name)
	}
	_, err := HeaderToken("X-Api-Key", "")
	require.Error(t, err)
	for _, header := range []string{"", "X Key", "X-Key:", "Host", "If-None-Match", "content-length", "Proxy-Authorization"} {
		_, err := HeaderToken(header, secret())
		e, ok := errors.AsType[*FieldError](err)
		require.True(t, ok, header)
		require.Equal(t, "Token header", e.Field)
		silent(t, header, err.Error())
	}
	for _, header := range []string{"Authorization", "Cookie", "Private-Token", "X-Anything"} {
		_, err := HeaderToken(header, secret())
		require.NoError(t, err, header)
	}
}

// A token goes to the origins that it was meant for, and nowhere else: not to
// another scheme, port or host, and not to one that only looks like it.
func TestToken_OnlyForNamedOrigins(t *testing.T) {
	ctx := context.Background()
	t.Setenv("RESOURCE_TEST_TOKEN", secret())
	for name, source := range map[string]TokenSource{
		"env":     Env("RESOURCE_TEST_TOKEN", "https://ghe.example.com/api/v3", "https://Other.Example.com:443"),
		"fixed":   Fixed("RESOURCE_TEST_TOKEN", bearer(t), "https://ghe.example.com", "https://other.example.com"),
		"keyring": Keyring(Env("OTHER", "https://elsewhere.example"), Fixed("RESOURCE_TEST_TOKEN", bearer(t), "https://ghe.example.com", "https://other.example.com")),
	} {
		for _, origin := range []string{"https://ghe.example.com", "https://other.example.com"} {
			require.Equal(t, "RESOURCE_TEST_TOKEN", source.Credential(origin), name)
			token, err := source.Token(ctx, "RESOURCE_TEST_TOKEN", origin)
			require.NoError(t, err, name)
			h := http.Header{}
			token.Authorize(h)
			require.Equal(t, "Bearer "+secret(), h.Get("Authorization"), name)
		}
		for _, origin := range []string{
			"http://ghe.example.com", "https://ghe.example.com:8443", "https://ghe.example.com.evil.example", "https://evil.example",
			GitHubOrigin, "", "https://u:p@ghe.example.com",
		} {
			require.Empty(t, source.Credential(origin), "%s %s", name, origin)
			token, err := source.Token(ctx, "RESOURCE_TEST_TOKEN", origin)
			require.Error(t, err, "%s %s", name, origin)
			require.True(t, token.IsZero())
			silent(t, name, err.Error())
			require.NotContains(t, err.Error(), "u:p")
		}
		_, err := source.Token(ctx, "SOMETHING", "https://ghe.example.com")
		require.Error(t, err, "another credential")
		_, err = source.Token(ctx, "", "https://ghe.example.com")
		require.Error(t, err, "none")
		silent(t, name, fmt.Sprint(source))
	}
	require.Equal(t, "X", Env("X").Credential(GitHubOrigin), "no origin means GitHub's")
	require.Equal(t, "X", Fixed("X", Token{}).Credential(GitHubOrigin))
	require.Equal(t, "environment variable X", fmt.Sprint(Env("X")))
	require.Equal(t, "credential X", fmt.Sprint(Fixed("X", bearer(t))))
}

func TestToken_EnvIsReadEachTime(t *testing.T) {
	ctx := context.Background()
	source := Env("RESOURCE_TEST_TOKEN")
	t.Setenv("RESOURCE_TEST_TOKEN", "")
	token, err := source.Token(ctx, "RESOURCE_TEST_TOKEN", GitHubOrigin)
	require.NoError(t, err)
	require.True(t, token.IsZero(), "unset: requests go without")
	t.Setenv("RESOURCE_TEST_TOKEN", secret())
	token, err = source.Token(ctx, "RESOURCE_TEST_TOKEN", GitHubOrigin)
	require.NoError(t, err)
	require.False(t, token.IsZero())
	t.Setenv("RESOURCE_TEST_TOKEN", secret()+"\n")
	_, err = source.Token(ctx, "RESOURCE_TEST_TOKEN", GitHubOrigin)
	require.ErrorContains(t, err, "environment variable RESOURCE_TEST_TOKEN")
	silent(t, "env", err.Error())

	ring := Keyring(nil, source, Fixed("OTHER", bearer(t)))
	_, err = ring.Token(ctx, "RESOURCE_TEST_TOKEN", GitHubOrigin)
	require.ErrorContains(t, err, "environment variable", "the error that says most counts")
	_, err = Keyring().Token(ctx, "X", GitHubOrigin)
	require.EqualError(t, err, `resource: credential "X" for "https://api.github.com": not meant for it`)
	require.Empty(t, Keyring(nil).Credential(GitHubOrigin))
}

type badSource struct{ TokenSource }

func (badSource) Validate() error { return errors.New("no connection") }

func TestToken_SourcesReportWhatIsWrong(t *testing.T) {
	validate := func(s TokenSource) error { return s.(interface{ Validate() error }).Validate() }
	for want, source := range map[string]TokenSource{
		"":                                    Keyring(Env("A", "https://a.example/api"), Fixed("B", Token{}), struct{ TokenSource }{}),
		`resource: Variable: "": want a name`: Env(""),
		`resource: Variable: "A B": want at most 128 of letters, digits and - _ . / :`:                                           Env("A B"),
		`resource: Origins[1]: "a.example": want an absolute http or https URI with a host`:                                      Env("A", "https://a.example", "a.example"),
		`resource: Origins[0]: "https://...@a.example": want no user name or password: name a credential in the profile instead`: Fixed("B", Token{}, "https://u:p@a.example"),
		`resource: Credential: "": want a name`:                                                                                  Fixed("", Token{}),
		`resource: Sources[0]: nil: want a token source`:                                                                         Keyring(nil),
		`resource: Sources[1].Origins[0]: "": want an absolute http or https URI with a host`:                                    Keyring(Env("A"), Env("B", "")),
		`resource: Sources[0].Sources[0].Variable: "": want a name`:                                                              Keyring(Keyring(Env(""))),
		`resource: Sources[0]: no connection`:                                                                                    Keyring(badSource{}),
	} {
		err := validate(source)
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.EqualError(t, err, want)
	}
	bad := Env("A", "a.example")
	require.Empty(t, bad.Credential(GitHubOrigin), "a malformed origin is no licence for the default one")
}

// appSource is a source whose token can be fetched anew.
type appSource struct {
	TokenSource
	renewed []string
	err     error // of Token
}

func (s *appSource) Token(ctx context.Context, credential, origin string) (Token, error) {
	if s.err != nil {
		return Token{}, s.err
	}
	return s.TokenSource.Token(ctx, credential, origin)
}

func (s *appSource) Renew(_ context.Context, credential, origin string) error {
	s.renewed = append(s.renewed, credential+" "+origin)
	return errors.New("not yet")
}

// A keyring hands a refusal on to the source that the token comes from, and to no
// other.
func TestS401_AKeyringRenewsTheSourceOfTheToken(t *testing.T) {
	const origin = "https://a.test"
	app := &appSource{TokenSource: Fixed("app", bearer(t), origin)}
	other := &appSource{TokenSource: Fixed("other", bearer(t), origin)}
	ring := Keyring(nil, Env("PLAIN", origin), other, Keyring(app))
	renewer, ok := ring.(interface {
		Renew(ctx context.Context, credential, origin string) error
	})
	require.True(t, ok)
	require.EqualError(t, renewer.Renew(t.Context(), "app", origin), "not yet")
	app.err = errors.New("it has expired")
	require.NoError(t, renewer.Renew(t.Context(), "PLAIN", origin), "it does not want to know")
	require.NoError(t, renewer.Renew(t.Context(), "nobody", origin))
	require.Equal(t, []string{"app " + origin}, app.renewed)
	require.Empty(t, other.renewed)

	alone := Keyring(app).(keyring) // it gives no token now, but is the one to
	require.EqualError(t, alone.Renew(t.Context(), "app", origin), "not yet")
}
