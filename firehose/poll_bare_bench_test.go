//go:build unix

package firehose_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
)

// benchBare is set in the process that is the bare loop of BenchmarkPoll: its
// origin.
const benchBare = "FIREHOSE_BENCH_BARE"

// bareTurn is what the bare loop is asked for: so many polls, by so many workers,
// each with a deadline of its own or without one.
type bareTurn struct {
	Polls, Workers int
	Deadline       bool
}

// bareProcess is a bare loop in a process of its own. What the OS still has to do
// when its last request was answered, and the heap that it holds, are so not taken
// for the bare loop's.
type bareProcess struct {
	in  *json.Encoder
	out *json.Decoder
}

func startBare(b *testing.B, origin string) *bareProcess {
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), benchBare+"="+origin), os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	return &bareProcess{json.NewEncoder(in), json.NewDecoder(out)}
}

func (p *bareProcess) turn(b *testing.B, t bareTurn) (m metered) {
	require.NoError(b, p.in.Encode(t))
	require.NoError(b, p.out.Decode(&m))
	return m
}

// serveBare takes turns until its input ends.
func serveBare(origin string) int {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	client := &http.Client{}
	for {
		var t bareTurn
		err := in.Decode(&t)
		if errors.Is(err, io.EOF) {
			return 0
		}
		if client.Transport == nil {
			client.Transport = &http.Transport{MaxConnsPerHost: t.Workers, MaxIdleConnsPerHost: t.Workers}
		}
		if err == nil {
			m := meter(t.Polls, func() { err = bareLoop(client, origin, t) })
			err = errors.Join(err, out.Encode(m))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "bare loop:", err)
			return 1
		}
	}
}

// bareLoop is what a user would write: workers that each ask again and again.
func bareLoop(client *http.Client, origin string, t bareTurn) error {
	var left atomic.Int64
	left.Store(int64(t.Polls))
	var all sync.WaitGroup
	errs := make([]error, t.Workers)
	for w := range t.Workers {
		all.Go(func() {
			for errs[w] == nil && left.Add(-1) >= 0 {
				errs[w] = bareGet(client, origin, t.Deadline)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func bareGet(client *http.Client, origin string, deadline bool) error {
	ctx := context.Background()
	if deadline {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, origin+"/repos/owner-00000001/name-00000001/events", nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", firehose.DefaultUserAgent)
	req.Header.Set("Accept", "*/*")
	req.Header.Set("If-None-Match", benchETag)
	req.Header.Set("If-Modified-Since", benchModified)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotModified {
		err = errors.Join(err, fmt.Errorf("answered %s", resp.Status))
	}
	return err
}
