package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cannedos/cannedos/firehose/firehosetest"
	"github.com/stretchr/testify/require"
)

// asCommand makes the test binary be the command.
const asCommand = "CANNEDOS_ORIGIN_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// child is the command in a process of its own.
type child struct {
	*exec.Cmd
	out *bufio.Reader
	url string
}

func start(t *testing.T, args ...string) *child {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	c := &child{Cmd: cmd, out: bufio.NewReader(out)}
	line, err := c.out.ReadString('\n')
	require.NoError(t, err)
	var first struct{ URL string }
	require.NoError(t, json.Unmarshal([]byte(line), &first))
	require.True(t, strings.HasPrefix(first.URL, "http://127.0.0.1:"), first.URL)
	c.url = first.URL
	return c
}

// verdict reads what is left, which is one line, and waits for a good end.
func (c *child) verdict(t *testing.T) (v firehosetest.Verdict) {
	t.Helper()
	rest, err := io.ReadAll(c.out)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(rest), "\n"))
	require.NoError(t, json.Unmarshal(rest, &v))
	require.NoError(t, c.Wait())
	return v
}

func ask(t *testing.T, method, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Less(t, resp.StatusCode, 300)
	return string(body)
}

func TestCommand(t *testing.T) {
	for name, signal := range map[string]os.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": os.Interrupt} {
		t.Run(name, func(t *testing.T) {
			c := start(t, "-timelines", "2", "-poll-interval", "1s")
			ask(t, "GET", c.url+"/timelines/1/events")
			ask(t, "GET", c.url+"/timelines/1/events")
			ask(t, "POST", c.url+"/_oracle/killed")
			require.Contains(t, ask(t, "GET", c.url+"/_oracle"), `"polls":2`)
			require.NoError(t, c.Process.Signal(signal))
			v := c.verdict(t)
			require.EqualValues(t, 2, v.Polls)
			require.EqualValues(t, 1, v.Early)
			require.EqualValues(t, 1, v.Unconditional)
			require.EqualValues(t, 2, v.Impolite)
			require.EqualValues(t, 1, v.Kills)
		})
	}
	t.Run("stop", func(t *testing.T) {
		c := start(t)
		ask(t, "POST", c.url+"/_oracle/stop")
		require.Zero(t, c.verdict(t).Requests)
	})
	t.Run("for", func(t *testing.T) {
		require.Zero(t, start(t, "-for", "10ms").verdict(t).Requests)
	})
	t.Run("a slow answer does not hold it", func(t *testing.T) {
		c := start(t, "-faults", "slow=1")
		failed := make(chan error, 1)
		go func() {
			_, err := http.Get(c.url + "/events")
			failed <- err
		}()
		for !strings.Contains(ask(t, "GET", c.url+"/_oracle"), `"requests":1`) {
		}
		ask(t, "POST", c.url+"/_oracle/stop")
		require.EqualValues(t, 1, c.verdict(t).Requests)
		require.Error(t, <-failed)
	})
}

// A replay is served, and judged by a report.
func TestReplay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "items.csv")
	require.NoError(t, os.WriteFile(file, []byte("unix_ts,id,type,repo\n5,1,PushEvent,a/b\n5,2,ForkEvent,c/d\n6,3,,\n"), 0o600))
	c := start(t, "-replay", file, "-overlay", "2", "-speed", "1000", "-dialect", "gitlab", "-host", "other.test=github")
	body := ""
	for !strings.Contains(body, `"id":"6"`) {
		body = ask(t, "GET", c.url+"/events?again="+strconv.Itoa(len(body)))
	}
	require.Contains(t, body, `"type":"ForkEvent"`)
	require.Contains(t, ask(t, "POST", c.url+"/_oracle/items"), `"shown":6`)
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	require.EqualValues(t, 6, c.verdict(t).Items)
}

func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var out bytes.Buffer
	args := "-rate 0 -poll-interval 0 -max-age 9s -limit 7 -anonymous-limit 3 -window 60s -secondary 0.1 -secondary-wait 3s " +
		"-secondary-form date -buckets 2 -429 -late 0.1 -seed 9 -skew -3s -concurrency 1 -unread 1s -faults reset=0.1,503=0.2 -replay made -overlay 2"
	require.NoError(t, run(ctx, strings.Fields(args), &out, io.Discard))
	require.Equal(t, 2, strings.Count(out.String(), "\n"))
}

func TestRunErrors(t *testing.T) {
	for args, want := range map[string]string{
		"-limit -3":                  "Limit -3: must be 1 to",
		"-poll-interval 1ms":         "PollInterval 1ms: must be whole seconds",
		"-addr 127.0.0.1:-1":         "origin: listen on 127.0.0.1:-1",
		"-for -1s":                   "-for -1s: must not be negative",
		"-faults nonsense=0.1":       "must be secondary, slow",
		"-faults reset":              "must be kind=probability",
		"-faults 99=0.1":             "status 99",
		"-secondary-form soon":       "must be seconds, date or none",
		"surplus":                    `argument "surplus"`,
		"-rate -1":                   "Rate -1",
		"-unknown":                   "not defined",
		"-dialect klingon":           "must be github, gitlab",
		"-host a=b":                  "must be github, gitlab",
		"-host =github":              `name "": must be a host name`,
		"-overlay 0":                 "-overlay 0: must be 1 to 1,000",
		"-speed 0":                   "-speed 0: must be 0.001 to 1,000",
		"-replay /nowhere":           "origin: -replay: open /nowhere",
		"-replay " + os.Args[0]:      "origin: -replay " + os.Args[0] + ": firehosetest: arrivals: ",
		"-faults reset=0.7,slow=0.7": "add up to",
	} {
		require.ErrorContains(t, run(t.Context(), strings.Fields(args), io.Discard, io.Discard), want, args)
	}
}

// broken is a standard output that is closed.
type broken struct{ lines int }

func (b *broken) Write(p []byte) (int, error) {
	if b.lines--; b.lines < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func TestRunWithoutOutput(t *testing.T) {
	for lines, want := range []string{"write address", "write verdict"} {
		err := run(t.Context(), []string{"-for", "1ms"}, &broken{lines}, io.Discard)
		require.ErrorIs(t, err, io.ErrClosedPipe)
		require.ErrorContains(t, err, want)
	}
}
