// With runs a command beside a real Kafka broker and a real Cassandra node,
// both on loopback with fresh data, and ends them after it:
//
//	go run ./internal/servers/with go test -tags integration ./...
//
// The command finds their addresses in CANNEDOS_KAFKA and CANNEDOS_CASSANDRA.
// It exits as the command does.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/cannedos/cannedos/internal/servers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code, err := run(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func run(ctx context.Context, command []string) (code int, err error) {
	if len(command) == 0 {
		return 2, errors.New("with: a command is missing: with COMMAND ARGUMENTS")
	}
	dir, err := os.MkdirTemp("", "cannedos-servers-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)

	begin := time.Now()
	makers := []func(context.Context, servers.Config) (*servers.Server, error){servers.NewKafka, servers.NewCassandra}
	running, failed := make([]*servers.Server, len(makers)), make([]error, len(makers))
	var wg sync.WaitGroup
	for i, maker := range makers {
		wg.Go(func() {
			s, err := maker(ctx, servers.Config{Dir: filepath.Join(dir, fmt.Sprint(i))})
			if err == nil {
				err = s.Start(ctx)
			}
			running[i], failed[i] = s, err
		})
	}
	wg.Wait()
	defer func() {
		for _, s := range running {
			if s != nil {
				s.Kill() // the data is thrown away
			}
		}
	}()
	if err := errors.Join(failed...); err != nil {
		return 1, err
	}
	env := os.Environ()
	for i, name := range []string{"CANNEDOS_KAFKA", "CANNEDOS_CASSANDRA"} {
		fmt.Fprintf(os.Stderr, "%s answers at %s\n", running[i].Name, running[i].Addr)
		env = append(env, name+"="+running[i].Addr)
	}
	fmt.Fprintf(os.Stderr, "both after %v\n", time.Since(begin).Round(100*time.Millisecond))

	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdin, os.Stdout, os.Stderr, env
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, fmt.Errorf("with: %s: %w", command[0], err)
	}
	return 0, nil
}
