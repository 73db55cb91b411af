package firehose

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// An origin that redirects to ever new hosts would make the registry grow with
// each poll, and so would resources that come and go.
const (
	sweepEvery  = time.Minute
	forgetAfter = time.Hour // of a scope that nobody has looked at, and that says nothing but "go on"
)

// sweep forgets the scopes that nobody uses any more, in memory and in the store.
func (b *buckets) sweep(ctx context.Context, now time.Time, log *slog.Logger) {
	for s := range b.all() {
		records := b.forget(s, now)
		for _, rec := range records {
			if _, err := b.store.Write(ctx, rec); err != nil { // it is overwritten, or found again, by the next start
				log.Warn("bucket not forgotten in the store", "id", rec.Record.ID, "err", err)
			}
		}
	}
}

// forget takes a scope out of the registry if it can be missed, and returns what
// is to be deleted in the store. Whoever has looked the scope up meanwhile has
// touched it, under the same lock.
func (b *buckets) forget(s *scopeState, now time.Time) (records []db.Write) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.birth)-time.Duration(s.touched.Load()) < forgetAfter {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tickets) > 0 || len(s.lines) > 0 || s.refused.finger != "" || s.reading > 0 || !spent(&s.own, now) || !rested(s.pace, now) {
		return nil
	}
	for _, q := range s.quotas {
		if !spent(q, now) {
			return nil
		}
	}
	for _, r := range s.rates {
		if !rested(r.policy, now) {
			return nil
		}
	}
	delete(b.scopes, s.key)
	if s.host.leave(s) {
		s.host.mu.Lock()
		idle := s.host.host.Trips == 0 && s.host.host.InFlight == 0 && s.host.tickets == 0 && !s.host.probing
		s.host.mu.Unlock()
		if idle {
			delete(b.hosts, s.key.Origin)
		}
	}
	if b.store == nil {
		return nil
	}
	for name, saved := range s.saved {
		id := bucketID(resource.BucketKey{Scope: s.key, Name: name})
		records = append(records, db.Write{If: saved.version, Record: db.Record{Space: b.space, ID: id, Owner: b.owner}})
	}
	return records
}

// rested reports whether a rate would let a request go at once.
func rested(l *rate.Limiter, now time.Time) bool { return l == nil || l.TokensAt(now) >= 1 }

// spent reports whether a bucket holds back nobody, so that to forget it loses
// nothing.
func spent(b *resource.Bucket, now time.Time) bool {
	return b.InFlight == 0 && b.Strikes == 0 && now.After(b.Park) && (!b.Known || now.After(b.Reset.Add(resource.AfterReset+resource.MaxLimitJitter)))
}
