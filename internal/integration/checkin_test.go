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
		{Alias: "tally", Service: &tally{}, SaveEvery: 20 * time.Millisecond},
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
	sent, acknowledged, total := "", "", 0
	for round := range 15 {
		child := exec.Command(os.Args[0], "-test.run=^TestCheckInChild$")
		child.Env = append(os.Environ(), checkInEnv+"="+path)
		var complaint strings.Builder
		child.Stderr = &complaint
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		restored := acknowledged == "" // there may be nothing to be given back
		lines := bufio.NewScanner(out) // each was written at once, so none is cut
		for left := 2 + random.IntN(40); lines.Scan(); {
			verb, state, _ := strings.Cut(lines.Text(), " ")
			switch verb {
			case "restored":
				restored = true
				require.Contains(t, []string{acknowledged, sent}, state, "round %d", round)
				acknowledged, sent = state, state
			case "sent":
				require.True(t, restored, "round %d: it checked in before it was given back anything", round)
				sent = state
			case "acknowledged":
				require.Equal(t, sent, state)
				acknowledged = state
				total++
			}
			if left--; left == 0 {
				// Somewhere in the time until the check-in after the next.
				<-time.After(time.Duration(random.IntN(40_000)) * time.Microsecond)
				require.NoError(t, child.Process.Kill())
			}
		}
		exit, ok := errors.AsType[*exec.ExitError](child.Wait())
		require.True(t, ok && !exit.Exited(), "round %d: the child ended by itself: %s", round, &complaint)
	}
	require.Greater(t, total, 50)
	t.Logf("%d check-ins acknowledged, the last %s", total, acknowledged)
}
