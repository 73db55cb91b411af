//go:build unix

package firehose_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// benchOrigin is set in the process that is the origin of BenchmarkPoll.
const benchOrigin = "FIREHOSE_BENCH_ORIGIN"

// The validators of all that it has.
const (
	benchETag     = `W/"0000000000000000000000000000000000000000000000000000000000000007"`
	benchModified = "Wed, 21 Oct 2026 07:28:00 GMT"
)

// serveBench answers every request by 304, as lean as can be, until its input
// ends. It says on its output where it listens.
func serveBench() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 1
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		c, err := l.Accept()
		if err != nil {
			return 1
		}
		go answerBench(c)
	}
}

func answerBench(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		conditional := false
		for {
			line, err := in.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) <= 2 {
				break
			}
			conditional = conditional || bytes.HasPrefix(line, []byte("If-None-Match:"))
		}
		status, length := "304 Not Modified", ""
		if !conditional {
			status, length = "200 OK", "Content-Length: 0\r\n"
		}
		_, err := fmt.Fprintf(c, "HTTP/1.1 %s\r\nServer: bench\r\nDate: %s\r\nETag: %s\r\n"+
			"Last-Modified: %s\r\nCache-Control: private\r\n%s\r\n",
			status, time.Now().UTC().Format(http.TimeFormat), benchETag, benchModified, length)
		if err != nil {
			return
		}
	}
}

// startBenchOrigin starts the origin in a process of its own, so that what it
// costs is not counted.
func startBenchOrigin(b *testing.B) string {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchOrigin+"=1")
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(b, err)
	return "http://" + strings.TrimSpace(line)
}
