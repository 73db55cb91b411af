package firehose

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// MaxShards is the most shards that a fleet may have.
const MaxShards = 4096

// Shard says which part of the work of a fleet is an OS's. The zero Shard is all
// of it: the OS is not sharded.
//
// A fleet is several OSes with the same Config but for Shard.Number and Queue,
// over one DB, in as many processes as one likes. Each polls the resources of
// some scopes, as [ShardOf] divides them, so that what a scope allows is counted
// in one place. Shards may move: where the OS of a shard has ended, another one
// with the same Number, in whatever process, takes over parks, resets and wishes
// from the DB. Two with the same Number may not run at once; a queue that
// is the OS's own sees to that by its lease, one that is given by Config.Queue has
// to. That queue is the shard's alone.
//
// Of the Config, the resources of other shards are skipped. [OS.Add] refuses them
// with [ErrElsewhere]; [Config.ShardOf] says where they belong.
//
// What counts for each shard by itself, and not for the fleet: Workers,
// HostConcurrency, what is known of whether a host answers, and what a scope is
// found to allow that is reached by a redirect out of another shard's, which then
// keeps a view of its own. So a permanent redirect into a scope of another shard is
// not stored, but followed at each poll. OS.Renew has to be called for each shard
// that knows the credential. Of a host that does not answer, the one request that
// finds out is sent by one shard at a time, under a lease in the DB; a host that
// was asked so leaves one small record there. A [PlanConfig] is for a whole fleet.
//
// Which shard a resource is of changes where the Config changes the name of its
// credential, or Domains. One that is listed is then taken out of the one and
// admitted anew by the other at their next starts, without the rest that it was
// given; one that came by Add stays where it is held, with a warning, until it is
// removed there and added where it belongs.
//
// Without a DB, or with one for each shard, the shards know nothing of each other.
type Shard struct {
	// Number is which one of the shards it is, from 0 to Count-1.
	Number int

	// Count is how many shards there are, at most MaxShards. Zero: not sharded.
	// The DB remembers it from the first start on, and a start with another Count
	// fails with a *FieldError that names both: parks and wishes of the others
	// would not be found. To divide a fleet anew, let it end and begin with
	// another DB.
	Count int
}

// String returns the shard as in "3 of 12", or "all".
func (s Shard) String() string {
	if s.Count == 0 {
		return "all"
	}
	return fmt.Sprintf("%d of %d", s.Number, s.Count)
}

// space is the space of the DB in which a shard keeps what is its alone.
func (s Shard) space(name string) string {
	if s.Count == 0 {
		return name
	}
	return fmt.Sprintf("%s/%dof%d", name, s.Number, s.Count)
}

func (s Shard) validate() error {
	switch {
	case s.Count < 0 || s.Count > MaxShards:
		return &FieldError{Field: "Shard.Count", Value: strconv.Itoa(s.Count), Want: fmt.Sprintf("0 (not sharded) to %d", MaxShards)}
	case s.Count == 0 && s.Number != 0:
		return &FieldError{Field: "Shard.Number", Value: strconv.Itoa(s.Number), Want: "0 where Shard.Count is 0 (not sharded)"}
	case s.Number < 0 || s.Count > 0 && s.Number >= s.Count:
		return &FieldError{Field: "Shard.Number", Value: strconv.Itoa(s.Number), Want: fmt.Sprintf("0 to %d, since Shard.Count is %d", s.Count-1, s.Count)}
	}
	return nil
}

// ErrElsewhere says that a resource belongs to another shard, which the error
// around it names.
var ErrElsewhere = errors.New("firehose: the resource belongs to another shard")

// ShardOf returns which of count shards a scope belongs to, from 0 to count-1; for
// a count of 1 or less that is 0. It is the same in every version of this library
// and on every machine. Where Config.Domains has hosts count together, the scope is
// that of the domain: see [Config.ShardOf].
//
// It is the SHA-256 of the name of the credential and of the origin, each behind
// its length in 8 bytes, of which the first 8 bytes as a number, modulo count; all
// numbers big-endian.
func ShardOf(scope resource.Scope, count int) int {
	if count <= 1 {
		return 0
	}
	text := make([]byte, 0, 128)
	for _, part := range []string{scope.Credential, scope.Origin} {
		text = binary.BigEndian.AppendUint64(text, uint64(len(part)))
		text = append(text, part...)
	}
	sum := sha256.Sum256(text)
	return int(binary.BigEndian.Uint64(sum[:8]) % uint64(count))
}

// ShardOf returns the number of the shard that polls what a Spec asks for, among
// the Count of c.Shard, whatever its Number. It goes by Profiles, Tokens and
// Domains, as an OS made from c does, and makes none: of Tokens only the name of the
// credential is asked for. Errors are those that OS.Add has for the Spec, and a
// [*FieldError] for a Shard or Domains that New would refuse. It may be called
// from any goroutine, as far as Tokens may.
func (c Config) ShardOf(spec resource.Spec) (int, error) {
	err := c.Shard.validate()
	if err == nil {
		err = c.validateDomains()
	}
	if err != nil {
		return 0, fmt.Errorf("firehose: config: %w", err)
	}
	var p *resource.Profile
	if named, ok := c.Profiles[spec.Profile]; ok || spec.Profile == "" {
		p = &named
	}
	r, err := c.resourceOf(spec, p)
	if err != nil {
		return 0, fmt.Errorf("firehose: shard of %s: %w", spec.URI, err)
	}
	return c.shardOf(r.Scope()), nil
}

// shardOf is which of the shards a scope belongs to.
func (c *Config) shardOf(scope resource.Scope) int {
	scope.Origin = realm(c.Domains, scope.Origin)
	return ShardOf(scope, c.Shard.Count)
}

// queueSpace is the space of the journal of a queue that is the OS's own, of all
// shards but for the suffix.
const queueSpace = "queue"

// shard makes what a flow keeps in the DB that of its shard alone. The key of
// fingerprints is the fleet's, and the state of feeds goes by resource.
func (f *flow) shard() {
	s := f.cfg.Shard
	f.buckets.space, f.wishes.space = s.space(bucketSpace), s.space(wishSpace)
	if s.Count > 0 && f.cfg.DB != nil {
		f.buckets.sharded = true
		f.http.probes = newProbes(f.cfg.DB, storeOwner(f.owner), f.cfg.RequestTimeout)
	}
}

// mine reports whether a scope is of this shard.
func (f *flow) mine(scope resource.Scope) bool {
	return f.cfg.Shard.Count == 0 || f.cfg.shardOf(scope) == f.cfg.Shard.Number
}

// elsewhere is the error for a resource of another shard, or nil.
func (f *flow) elsewhere(r *resource.Resource) error {
	if f.mine(r.Scope()) {
		return nil
	}
	return fmt.Errorf("%w: shard %d of %d", ErrElsewhere, f.cfg.shardOf(r.Scope()), f.cfg.Shard.Count)
}

// Where the count of shards is kept by which a DB is divided.
const (
	shardSpace = "shards"
	shardID    = "count"
)

// divided makes sure that the DB is divided into as many shards as the Config
// says, from the first start of a fleet on. It asks the DB once.
func (f *flow) divided(ctx context.Context) error {
	if f.cfg.DB == nil || f.isDivided.Load() {
		return nil
	}
	count, err := divide(ctx, f.cfg.DB, storeOwner(f.owner), f.cfg.Shard.Count)
	if err != nil {
		return err
	}
	if want := f.cfg.Shard.Count; count != want {
		return fmt.Errorf("firehose: config: %w", &FieldError{
			Field: "Shard.Count", Value: strconv.Itoa(want), Want: fmt.Sprintf("%d, by which the DB is divided since its first start", count),
		})
	}
	f.isDivided.Store(true)
	return nil
}

// divide returns the count by which a store is divided, 0 if it is not. One that
// was never used is divided by count; of several processes that start at once, one
// does that.
func divide(ctx context.Context, store db.DB, owner db.Owner, count int) (int, error) {
	for range 8 {
		found, err := store.Get(ctx, shardSpace, shardID)
		if err != nil {
			return 0, fmt.Errorf("firehose: read the count of shards: %w", err)
		}
		if len(found) > 0 {
			n, err := strconv.Atoi(string(found[0].Value))
			if err != nil || n < 1 || n > MaxShards {
				return 0, fmt.Errorf("firehose: count of shards: %w", resource.ErrEncoding)
			}
			return n, nil
		}
		if count == 0 {
			return 0, nil
		}
		if used, err := usedWhole(ctx, store); used || err != nil {
			return 0, err
		}
		_, err = store.Write(ctx, db.Write{Record: db.Record{
			Space: shardSpace, ID: shardID, Version: 1, Owner: owner, Value: []byte(strconv.Itoa(count)),
		}})
		if err != nil {
			return 0, fmt.Errorf("firehose: write the count of shards: %w", err)
		}
	}
	return 0, errors.New("firehose: count of shards: it does not stay in the store")
}

// usedWhole reports whether an OS that was not sharded has left something in the
// store that no shard would find.
func usedWhole(ctx context.Context, store db.DB) (bool, error) {
	for _, space := range []string{queueSpace, bucketSpace, wishSpace} {
		for _, err := range store.Scan(ctx, space) {
			if err != nil {
				return false, fmt.Errorf("firehose: look for records of an OS that is not sharded: %w", err)
			}
			return true, nil
		}
	}
	return false, nil
}
