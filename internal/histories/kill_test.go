package histories

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
)

// childEnv makes the test binary a child: its value is an assignment.
const childEnv = "CANNEDOS_HISTORIES_TEST_CHILD"

// assignment is what a child has to do, until it is killed.
type assignment struct {
	Store, Dir string
	Space      string
	Seed       uint64
	ID         int64 // of the last operation that was entered before
	First      int64 // see round
}

// lives is how many processes follow each other in one history.
const lives = 3

// killing makes a history of processes that work on the same files, one after
// the other, each until it is killed. Those with the same seed have owners in
// common, which claim again what they held.
func killing(t *testing.T, seed uint64, store string) *history {
	random := rand.New(rand.NewPCG(seed, 2))
	h, l := &history{}, &log{}
	a := assignment{Store: store, Dir: t.TempDir(), Space: fmt.Sprint("h", seed)}
	for life := range lives {
		a.Seed, a.ID, a.First = seed+uint64(life%2)<<60, l.id, int64(life)<<32
		liveAndDie(t, a, l, 100+random.IntN(600))
		h.faults++
	}
	again, err := open(store, a.Dir)
	require.NoError(t, err)
	defer again.Close()
	r := &round{log: l, space: a.Space}
	require.NoError(t, r.readAll(t.Context(), again))
	h.ops = l.ops
	return h
}

func open(store, dir string) (db.DB, error) {
	if store == "file" {
		return openFile(dir)
	}
	return openPebble(dir)
}

// liveAndDie starts a child and kills it after some lines.
func liveAndDie(t *testing.T, a assignment, l *log, left int) {
	t.Helper()
	what, err := json.Marshal(a)
	require.NoError(t, err)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+string(what))
	var complaint bytes.Buffer
	child.Stderr = &complaint
	lines, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	l.read(lines, func(n int) {
		if n == left {
			_ = child.Process.Kill()
		}
	})
	err = child.Wait()
	exit, ended := errors.AsType[*exec.ExitError](err)
	require.True(t, ended && !exit.Exited(), "the child ended by itself: %v %s", err, &complaint)
}

// runChild works until the process is killed.
func runChild(what string) error {
	var a assignment
	if err := json.Unmarshal([]byte(what), &a); err != nil {
		return err
	}
	store, err := open(a.Store, a.Dir)
	if err != nil {
		return err
	}
	r := &round{
		log: &log{lines: os.Stdout, id: a.ID}, seed: a.Seed, space: a.Space, first: a.First,
		ttl: 250 * time.Millisecond, pause: 20 * time.Millisecond,
	}
	r.start(context.Background(), func(n int) db.DB {
		return newFaulty(store, time.Millisecond, rand.New(rand.NewPCG(a.Seed, 1000+uint64(n))))
	})
	return <-r.errs
}
