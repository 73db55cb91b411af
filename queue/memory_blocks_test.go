package queue

import (
	"bufio"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/resource"
)

// blocksEnv makes TestBlocksPerMessage the process that is counted, with so many
// messages.
const blocksEnv = "QUEUE_BLOCKS_OF"

// TestBlocksPerMessage counts how often each block of this package's code runs,
// as the tools of test coverage do, for few messages and for sixteen times as
// many. So no loop stays unnoticed that grows with how many there are, wherever
// it was written and whether it counts its steps or not.
func TestBlocksPerMessage(t *testing.T) {
	if n, err := strconv.Atoi(os.Getenv(blocksEnv)); err == nil {
		runBlocks(t, n)
		return
	}
	t.Parallel()
	if testing.Short() {
		t.Skip("builds a test binary: run without -short")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "queue.test")
	out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-covermode=count", "-coverpkg=.", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)

	const small, big = 1 << 11, 1 << 15
	few, many := countBlocks(t, binary, small), countBlocks(t, binary, big)
	var sum [2]float64
	for _, file := range slices.Sorted(maps.Keys(many)) {
		a, b := float64(few[file])/small, float64(many[file])/big
		sum[0], sum[1] = sum[0]+a, sum[1]+b
		t.Logf("%s: %.1f blocks a message of %d, %.1f of %d", file, a, small, b, big)
		// A logarithm grows by a third. What is done a fixed number of times, such
		// as making the Memory, is in the slack.
		require.LessOrEqual(t, b, 1.5*a+5, "%s: grows too fast", file)
	}
	require.LessOrEqual(t, sum[1], 1.4*sum[0], "all in all")
	require.Greater(t, sum[0], 100.0, "it counts")
}

// countBlocks returns how many blocks of each file ran.
func countBlocks(t *testing.T, binary string, n int) map[string]int {
	profile := filepath.Join(t.TempDir(), "profile")
	cmd := exec.CommandContext(t.Context(), binary, "-test.run=^TestBlocksPerMessage$", "-test.coverprofile="+profile)
	cmd.Env = append(os.Environ(), blocksEnv+"="+strconv.Itoa(n))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	f, err := os.Open(profile)
	require.NoError(t, err)
	defer f.Close()
	blocks := map[string]int{}
	for lines := bufio.NewScanner(f); lines.Scan(); { // path/file.go:from,to statements times
		place, counts, ok := strings.Cut(lines.Text(), " ")
		if !ok || strings.HasPrefix(place, "mode:") {
			continue
		}
		_, times, _ := strings.Cut(counts, " ")
		k, err := strconv.Atoi(times)
		require.NoError(t, err, "%s", lines.Text())
		file, _, _ := strings.Cut(filepath.Base(place), ":")
		blocks[file] += k
	}
	return blocks
}

// runBlocks does with n messages all that can be done with them.
func runBlocks(t *testing.T, n int) {
	for name, due := range dues {
		if name != "at once" && name != "the past" {
			countSteps(t, n, due)
		}
	}
	m := newMemory(t, 0)
	s := openSession(t, m)
	for i := 0; i < n; i += benchBatch {
		require.NoError(t, s.Commit(t.Context(), nil, benchMessages(i, benchBatch)...))
	}
	var after resource.ID
	for listed := 0; listed < n; {
		page, err := m.List(t.Context(), "a", after, n/8)
		require.NoError(t, err)
		after = page[len(page)-1].Resource.ID
		listed += len(page)
	}
	for range 10 {
		_, err := m.Depths(t.Context())
		require.NoError(t, err)
	}

	// One session holds all and retires it in any order.
	m.pushClock(time.Hour)
	var all []Delivery
	for len(all) < n {
		ds, err := s.Receive(t.Context(), "a", maxBatch)
		require.NoError(t, err)
		all = append(all, ds...)
	}
	rand.New(rand.NewPCG(2, 2)).Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
	for ds := range slices.Chunk(all, benchBatch) {
		require.NoError(t, s.Commit(t.Context(), ds))
	}

	// Each in a name of its own.
	for i := range n {
		d := testMessage(fmt.Sprint("name ", i%(n/4)), i, time.Now().Add(time.Second))
		require.NoError(t, s.Commit(t.Context(), nil, d))
	}
	m.pushClock(time.Hour)
	for i := range n / 4 {
		ds, err := s.Receive(t.Context(), fmt.Sprint("name ", i), benchBatch)
		require.NoError(t, err)
		require.NoError(t, s.Commit(t.Context(), ds))
	}
}

// benchMessages are messages in the name "a" that are due within a minute.
func benchMessages(from, n int) []Message {
	ms := make([]Message, n)
	for i := range ms {
		ms[i] = Message{Queue: "a", Resource: benchResource(from + i), Due: time.Now().Add(time.Duration(from+i) % time.Minute)}
	}
	return ms
}
