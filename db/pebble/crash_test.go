package pebble

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

// TestPowerCut cuts the power of a disk that forgets what was not synced, any
// part of it, at random instants of a store in use.
func TestPowerCut(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	disk := vfs.NewCrashableMem()
	s, err := open("/d", tiny, disk)
	require.NoError(t, err)
	l := newLedger()
	var wg sync.WaitGroup
	wg.Go(func() { load(s, l, 6, 2000) })
	cuts := 0
	for last := 0; last < 6*1900; cuts++ {
		acked := l.copyAcked()
		crashed := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: random.IntN(101), RNG: random})
		last = l.count()
		after := l.copyAcked()
		again, err := open("/d", tiny, crashed)
		if err != nil {
			require.NoError(t, err, "cut %d", cuts)
		}
		for id, version := range acked {
			records, err := again.Get(t.Context(), "s", id)
			require.NoError(t, err)
			var got int64
			if len(records) > 0 {
				got = records[0].Version
				require.Equal(t, valueOf(id, got), string(records[0].Value))
			}
			// A step may have been made since, and another be under way; a
			// delete begins anew.
			if version == after[id] {
				require.Contains(t, []int64{version, version + 1, 0}, got, "%s after cut %d", id, cuts)
			}
			if got == 0 && version != 0 {
				require.True(t, after[id] < version || version == after[id], "%s was deleted by nobody", id)
			}
		}
		require.NoError(t, again.Close())
	}
	wg.Wait()
	require.Empty(t, l.errs)
	l.check(t, s, false)
	require.NoError(t, s.Close())
	t.Logf("%d cuts", cuts)
}

// TestPowerCutWhileOpening cuts it at every change that the first Open makes.
func TestPowerCutWhileOpening(t *testing.T) {
	for from := int64(1); ; from++ {
		disk := vfs.NewCrashableMem()
		f := &full{match: changing, from: from}
		s, err := open("/d", tiny, errorfs.Wrap(disk, f))
		if err == nil {
			if s.Close() == nil {
				require.Greater(t, from, int64(20))
				return
			}
		}
		for _, percent := range []int{0, 50, 100} {
			crashed := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(from), 1))})
			s, err = open("/d", tiny, crashed)
			require.NoError(t, err, "operation %d, %d %%", from, percent)
			_, err = s.Write(t.Context(), db.Write{Record: db.Record{Space: "s", ID: "a", Version: 1}})
			require.NoError(t, err)
			require.NoError(t, s.Close())
		}
	}
}

// childEnv makes the test binary the writer that TestKill kills: its value is
// the directory.
const childEnv = "CANNEDOS_PEBBLE_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		fmt.Fprintln(os.Stderr, writeUntilKilled(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const childWriters, childRecords = 6, 20

// writeUntilKilled writes from several goroutines, and says what is
// acknowledged on standard output, one line each: record and version.
func writeUntilKilled(dir string) error {
	s, err := Open(dir, tiny)
	if err != nil {
		return err
	}
	failed := make(chan error, childWriters)
	var out sync.Mutex
	for n := range childWriters {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d", n, i%childRecords)
				version, err := writeOnce(s, id)
				if err != nil {
					failed <- err
					return
				}
				out.Lock()
				fmt.Println(id, version)
				out.Unlock()
			}
		}()
	}
	return <-failed
}

func writeOnce(s *Store, id string) (version int64, err error) {
	found, err := s.Get(context.Background(), "s", id)
	if err != nil {
		return 0, err
	}
	if len(found) > 0 {
		version = found[0].Version
	}
	r := db.Record{Space: "s", ID: id, Version: version + 1, Value: []byte(valueOf(id, version+1))}
	results, err := s.Write(context.Background(), db.Write{If: version, Record: r})
	if err == nil && !results[0].OK {
		err = fmt.Errorf("%s@%d lost to %d", id, version+1, results[0].Current.Version)
	}
	return version + 1, err
}

// TestKill kills a process that writes, at random instants: what it had been
// told is there, and nothing is half there.
func TestKill(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	dir := filepath.Join(t.TempDir(), "killed")
	acked := make(map[string]int64)
	total := 0
	for round := range 12 {
		total += killOne(t, dir, acked, 110+random.IntN(900))
		s, err := Open(dir, tiny)
		require.NoError(t, err, "round %d", round)
		for id, version := range acked {
			found, err := s.Get(t.Context(), "s", id)
			require.NoError(t, err)
			require.Len(t, found, 1, "round %d: %s was acknowledged", round, id)
			got := found[0]
			require.Contains(t, []int64{version, version + 1}, got.Version, "round %d: %s", round, id)
			require.Equal(t, valueOf(id, got.Version), string(got.Value))
		}
		for r, err := range s.Scan(t.Context(), "s") {
			require.NoError(t, err)
			acked[r.ID] = r.Version // written and never said
		}
		require.NoError(t, s.Close())
	}
	t.Logf("%d acknowledged writes survived", total)
}

// killOne starts a writer, kills it after some acknowledgements, and notes
// these.
func killOne(t *testing.T, dir string, acked map[string]int64, left int) (total int) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+dir)
	var complaint strings.Builder
	child.Stderr = &complaint
	stdout, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	for lines := bufio.NewScanner(stdout); lines.Scan(); left-- {
		var id string
		var version int64
		if _, err := fmt.Sscan(lines.Text(), &id, &version); err != nil {
			break // the last line, cut in the middle
		}
		require.Equal(t, acked[id]+1, version, "%s, as the child found it", id)
		acked[id] = version
		total++
		if left == 100 {
			_, err := Open(dir, tiny)
			require.ErrorIs(t, err, db.ErrLocked, "while the child has it")
			require.ErrorContains(t, err, lockedBy(child.Process.Pid))
		}
		if left == 1 {
			require.NoError(t, child.Process.Kill())
		}
	}
	err = child.Wait()
	exit, ok := errors.AsType[*exec.ExitError](err)
	require.True(t, ok && !exit.Exited(), "the child ended by itself: %v %s", err, &complaint)
	return total
}
