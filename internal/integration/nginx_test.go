//go:build integration

package integration

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

const nginxConfig = `
daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events { worker_connections 64; }
http {
	types { application/json json; }
	log_format poll '$msec $status $request_method "$http_if_none_match"';
	access_log %[1]s/access.log poll;
	client_body_temp_path %[1]s/tmp; proxy_temp_path %[1]s/tmp; fastcgi_temp_path %[1]s/tmp;
	uwsgi_temp_path %[1]s/tmp; scgi_temp_path %[1]s/tmp;
	server { listen %[2]s; root %[1]s/www; }
}
`

// request is a line of nginx's log.
type request struct {
	at     float64 // seconds, to the millisecond
	status int
	match  string
}

// TestNginx polls a file that a plain nginx serves: 200 first, 304 until the
// file changes, 200 then, and never before a second has passed.
func TestNginx(t *testing.T) {
	binary, err := exec.LookPath("nginx")
	if err != nil {
		binary, err = exec.LookPath("/usr/sbin/nginx") // where Debian has it, which not every PATH has
	}
	require.NoError(t, err, "install nginx: apt-get install nginx-light")
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "www"), 0o755))
	require.NoError(t, os.Chmod(dir, 0o755))
	page := filepath.Join(dir, "www", "feed.json")
	require.NoError(t, os.WriteFile(page, []byte(`{"version": 1}`), 0o644))
	require.NoError(t, os.Chtimes(page, time.Time{}, time.Now().Add(-time.Hour)))
	address := freeAddress(t)
	config := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, address), 0o644))
	start(t, exec.Command(binary, "-c", config, "-p", dir, "-e", filepath.Join(dir, "error.log")))
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, 20*time.Second, 20*time.Millisecond, "nginx listens")

	bodies := make(chan string, 100)
	canned, err := firehose.New(firehose.Config{
		Logger:    slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Resources: []resource.Spec{{URI: "http://" + address + "/feed.json", Interval: time.Second, MediaType: "application/json"}},
		Sink: firehose.SinkFunc(func(_ context.Context, r *resource.Response) error {
			bodies <- string(r.Body)
			return nil
		}),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- canned.Serve(ctx) }()

	requests := func() []request { return readLog(t, filepath.Join(dir, "access.log")) }
	require.Eventually(t, func() bool { return len(requests()) >= 4 }, 60*time.Second, 50*time.Millisecond, "four polls")
	require.Equal(t, `{"version": 1}`, receive(t, bodies))
	before := len(requests())
	require.NoError(t, os.WriteFile(page, []byte(`{"version": 2}`), 0o644))
	require.Equal(t, `{"version": 2}`, receive(t, bodies))
	require.Eventually(t, func() bool { return len(requests()) >= before+3 }, 60*time.Second, 50*time.Millisecond, "more polls")
	cancel()
	require.NoError(t, <-served)

	all := requests()
	changes := 0
	for i, r := range all {
		switch {
		case i == 0:
			require.Equal(t, 200, r.status)
			require.Equal(t, "-", r.match, "the first request is unconditional")
		case r.status == 200:
			changes++
			require.NotEqual(t, "-", r.match)
		default:
			require.Equal(t, 304, r.status, "request %d", i)
		}
		if i > 0 {
			require.GreaterOrEqual(t, r.at-all[i-1].at, 0.999, "request %d came early (nginx cuts to the millisecond)", i)
		}
	}
	require.Equal(t, 1, changes, "one change, one more 200")
	require.Empty(t, bodies)
}

func receive(t *testing.T, bodies <-chan string) string {
	select {
	case b := <-bodies:
		return b
	case <-time.After(60 * time.Second):
		require.Fail(t, "nothing was published within a minute")
		return ""
	}
}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// start runs a command until the end of the test.
func start(t *testing.T, cmd *exec.Cmd) {
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

func readLog(t *testing.T, name string) (all []request) {
	f, err := os.Open(name)
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.SplitN(lines.Text(), " ", 4)
		require.Len(t, fields, 4)
		at, err := strconv.ParseFloat(fields[0], 64)
		require.NoError(t, err)
		status, err := strconv.Atoi(fields[1])
		require.NoError(t, err)
		all = append(all, request{at, status, strings.ReplaceAll(strings.Trim(fields[3], `"`), `\x22`, `"`)})
	}
	return all
}
