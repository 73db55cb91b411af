package firehose_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// vault is a token source whose token changes.
type vault struct {
	token atomic.Pointer[string]
	renew func(ctx context.Context) error // nil: it can't
	asked atomic.Int64
}

func newVault(secret string) *vault {
	v := &vault{}
	v.token.Store(&secret)
	return v
}

func (v *vault) Credential(string) string { return "key" }

func (v *vault) Token(context.Context, string, string) (resource.Token, error) {
	return resource.BearerToken(*v.token.Load())
}

// renewing is a vault that fetches tokens itself.
type renewing struct{ *vault }

func (v renewing) Renew(ctx context.Context, credential, origin string) error {
	if credential != "key" || origin != "https://a.test" {
		return fmt.Errorf("of %s at %s", credential, origin)
	}
	v.asked.Add(1)
	return v.renew(ctx)
}

// guarded is an origin that accepts one token only.
func guarded(accepts *atomic.Pointer[string]) *script {
	return newScript(func(c call) reply {
		if c.Header.Get("Authorization") != "Bearer "+*accepts.Load() {
			return status(401)
		}
		return ok("x", `"`+c.URL+`"`)
	})
}

func fleet(n int) (specs []resource.Spec) {
	for i := range n {
		specs = append(specs, resource.Spec{URI: fmt.Sprintf("https://a.test/%d", i), Interval: time.Minute})
	}
	return specs
}

func TestS401_ARenewedTokenEndsTheRefusal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var good atomic.Pointer[string]
		good.Store(new("first"))
		net, source := guarded(&good), newVault("first")
		r := start(t, net, firehose.Config{Resources: fleet(10), Tokens: source})
		until(5*time.Minute + time.Second)
		require.Empty(t, r.sink.kinds(), "all is well")

		good.Store(new("second")) // the origin has taken the first one back
		sent := len(net.all(""))
		until(7 * time.Minute)
		found := len(net.all("")) - sent
		require.LessOrEqual(t, found, 4, "as many as were in flight together")
		until(30 * time.Minute)
		require.Len(t, net.all(""), sent+found, "and nothing followed")
		require.Equal(t, "refused", r.sink.kinds()[0])
		e := r.explainSpec(fleet(10)[3])
		require.Equal(t, resource.ReasonCredential, e.Why, e.String())

		source.token.Store(new("second")) // noticed by itself
		pass(firehose.RenewEvery + time.Second)
		require.Contains(t, r.sink.kinds(), "renewed")
		pass(2 * time.Minute)
		for i := range 10 {
			calls := net.all(fmt.Sprintf("https://a.test/%d", i))
			require.Equal(t, "Bearer second", calls[len(calls)-1].Header.Get("Authorization"))
		}
		require.NoError(t, r.stop())
	})
}

// A source that can renew is asked to, once for each refusal, and again after its
// error, less and less often (rule S-401).
func TestS401_TheSourceIsAskedToRenew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var good atomic.Pointer[string]
		good.Store(new("second"))
		net, source := guarded(&good), renewing{newVault("first")}
		fails := 4
		source.renew = func(context.Context) error {
			if fails--; fails >= 0 {
				return errors.New("the issuer is down")
			}
			source.token.Store(new("second"))
			return nil
		}
		r := start(t, net, firehose.Config{Resources: fleet(10), Tokens: source})
		until(14 * time.Second)
		require.EqualValues(t, 1, source.asked.Load(), "at once")
		until(time.Minute)
		require.LessOrEqual(t, source.asked.Load(), int64(3), "less and less often")
		require.Len(t, net.all(""), 1)
		until(20 * time.Minute)
		require.EqualValues(t, 5, source.asked.Load())
		require.Greater(t, len(net.all("")), 10)
		require.NoError(t, r.stop())
	})
}

func TestASourceThatPanicsOrHangsHoldsUpNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var good atomic.Pointer[string]
		good.Store(new("other"))
		net, source := guarded(&good), renewing{newVault("first")}
		source.renew = func(ctx context.Context) error {
			if source.asked.Load()%2 == 1 {
				panic("first")
			}
			<-ctx.Done()
			return ctx.Err()
		}
		var logs strings.Builder
		config := firehose.Config{Resources: fleet(2), Tokens: source, Logger: slog.New(slog.NewTextHandler(&logs, nil))}
		r := start(t, net, config)
		until(30 * time.Minute)
		require.Greater(t, source.asked.Load(), int64(3))
		require.Len(t, net.all(""), 1)
		require.NoError(t, r.stop())
		require.Contains(t, logs.String(), "credential not renewed")
		require.NotContains(t, logs.String(), "first")
	})
}

// Renew, by the user, is for an origin that accepts the same token again.
func TestRenewByTheUsersWord(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var good atomic.Pointer[string]
		good.Store(new("other"))
		net := guarded(&good)
		r := start(t, net, firehose.Config{Resources: fleet(5), Tokens: newVault("first")})
		until(10 * time.Minute)
		require.Len(t, net.all(""), 1)
		good.Store(new("first"))
		require.NoError(t, r.Renew(t.Context(), "nobody"))
		pass(time.Minute)
		require.Len(t, net.all(""), 1)
		require.NoError(t, r.Renew(t.Context(), "key"))
		pass(time.Minute)
		require.GreaterOrEqual(t, len(net.all("")), 6)
		require.NoError(t, r.stop())
	})
}

// A refusal outlives the process, and so does what it was of: a restart with the
// same token sends nothing, one with another token goes on at once (rule D-20).
func TestD20_ARefusalOutlivesTheProcess(t *testing.T) {
	for name, next := range map[string]string{"the same": "first", "another": "second"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var good atomic.Pointer[string]
				good.Store(new("second"))
				net, store := guarded(&good), db.NewMemory()
				r := start(t, net, firehose.Config{Resources: fleet(5), Tokens: newVault("first"), DB: store})
				until(2 * time.Minute)
				require.NoError(t, r.stop())
				require.Len(t, net.all(""), 1)

				r = start(t, net, firehose.Config{Resources: fleet(5), Tokens: newVault(next), DB: store})
				pass(5 * time.Minute)
				if next == "first" {
					require.Len(t, net.all(""), 1)
				} else {
					require.GreaterOrEqual(t, len(net.all("")), 6)
				}
				require.NoError(t, r.stop())
			})
		})
	}
}

// Another token makes every tag worthless once (rule E-8): the next request goes
// without, is counted, and what has not changed is not published again.
//
// Peer conditional-1: GitHub's tags are made from the token, Accept and Cookie
// beside the body (its finding): whoever changes one of them, as with an hourly
// token, asks with dead tags.
func TestE8_ANewTokenAsksUnconditionallyOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := newScript(func(c call) reply {
			tag := `"` + c.Header.Get("Authorization") + `"`
			if c.Header.Get("If-None-Match") == tag {
				return status(304)
			}
			return ok("the same", tag)
		})
		source, store := newVault("first"), db.NewMemory()
		r := start(t, net, firehose.Config{Resources: fleet(3), Tokens: source, DB: store})
		until(3*time.Minute + time.Second)
		source.token.Store(new("second"))
		until(10 * time.Minute)
		unconditional := func() (n int) {
			for _, c := range net.all("") {
				if c.Header.Get("If-None-Match") == "" {
					n++
				}
			}
			return n
		}
		require.Equal(t, 6, unconditional(), "once with each token")
		require.EqualValues(t, 3, r.Stats().Events["unconditional"])
		require.EqualValues(t, 3, r.Stats().Published)
		require.NoError(t, r.stop())

		r = start(t, net, firehose.Config{Resources: fleet(3), Tokens: source, DB: store})
		pass(5 * time.Minute)
		require.Equal(t, 6, unconditional(), "a restart changes nothing in what a request carries")
		require.NoError(t, r.stop())
	})
}
