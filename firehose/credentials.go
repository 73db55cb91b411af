package firehose

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
	"github.com/cannedos/cannedos/scheduler"
)

// Renewer is an optional power of a [resource.TokenSource]: it is told that an
// origin did not accept a credential (401), and may fetch another token, as for an
// installation of a GitHub App whose token has expired. Renew is called once for
// each token that was refused, and again after its error, less and less often. It
// ends when the next call of Token gives another token; nil says no more than
// that. ctx ends after [RenewTimeout]. Its error must not hold a token.
//
// A [resource.Keyring] hands it on to the source of the token, so that one among
// several may have it.
//
// A source without it is asked for its token again every [RenewEvery], so that
// one that reads a file or the environment is noticed to have changed.
type Renewer interface {
	Renew(ctx context.Context, credential, origin string) error
}

// Times of a credential that was refused.
const (
	RenewEvery   = 15 * time.Second // between two looks at the token of a credential that was refused
	RenewTimeout = 30 * time.Second // of one call of Renew

	maxRenewWait = 10 * time.Minute // between two calls of Renew that fail
)

// refusal is what is known of a scope whose credential was not accepted.
type refusal struct {
	finger  string // fingerprint of the token; empty: none was refused
	renewed bool   // Renew has returned nil
	tries   int    // of Renew that failed
	next    time.Time
}

// refuse notes that a token was not accepted. It reports whether that is news.
func (s *scopeState) refuse(finger string) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if finger == "" || s.refused.finger == finger {
		return false
	}
	s.refused = refusal{finger: finger}
	return true
}

// accepted notes that a token was. It reports whether that is news.
func (s *scopeState) accepted(finger string) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused.finger == "" || finger == "" {
		return false
	}
	s.refused = refusal{}
	return true
}

// renew ends the parks of a scope whose credential has changed, and returns the
// buckets that have to be written.
func (s *scopeState) renew() []resource.BucketKey {
	s.mu.Lock()
	s.refused = refusal{}
	keys := []resource.BucketKey{{Scope: s.key}}
	s.own.Renew()
	for name, q := range s.quotas {
		if q.Why == resource.ReasonCredential {
			q.Renew()
			keys = append(keys, resource.BucketKey{Scope: s.key, Name: name})
		}
	}
	s.mu.Unlock()
	s.signal()
	return keys
}

// Renew says that a credential is good again, or another one, though its token
// may be the same: its scopes are asked again, each by one request at first, and
// whatever waited for it goes on. A credential that was not refused is left as it
// is. Without it the same token is tried again after an hour, and then less and
// less often.
func (o *OS) Renew(ctx context.Context, credential string) error {
	var errs []error
	for s := range o.f.buckets.all() {
		if s.key.Credential != credential || !s.isRefused() {
			continue
		}
		if err := o.f.buckets.saveAgain(ctx, s.renew()); err != nil {
			errs = append(errs, fmt.Errorf("firehose: renew %s: %w", s.key, err))
		}
		o.f.tellScope(EventRenewed, s.key, "by the user's word")
	}
	return errors.Join(errs...)
}

func (s *scopeState) isRefused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused.finger != ""
}

// keeper looks after what no poll does: credentials that were refused, and scopes
// that nobody uses any more.
type keeper struct{ f *flow }

// String names the service.
func (k *keeper) String() string { return "keeper" }

// Serve looks around until ctx ends. It is called by a scheduler.
func (k *keeper) Serve(ctx context.Context) error {
	scheduler.Ready(ctx)
	swept := time.Now()
	for {
		timer := time.NewTimer(RenewEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-k.f.refusals:
			timer.Stop()
		case <-timer.C:
		}
		for s := range k.f.buckets.all() {
			k.look(ctx, s)
		}
		if time.Since(swept) >= sweepEvery {
			swept = time.Now()
			k.f.buckets.sweep(ctx, swept, k.f.log)
		}
	}
}

// look finds out whether the credential of a scope has changed since it was
// refused, and asks for that.
func (k *keeper) look(ctx context.Context, s *scopeState) {
	s.mu.Lock()
	was := s.refused
	s.mu.Unlock()
	now := time.Now()
	if was.finger == "" || now.Before(was.next) {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, RenewTimeout)
	defer cancel()
	was.next = now.Add(RenewEvery - time.Second)
	if r, ok := k.f.cfg.Tokens.(Renewer); ok && !was.renewed {
		if err := k.renewal(bounded, r, s.key); err != nil {
			was.tries++
			was.next = now.Add(min(RenewEvery<<min(was.tries, 8), maxRenewWait))
			k.f.log.Warn("credential not renewed", "scope", s.key.String(), "tries", was.tries, "err", err)
		} else {
			was.renewed, was.tries = true, 0
		}
	}
	token, err := k.f.http.token(bounded, s.key)
	if err == nil && !token.IsZero() && token.Fingerprint(k.f.http.key) != was.finger {
		if err := k.f.buckets.saveAgain(ctx, s.renew()); err != nil {
			k.f.log.Warn("renewed credential not saved", "scope", s.key.String(), "err", err)
		}
		k.f.tellScope(EventRenewed, s.key, "the token has changed since it was refused")
		return
	}
	s.mu.Lock()
	if s.refused.finger == was.finger {
		s.refused = was
	}
	s.mu.Unlock()
}

// renewal calls Renew. What it panics with is not repeated: it may be the token.
func (k *keeper) renewal(ctx context.Context, r Renewer, scope resource.Scope) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errors.New("the token source panicked")
		}
	}()
	return r.Renew(ctx, scope.Credential, scope.Origin)
}

// Where the key of the fingerprints is kept.
const (
	keySpace = "fingerprint"
	keyID    = "key"
	keySize  = 32
)

// fingerprintKey returns the key with which tokens are fingerprinted: as old as
// the store, so that a restart is no reason to ask without validators; without
// one, as the process.
func fingerprintKey(ctx context.Context, store db.DB, owner db.Owner) ([]byte, error) {
	key := make([]byte, keySize)
	rand.Read(key)
	if store == nil {
		return key, nil
	}
	for range 8 {
		found, err := store.Get(ctx, keySpace, keyID)
		if err != nil {
			return nil, fmt.Errorf("firehose: read the key of fingerprints: %w", err)
		}
		if len(found) > 0 {
			if stored := found[0].Value; len(stored) == keySize {
				return stored, nil
			}
			return nil, fmt.Errorf("firehose: key of fingerprints: %w", resource.ErrEncoding)
		}
		results, err := store.Write(ctx, db.Write{Record: db.Record{Space: keySpace, ID: keyID, Version: 1, Owner: owner, Value: key}})
		if err != nil {
			return nil, fmt.Errorf("firehose: write the key of fingerprints: %w", err)
		}
		if results[0].OK {
			return key, nil
		}
	}
	return nil, errors.New("firehose: key of fingerprints: lost 8 races in a row")
}
