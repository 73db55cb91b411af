package firehose

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// Times of probes.
const (
	probeAgain = resource.HostWait // from one question for a probe that was not granted to the next
	probeStore = 5 * time.Second   // a store that takes longer to claim or release has not answered
	probeSkew  = 3 * time.Second   // by how much the clocks of processes may differ
)

var errProbeStore = errors.New("firehose: the lease of a probe took longer than the time for it")

// probeSpace is where the leases of probes are kept.
const probeSpace = "lease"

// probes grants the probe of a host that several shards may reach: the one request
// that finds out whether it answers again. One shard at a time has it, by a lease
// in the DB, which is asked for nothing else: as long as hosts answer, nothing is
// written. What a probe finds out counts for its own shard.
//
// Rejected: the state of hosts in the DB, for all shards. It would be written with
// each failure and read with each poll, to spare a host that is back one request
// of each shard.
type probes struct {
	store db.DB
	owner db.Owner
	ttl   time.Duration // longer than any request, so that no renewal is needed
}

func newProbes(store db.DB, owner db.Owner, requestTimeout time.Duration) *probes {
	return &probes{store: store, owner: owner, ttl: max(requestTimeout+probeSkew, 2*probeSkew)}
}

// probe is the right to send the request that finds out whether a host answers. A
// nil one is no right, and may be ended.
type probe struct {
	host  *hostState
	lease *db.Lease
	log   func(ctx context.Context, msg string, args ...any)
}

// probe asks for the right, if the request that is about to be sent would be the
// probe of a host that others may probe too. Nil: it would be none, or another one
// has the right; then the host does not admit it.
func (t *reserving) probe(ctx context.Context, h *hostState, jitter float64) *probe {
	if t.probes == nil || !h.beginProbe(time.Now()) {
		return nil
	}
	again, granted := time.Now().Add(probeAgain), false
	defer func() {
		if !granted { // also after a panic of the store
			h.endProbe(again)
		}
	}()
	lease, err := t.probes.claim(ctx, h.origin)
	now := time.Now()
	again = now.Add(probeAgain)
	if err == nil && ctx.Err() == nil {
		granted = true
		return &probe{h, lease, t.log}
	}
	switch held, ok := errors.AsType[*db.HeldError](err); {
	case err == nil: // the time of the request is over
		(&probe{h, lease, t.log}).release()
	case ok && held.Until.Before(again):
		again = held.Until
	case !ok:
		t.log(ctx, "host not asked whether it answers again, since the store did not say whether another shard does", "origin", h.origin, "err", err)
	}
	again = again.Add(time.Duration(jitter * float64(probeAgain) / 4)) // not all shards at once
	return nil
}

func (p *probes) claim(ctx context.Context, origin string) (*db.Lease, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, probeStore, errProbeStore)
	defer cancel()
	lease, err := db.Claim(ctx, p.store, db.LeaseSpec{Space: probeSpace, ID: probeID(origin), Owner: p.owner, TTL: p.ttl, Skew: probeSkew})
	if err != nil {
		return nil, fmt.Errorf("firehose: probe of %s: %w", origin, err)
	}
	return lease, nil
}

// probeID names the lease of a host, bounded as a bucket's record is.
func probeID(origin string) string {
	return "probe/" + bucketID(resource.BucketKey{Scope: resource.Scope{Origin: origin}})
}

// end gives the right back, when the host has heard of what came of it.
func (p *probe) end() {
	if p == nil {
		return
	}
	defer p.host.endProbe(time.Time{})
	p.release()
}

func (p *probe) release() {
	ctx, cancel := context.WithTimeoutCause(context.Background(), probeStore, errProbeStore)
	defer cancel()
	if err := p.lease.Release(ctx); err != nil {
		p.log(ctx, "lease of a probe not released: other shards wait until it expires", "origin", p.host.origin, "err", err)
	}
}

// beginProbe reports whether a request that is sent now would be the probe of the
// host, and notes that it is asked for.
func (h *hostState) beginProbe(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	host := h.viewLocked()
	if !h.shared || host.State(now) != resource.HostHalfOpen || host.Admit(now).Kind != resource.Ready {
		return false
	}
	h.probing = true
	return true
}

// endProbe notes that no probe is under way any more, and that none is asked for
// before the instant again.
func (h *hostState) endProbe(again time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing, h.denied = false, again
}

// viewLocked is the host as everybody sees it but the request that probes it.
func (h *hostState) viewLocked() resource.Host {
	host := h.host
	if host.Trips == 0 {
		return host
	}
	if h.denied.After(host.Until) {
		host.Until = h.denied
	}
	if h.probing {
		host.InFlight = max(1, host.InFlight)
	}
	return host
}
