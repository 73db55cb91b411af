//go:build integration

package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/scheduler"
)

// checkInEnv makes the test binary the program that TestKillCheckIn kills: its
// value is the file.
const checkInEnv = "CANNEDOS_CHECKIN_TEST_CHILD"

// checkInEvery is as often as a service may check in.
const checkInEvery = scheduler.MinSaveEvery

// said is a state store that says on standard output what it is given and what
// it has acknowledged.
type said struct{ *db.States }

func (s said) SaveState(ctx context.Context, path string, state []byte) error {
	fmt.Println("sent", string(state))
	err := s.States.SaveState(ctx, path, state)
	if err == nil {
		fmt.Println("acknowledged", string(state))
	}
	return err
}

// tally counts without end.
type tally struct{ n atomic.Int64 }

func (c *tally) Serve(ctx context.Context) error {
	for ctx.Err() == nil {
		c.n.Add(1)
		<-time.After(time.Millisecond)
	}
	return nil
}

func (c *tally) SaveState(context.Context) ([]byte, error) {
	return strconv.AppendInt(nil, c.n.Load(), 10), nil
}

func (c *tally) RestoreState(_ context.Context, state []byte) error {
	n, err := strconv.ParseInt(string(state), 10, 64)
	c.n.Store(n)
	fmt.Println("restored", n)
	return err
}

// TestCheckInChild is no test, but the program that is killed.
func TestCheckInChild(t *testing.T) {
	path := os.Getenv(checkInEnv)
	if path == "" {
		t.Skip("is no test: TestKillCheckIn needs it as a program to kill")
	}
	file, err := db.OpenFile(path)
	require.NoError(t, err)
	states, err := db.NewStates(file, "state")
	require.NoError(t, err)
	s, err := scheduler.New(scheduler.Config{States: said{states}, Services: []scheduler.Spec{
		{Alias: "tally", Service: &tally{}, SaveEvery: checkInEvery},
	}})
	require.NoError(t, err)
	require.NoError(t, s.Serve(t.Context()))
}

// TestKillCheckIn kills a process with a service that checks in all the time,
// with SIGKILL at random instants: the next process is given the latest
// check-in that was acknowledged, or the one that was on its way.
func TestKillCheckIn(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	path := filepath.Join(t.TempDir(), "states.db")
	const rounds = 15
	var kept checkIns
	for round := range rounds {
		kept.killOne(t, round, path, 1+random.IntN(8), time.Duration(random.Int64N(int64(2*checkInEvery))))
	}
	t.Logf("%d check-ins acknowledged, the last %s; %d times the one on its way had arrived",
		kept.total, kept.acknowledged, kept.ahead)
}

// checkIns are what the processes said so far.
type checkIns struct {
	sent, acknowledged string // the latest
	total              int    // acknowledged
	ahead              int    // given back, though not acknowledged
}

// killOne starts a process and kills it: some time after so many check-ins were
// acknowledged.
func (c *checkIns) killOne(t *testing.T, round int, path string, after int, wait time.Duration) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestCheckInChild$")
	child.Env = append(os.Environ(), checkInEnv+"="+path)
	var said, complaint strings.Builder
	child.Stderr = &complaint
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	restored := c.acknowledged == "" // there may be nothing to be given back
	lines := bufio.NewScanner(out)   // each was written at once, so none is cut
	for lines.Scan() {
		fmt.Fprintln(&said, lines.Text())
		verb, state, _ := strings.Cut(lines.Text(), " ")
		switch verb {
		case "restored":
			restored = true
			require.Contains(t, []string{c.acknowledged, c.sent}, state, "round %d", round)
			if state != c.acknowledged {
				c.ahead++
			}
			c.acknowledged, c.sent = state, state
		case "sent":
			require.True(t, restored, "round %d: it checked in before it was given back anything", round)
			c.sent = state
		case "acknowledged":
			require.Equal(t, c.sent, state)
			c.acknowledged = state
			c.total++
			if after--; after == 0 {
				time.AfterFunc(wait, func() { _ = child.Process.Kill() }) // fails if it ended, as is found below
			}
		}
	}
	exit, ok := errors.AsType[*exec.ExitError](child.Wait())
	require.True(t, ok && !exit.Exited(), "round %d: the child ended by itself: %v\n%s%s", round, child.ProcessState, &said, &complaint)
	require.LessOrEqual(t, after, 0, "round %d: it checked in too rarely\n%s%s", round, &said, &complaint)
}
