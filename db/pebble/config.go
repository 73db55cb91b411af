package pebble

import (
	"fmt"
	"log/slog"

	"github.com/cannedos/cannedos/db"
)

// Defaults and bounds of a Config.
const (
	DefaultCacheBytes    = 32 << 20
	DefaultMemTableBytes = 32 << 20

	minCacheBytes    = 64 << 10
	maxCacheBytes    = 1 << 40
	minMemTableBytes = 1 << 20
	maxMemTableBytes = 1 << 30
)

// Config says how a store works. The zero Config is ready for use.
type Config struct {
	// Logger gets the engine's messages: errors at level Error, each once, and
	// what it does in the background at level Debug. They hold names of files,
	// sizes and causes, and neither IDs nor values of records. Nil: none.
	Logger *slog.Logger

	// CacheBytes bounds the cache of blocks that were read from tables, in
	// bytes; from 64 KiB to 1 TiB. Zero means DefaultCacheBytes.
	CacheBytes int64

	// MemTableBytes is how much is gathered in memory, and in a log on disk,
	// before it is written to a table, in bytes; from 1 MiB to 1 GiB. Zero
	// means DefaultMemTableBytes. Up to four of that may be waiting to be
	// written, so that memory stays below the cache and five times this, and
	// the batches under way. More makes bulk writes cheaper and a start after
	// a crash slower.
	MemTableBytes int64
}

// withDefaults returns the config with zero values replaced, or ErrInvalid.
func (c Config) withDefaults() (Config, error) {
	c.Logger = c.logger()
	var err error
	if c.CacheBytes, err = inBounds("cache bytes", c.CacheBytes, DefaultCacheBytes, minCacheBytes, maxCacheBytes); err != nil {
		return c, err
	}
	c.MemTableBytes, err = inBounds("mem table bytes", c.MemTableBytes, DefaultMemTableBytes, minMemTableBytes, maxMemTableBytes)
	return c, err
}

func (c Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

func inBounds(field string, value, preset, least, most int64) (int64, error) {
	switch {
	case value == 0:
		return preset, nil
	case value < least || value > most:
		return 0, fmt.Errorf("%w: %s %d, want 0 (%d) or %d to %d", db.ErrInvalid, field, value, preset, least, most)
	}
	return value, nil
}
