package pebble

import (
	"errors"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

// full is a disk that is full, for operations that match, from the nth on.
type full struct {
	match func(op errorfs.Op) bool
	from  int64
	seen  atomic.Int64
	off   atomic.Bool
}

func (f *full) String() string { return "full" }

func (f *full) MaybeError(op errorfs.Op) error {
	if f.off.Load() || !f.match(op) || f.seen.Add(1) < f.from {
		return nil
	}
	return syscall.ENOSPC
}

// changing are the operations that a full or broken disk refuses.
func changing(op errorfs.Op) bool {
	switch op.Kind {
	case errorfs.OpCreate, errorfs.OpLink, errorfs.OpRename, errorfs.OpReuseForWrite,
		errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		return true
	}
	return false
}

// on matches operations of some kinds on files whose names contain a text.
func on(text string, kinds ...errorfs.OpKind) func(errorfs.Op) bool {
	return func(op errorfs.Op) bool {
		if !changing(op) || !strings.Contains(path.Base(op.Path), text) {
			return false
		}
		if slices.Contains(kinds, op.Kind) {
			return true
		}
		return len(kinds) == 0
	}
}

// overFull opens a store on a disk, loads it until a write fails, and requires
// what holds for a disk that refuses to write: it is said, once as an unknown
// outcome at the most, and then as ErrFailed; reads go on, and show what was
// acknowledged and nothing else; Close ends, and so does the failure with it.
func overFull(t *testing.T, f *full, writers, writes int) {
	t.Helper()
	disk := vfs.NewCrashableMem()
	config := tiny
	config.Logger = testLog(t)
	s, err := open("/d", config, errorfs.Wrap(disk, f))
	if err != nil {
		require.ErrorIs(t, err, syscall.ENOSPC)
		f.off.Store(true)
		s, err = open("/d", tiny, disk)
		require.NoError(t, err, "after a failed Open")
		require.NoError(t, s.Close())
		return
	}
	l := newLedger()
	load(s, l, writers, writes)
	if s.fence.failure() == nil {
		require.Empty(t, l.errs)
		l.check(t, s, false)
		err = s.Close()
		if s.fence.failure() == nil {
			require.NoError(t, err)
			return
		}
		require.ErrorIs(t, err, syscall.ENOSPC, "full while closing")
	} else {
		for _, err := range l.errs {
			require.ErrorIs(t, err, syscall.ENOSPC)
			if !errors.Is(err, db.ErrFailed) {
				require.ErrorContains(t, err, "unknown")
			}
		}
		_, err = s.Write(t.Context(), db.Write{Record: db.Record{Space: "s", ID: "late", Version: 1}})
		require.ErrorIs(t, err, db.ErrFailed)
		require.ErrorIs(t, err, syscall.ENOSPC, "the cause")
		l.check(t, s, false)
		require.NoError(t, s.Close())
	}

	// Whether the machine goes down with it or not.
	crashed := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
	f.off.Store(true)
	for _, disk := range []vfs.FS{disk, crashed} {
		s, err = open("/d", tiny, disk)
		require.NoError(t, err, "after room was made")
		l.check(t, s, true)
		results, err := s.Write(t.Context(), db.Write{Record: db.Record{Space: "t", ID: "late", Version: 1}})
		require.NoError(t, err)
		require.True(t, results[0].OK)
		require.NoError(t, s.Close())
	}
}

func TestFullDisk(t *testing.T) {
	for _, c := range []struct {
		name  string
		match func(errorfs.Op) bool
		from  int64
	}{
		{"write of a log", on(".log", errorfs.OpFileWrite), 300},
		{"sync of a log", on(".log", errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo), 300},
		{"new log", on(".log", errorfs.OpCreate, errorfs.OpReuseForWrite), 3},
		{"log used again", on(".log", errorfs.OpReuseForWrite), 1},
		{"new table", on(".sst", errorfs.OpCreate), 2},
		{"write of a table", on(".sst", errorfs.OpFileWrite), 5},
		{"sync of a table", on(".sst", errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo), 2},
		{"write of a manifest", on("MANIFEST", errorfs.OpFileWrite), 4},
		{"sync of a manifest", on("MANIFEST", errorfs.OpFileSync, errorfs.OpFileSyncData), 4},
		{"sync of the directory", on("d", errorfs.OpFileSync), 14},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &full{match: c.match, from: c.from}
			overFull(t, f, 6, 500)
			require.GreaterOrEqual(t, f.seen.Load(), c.from, "operations that match: the fault was never met")
		})
	}
}

// TestFullDiskAnywhere has the disk fail from any operation on, those of Open
// included.
func TestFullDiskAnywhere(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	// Each operation of Open, and some of those that follow.
	from := int64(1)
	for from < 1500 {
		overFull(t, &full{match: changing, from: from}, 3, 300)
		if from < 70 {
			from++
		} else {
			from += 1 + random.Int64N(120)
		}
	}
}

// TestFullDiskWhileOpening has the disk full when a store is opened after a
// crash, whose log has to become tables: it is said, and harms nothing.
func TestFullDiskWhileOpening(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s, err := open("/d", Config{}, disk)
	require.NoError(t, err)
	l := newLedger()
	load(s, l, 4, 200)
	crashed := disk.CrashClone(vfs.CrashCloneCfg{})
	require.NoError(t, s.Close())
	for from := int64(1); ; from++ {
		again := vfs.NewMem()
		_, err := vfs.Clone(crashed, again, "/d", "/d")
		require.NoError(t, err)
		s, err := open("/d", tiny, errorfs.Wrap(again, &full{match: changing, from: from}))
		if err == nil {
			if err = s.Close(); err == nil {
				require.Greater(t, from, int64(20))
				return
			}
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
		s, err = open("/d", tiny, again)
		require.NoError(t, err)
		l.check(t, s, false)
		require.NoError(t, s.Close())
	}
}

// TestFullDiskWhileClosing has the disk full at each operation of Close: it says
// so, and what was acknowledged is there when the store is opened again.
func TestFullDiskWhileClosing(t *testing.T) {
	for from := int64(1); ; from++ {
		f := &full{match: changing, from: from}
		f.off.Store(true)
		disk := vfs.NewMem()
		s, err := open("/d", Config{}, errorfs.Wrap(disk, f))
		require.NoError(t, err)
		l := newLedger()
		load(s, l, 3, 50)
		require.Empty(t, l.errs)
		f.off.Store(false)
		err = s.Close()
		if s.fence.failure() == nil {
			require.NoError(t, err)
			require.Greater(t, from, int64(3), "too few operations of Close")
			return
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
		s, err = open("/d", Config{}, disk)
		require.NoError(t, err)
		l.check(t, s, false)
		require.NoError(t, s.Close())
	}
}

// TestFailedStoreOpensAgain: what has failed in one opening is over in the
// next, in the same process, whatever the engine of the former was doing.
func TestFailedStoreOpensAgain(t *testing.T) {
	disk := vfs.NewMem()
	f := &full{match: on(".sst"), from: 1}
	s, err := open("/d", tiny, errorfs.Wrap(disk, f))
	require.NoError(t, err)
	l := newLedger()
	load(s, l, 4, 500)
	require.NotEmpty(t, l.errs)
	_, err = open("/d", tiny, disk)
	require.ErrorIs(t, err, db.ErrLocked, "a failed store keeps its lock until it is closed")
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s, err = open("/d", tiny, disk)
	require.NoError(t, err)
	l.check(t, s, true)
	require.NoError(t, s.Close())
}

// TestPanicOfTheEngine: it becomes an error, and the directory can be opened
// again although the engine can't be closed.
func TestPanicOfTheEngine(t *testing.T) {
	disk := vfs.NewMem()
	s, err := open("/d", tiny, disk)
	require.NoError(t, err)
	l := newLedger()
	load(s, l, 2, 50)
	require.ErrorIs(t, s.guard(func() error { panic("a bug") }), errPanic)
	s.fence.trip(errPanic, errPanic.Error())
	_, err = s.Write(t.Context(), db.Write{Record: db.Record{Space: "s", ID: "late", Version: 1}})
	require.ErrorIs(t, err, db.ErrFailed)
	require.NoError(t, s.Close())
	abandoned := s.engine
	s, err = open("/d", tiny, disk)
	require.NoError(t, err)
	l.check(t, s, true)
	_ = abandoned.Close() // it has no effect on the directory any more
	load(s, l, 2, 50)
	require.NoError(t, s.Close())
	s, err = open("/d", tiny, disk)
	require.NoError(t, err)
	l.check(t, s, true)
	require.NoError(t, s.Close())
}
