package db

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

	"github.com/stretchr/testify/require"
)

// childEnv makes the test binary the writer that TestKill kills: its value is
// the file.
const childEnv = "CANNEDOS_DB_TEST_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		fmt.Fprintln(os.Stderr, writeUntilKilled(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const childWriters, childRecords = 6, 20

// writeUntilKilled writes from several goroutines, and says what is
// acknowledged on standard output, one line each: record and version.
func writeUntilKilled(path string) error {
	f, err := openFile(path, osFilesystem{}, fileOptions{compactMin: 64 << 10, renamesOpen: renamesOpen})
	if err != nil {
		return err
	}
	failed := make(chan error, childWriters)
	var out sync.Mutex
	for n := range childWriters {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d", n, i%childRecords)
				found, err := f.Get(context.Background(), "s", id)
				if err != nil {
					failed <- err
					return
				}
				version := int64(0)
				if len(found) > 0 {
					version = found[0].Version
				}
				r := Record{Space: "s", ID: id, Version: version + 1, Value: []byte(strings.Repeat(fmt.Sprint(version+1, " "), 50))}
				results, err := f.Write(context.Background(), Write{If: version, Record: r})
				if err != nil || !results[0].OK {
					failed <- fmt.Errorf("%v: %w", results, err)
					return
				}
				out.Lock()
				fmt.Println(id, version+1)
				out.Unlock()
			}
		}()
	}
	return <-failed
}

// TestKill kills a process that writes, at random instants: what it had been
// told is there, and nothing is half there.
func TestKill(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	path := filepath.Join(t.TempDir(), "killed.db")
	acked := make(map[string]int64)
	total := 0
	for round := range 15 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childEnv+"="+path)
		var complaint strings.Builder
		child.Stderr = &complaint
		stdout, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		lines := bufio.NewScanner(stdout)
		for left := 1 + random.IntN(1200); lines.Scan(); left-- {
			var id string
			var version int64
			_, err := fmt.Sscan(lines.Text(), &id, &version)
			if err != nil {
				break // the last line, cut in the middle
			}
			require.Equal(t, acked[id]+1, version, "%s, as the child found it", id)
			acked[id] = version
			total++
			if left == 100 {
				_, err := OpenFile(path)
				require.ErrorIs(t, err, ErrLocked, "while the child has it")
			}
			if left == 1 {
				require.NoError(t, child.Process.Kill())
			}
		}
		err = child.Wait()
		exit, ok := errors.AsType[*exec.ExitError](err)
		require.True(t, ok && !exit.Exited(), "round %d: the child ended by itself: %v %s", round, err, &complaint)

		f, err := OpenFile(path)
		require.NoError(t, err, "round %d", round)
		for id, version := range acked {
			found, err := f.Get(t.Context(), "s", id)
			require.NoError(t, err)
			require.Len(t, found, 1, "round %d: %s was acknowledged", round, id)
			got := found[0]
			require.Contains(t, []int64{version, version + 1}, got.Version, "round %d: %s", round, id)
			require.Equal(t, strings.Repeat(fmt.Sprint(got.Version, " "), 50), string(got.Value))
			acked[id] = got.Version
		}
		for r, err := range f.Scan(t.Context(), "s") {
			require.NoError(t, err)
			acked[r.ID] = r.Version // written and never said
		}
		require.NoError(t, f.Close())
	}
	t.Logf("%d acknowledged writes survived", total)
}
