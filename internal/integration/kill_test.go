//go:build integration

package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose/firehosetest"
)

var (
	kills    = flag.Int("kill.times", 20, "how often the polling process is killed")
	killSeed = flag.Uint64("kill.seed", 1, "seed of the instants")

	killStore = flag.String("kill.store", "all", "where the state is: file (db.OpenFile), pebble (db/pebble), or all")
)

// TestKill polls an origin in a process of its own, and kills the polling
// process at random instants with SIGKILL. The oracle must find nothing
// impolite, and nothing may be lost.
func TestKill(t *testing.T) {
	for store, program := range map[string]string{"file": "./examples/firehose", "pebble": "./examples/durable"} {
		if *killStore == "all" || *killStore == store {
			t.Run(store, func(t *testing.T) { testKill(t, store, program) })
		}
	}
}

func testKill(t *testing.T, store, program string) {
	dir := t.TempDir()
	origin, poller := build(t, dir, "origin", "./firehose/cmd/origin"), build(t, dir, "poller", program)
	base := startOrigin(t, exec.Command(origin, "-timelines", "20", "-poll-interval", "1s", "-rate", "0.2", "-unread", "100ms"))
	args := []string{"-db", filepath.Join(dir, "polls.db"), "-timeout", "1s"}
	for n := range 20 {
		args = append(args, "-url", fmt.Sprintf("%s/timelines/%d/events", base, n))
	}
	rng := rand.New(rand.NewPCG(*killSeed, 1))
	for n := range *kills {
		cmd := exec.Command(poller, args...)
		var log bytes.Buffer
		cmd.Stderr = &log
		require.NoError(t, cmd.Start())
		life := time.Duration(100+rng.IntN(4000)) * time.Millisecond
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-time.After(life):
		case err := <-ended:
			require.Failf(t, "the poller ended by itself", "kill %d: %v\n%s", n, err, log.String())
		}
		require.NoError(t, cmd.Process.Signal(syscall.SIGKILL))
		<-ended
		post(t, base+"/_oracle/killed")
	}
	out, err := exec.Command(poller, append(args, "-for", "15s")...).Output()
	require.NoError(t, err)
	var summary struct{ Polls, Lost int }
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &summary))
	v := verdict(t, base)
	line, err := json.Marshal(v)
	require.NoError(t, err)
	t.Logf("kill: {\"store\":%q,\"seed\":%d,\"kills\":%d,\"lost\":%d,\"oracle\":%s}", store, *killSeed, *kills, summary.Lost, line)
	require.Zero(t, v.Impolite)
	require.LessOrEqual(t, v.Unknowable, v.InFlightAtKills)
	require.EqualValues(t, *kills, v.Kills)
	require.Zero(t, summary.Lost)
	require.EqualValues(t, 20, v.Resources, "every resource was polled")
	require.Greater(t, summary.Polls, 100, "it went on after the kills")
	require.Positive(t, v.NotModified, "validators outlived the kills")
}

// build builds a command of the project and returns the path of the program.
func build(t *testing.T, dir, name, pkg string) string {
	path := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-o", path, pkg)
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

// startOrigin starts the origin and returns its URL, which it prints first.
func startOrigin(t *testing.T, cmd *exec.Cmd) string {
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		io.Copy(io.Discard, out)
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	var first struct {
		URL string `json:"url"`
	}
	require.NoError(t, json.Unmarshal([]byte(line), &first))
	require.NotEmpty(t, first.URL)
	return first.URL
}

func post(t *testing.T, url string) {
	resp, err := http.Post(url, "", nil)
	require.NoError(t, err)
	resp.Body.Close()
	require.Less(t, resp.StatusCode, 300)
}

func verdict(t *testing.T, base string) (v firehosetest.Verdict) {
	resp, err := http.Get(base + "/_oracle")
	require.NoError(t, err)
	defer resp.Body.Close()
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&v))
	return v
}
