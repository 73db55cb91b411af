// Package servers runs a real Kafka broker and a real Cassandra node on
// loopback, from the jars that their projects publish, for integration tests.
// It needs Java 17 and Maven; the jars are kept in the user's cache.
package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Config describes one server.
type Config struct {
	Dir      string            // of its data; made if missing, used again if there
	Host     string            // address of the loopback that Cassandra listens at; empty: 127.0.0.1
	Settings map[string]string // lines of its configuration that replace or join the usual ones
	Heap     string            // of the Java machine, such as "1g"; empty: what suits a test
	Log      io.Writer         // what it prints; nil: kept in Dir/log
}

// A Server is one process that can be ended and started again on the same data
// and the same addresses. Its methods may not be called at the same time.
type Server struct {
	Name string // "Kafka" or "Cassandra"
	Addr string // host:port for clients

	dir   string
	jars  string
	log   io.Writer
	args  []string // of java
	ready func(net.Conn) error

	process *process // nil: not running
}

// Missing says what this machine lacks to run the servers; empty: nothing.
func Missing() string {
	for _, tool := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			return tool
		}
	}
	return ""
}

// readyWithin bounds a start. A cold machine under load takes half a minute.
const readyWithin = 3 * time.Minute

// Start runs the process and returns when it answers its clients' protocol.
func (s *Server) Start(ctx context.Context) error {
	if s.process != nil {
		return fmt.Errorf("servers: %s runs already", s.Name)
	}
	p, err := launch(s.dir, s.log, "java", s.args...)
	if err != nil {
		return fmt.Errorf("servers: start %s: %w", s.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	if err := s.await(ctx, p); err != nil {
		p.end(syscall.SIGKILL)
		return fmt.Errorf("servers: %s at %s: %w%s", s.Name, s.Addr, err, s.tail())
	}
	s.process = p
	return nil
}

func (s *Server) await(ctx context.Context, p *process) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		if last = s.probe(ctx); last == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return fmt.Errorf("ended by itself: %w", p.err)
		case <-ctx.Done():
			return fmt.Errorf("does not answer: %w", errors.Join(context.Cause(ctx), last))
		}
	}
}

func (s *Server) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return err
		}
	}
	return s.ready(c)
}

// tail is the end of what the server printed.
func (s *Server) tail() string {
	b, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil || len(b) == 0 {
		return ""
	}
	const most = 4 << 10
	return "\n" + string(b[max(0, len(b)-most):])
}

// Stop asks the process to end, waits, and kills it if a minute wasn't enough.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the process at once, as a crash would.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(signal syscall.Signal) {
	if s.process == nil {
		return
	}
	s.process.end(signal)
	s.process = nil
}

// Freeze stops the process without ending it; Thaw lets it go on.
func (s *Server) Freeze() error { return s.signal(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (s *Server) Thaw() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) error {
	if s.process == nil {
		return fmt.Errorf("servers: %s does not run", s.Name)
	}
	return s.process.cmd.Process.Signal(signal)
}

// process is a running child that does not outlive us.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when err is set
	err   error
}

func launch(dir string, log io.Writer, name string, args ...string) (*process, error) {
	if log == nil {
		f, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return nil, err
		}
		defer f.Close() // the child has its own
		log = f
	}
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	p := &process{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		unlock := tie(cmd)
		defer unlock()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, <-started
}

func (p *process) end(signal syscall.Signal) {
	_ = p.cmd.Process.Signal(signal)
	if signal != syscall.SIGKILL {
		_ = p.cmd.Process.Signal(syscall.SIGCONT) // one that is frozen can't end
	}
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// ports returns n free ports of the loopback. That nobody takes them until the
// server does is likely, not certain.
func ports(n int) ([]string, error) {
	var found []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		found = append(found, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return found, nil
}

// prepare makes the folder of a server and finds its jars.
func prepare(ctx context.Context, c Config, artifact artifact) (dir, jars string, err error) {
	if c.Dir == "" {
		return "", "", errors.New("servers: Config.Dir is empty: it must name a folder")
	}
	if tool := Missing(); tool != "" {
		return "", "", fmt.Errorf("servers: %s is missing: install it (Debian: apt-get install openjdk-17-jre-headless maven)", tool)
	}
	if dir, err = filepath.Abs(c.Dir); err != nil {
		return "", "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", err
	}
	jars, err = artifact.jars(ctx)
	return dir, jars, err
}

// write writes a configuration file of the given lines.
func write(dir, name string, lines ...string) (string, error) {
	path := filepath.Join(dir, name)
	var b bytes.Buffer
	for _, line := range lines {
		fmt.Fprintln(&b, line)
	}
	return path, os.WriteFile(path, b.Bytes(), 0o600)
}
