package resource

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
)

// TokenSource resolves credentials to tokens. It is asked for each request, so
// that a token may change while the process runs. Its methods are called from
// many goroutines.
type TokenSource interface {
	// Credential names the credential for requests to an origin whose profile
	// names none. Empty: requests go without.
	Credential(origin string) string

	// Token returns the token of a credential for an origin. It must refuse to
	// give a token to an origin that it was not meant for. The zero Token means
	// that the request goes without. An error postpones the request; it must
	// not hold the token.
	Token(ctx context.Context, credential, origin string) (Token, error)
}

// GitHubOrigin is where the token of [Env] may be sent when no origin is named.
const GitHubOrigin = "https://api.github.com"

// Env returns a source of one credential, named like the environment variable
// that holds it, for use as a bearer token at the origins given. No origin means
// [GitHubOrigin]. A token is never sent anywhere else. The variable is read for
// each request; while it is unset or empty, requests go without a token.
//
// An origin may be written as any URI of it. One that is malformed, or an empty
// name, gets no token anywhere and is reported by the source's method
// Validate() error, as a [*FieldError].
func Env(variable string, origins ...string) TokenSource {
	return envSource{variable, newAudience(origins)}
}

type envSource struct {
	variable string
	audience
}

func (e envSource) Credential(origin string) string { return e.credential(e.variable, origin) }

func (e envSource) Token(_ context.Context, credential, origin string) (Token, error) {
	if err := e.admits(e.variable, credential, origin); err != nil {
		return Token{}, err
	}
	t, err := BearerToken(os.Getenv(e.variable))
	if err != nil {
		return Token{}, fmt.Errorf("resource: environment variable %s: %w", e.variable, err)
	}
	return t, nil
}

// Validate reports an empty or unusable name, or the first malformed origin, as
// a *FieldError.
func (e envSource) Validate() error { return e.validate("Variable", e.variable) }

// String names the variable, never its value.
func (e envSource) String() string { return "environment variable " + e.variable }

// Fixed returns a source of one credential of that name, whose token never
// changes, for the origins given. No origin means [GitHubOrigin]. What [Env]
// says of malformed origins and names holds here too.
func Fixed(credential string, t Token, origins ...string) TokenSource {
	return fixedSource{credential, t, newAudience(origins)}
}

type fixedSource struct {
	name  string
	token Token
	audience
}

func (f fixedSource) Credential(origin string) string { return f.credential(f.name, origin) }

func (f fixedSource) Token(_ context.Context, credential, origin string) (Token, error) {
	if err := f.admits(f.name, credential, origin); err != nil {
		return Token{}, err
	}
	return f.token, nil
}

// Validate reports an empty or unusable name, or the first malformed origin, as
// a *FieldError.
func (f fixedSource) Validate() error { return f.validate("Credential", f.name) }

// String names the credential, never the token.
func (f fixedSource) String() string { return "credential " + f.name }

// audience is whom a token is meant for.
type audience struct {
	origins []string
	bad     error // the first origin that is none
}

func newAudience(uris []string) audience {
	if len(uris) == 0 {
		return audience{origins: []string{GitHubOrigin}}
	}
	var a audience
	for i, uri := range uris {
		origin, err := originOf(uri)
		if e, ok := errors.AsType[*FieldError](err); ok && a.bad == nil {
			a.bad = &FieldError{fmt.Sprintf("Origins[%d]", i), e.Value, e.Want}
		}
		if err == nil {
			a.origins = append(a.origins, origin)
		}
	}
	return a
}

func (a audience) credential(name, origin string) string {
	if slices.Contains(a.origins, origin) {
		return name
	}
	return ""
}

// errNotMeant is behind the refusal of a token to somebody it was not meant for.
var errNotMeant = errors.New("not meant for it")

func (a audience) admits(name, credential, origin string) error {
	if credential != name || name == "" || !slices.Contains(a.origins, origin) {
		return fmt.Errorf("resource: credential %s for %s: %w", clip(credential), clipURI(origin), errNotMeant)
	}
	return nil
}

func (a audience) validate(field, name string) error {
	if name == "" {
		return &FieldError{field, clip(name), "a name"}
	}
	if err := checkName(field, name); err != nil {
		return err
	}
	return a.bad
}

// Keyring returns a source of several credentials. The first one that names an
// origin counts for it. Its Validate() error asks all of them, and its
// Renew(ctx, credential, origin) error the one that the token comes from, if that
// has such a method: see firehose.Renewer.
func Keyring(sources ...TokenSource) TokenSource { return keyring(slices.Clone(sources)) }

type keyring []TokenSource

func (k keyring) Credential(origin string) string {
	for _, s := range k {
		if s == nil {
			continue
		}
		if name := s.Credential(origin); name != "" {
			return name
		}
	}
	return ""
}

// Token asks the sources in order. An error that says more than that a token was
// not meant for somebody counts before the others.
func (k keyring) Token(ctx context.Context, credential, origin string) (Token, error) {
	var worst error
	for _, s := range k {
		if s == nil {
			continue
		}
		t, err := s.Token(ctx, credential, origin)
		if err == nil {
			return t, nil
		}
		if worst == nil || errors.Is(worst, errNotMeant) {
			worst = err
		}
	}
	if worst == nil {
		worst = fmt.Errorf("resource: credential %s for %s: %w", clip(credential), clipURI(origin), errNotMeant)
	}
	return Token{}, worst
}

// Renew tells the source of a credential that its token was not accepted. Nil where
// that does not want to know.
func (k keyring) Renew(ctx context.Context, credential, origin string) error {
	for _, s := range k {
		if s == nil {
			continue
		}
		if _, err := s.Token(ctx, credential, origin); err != nil && s.Credential(origin) != credential {
			continue
		}
		if r, ok := s.(interface {
			Renew(ctx context.Context, credential, origin string) error
		}); ok {
			return r.Renew(ctx, credential, origin)
		}
		return nil
	}
	return nil
}

// Validate reports the first source that is nil or that reports itself as wrong.
func (k keyring) Validate() error {
	for i, s := range k {
		path := fmt.Sprintf("Sources[%d]", i)
		if s == nil {
			return &FieldError{path, "nil", "a token source"}
		}
		v, ok := s.(interface{ Validate() error })
		if !ok {
			continue
		}
		err := v.Validate()
		if e, ok := errors.AsType[*FieldError](err); ok {
			return e.In(path)
		}
		if err != nil {
			return fmt.Errorf("resource: %s: %w", path, err)
		}
	}
	return nil
}
