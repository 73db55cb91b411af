//go:build integration

package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cannedos/cannedos/internal/servers"
	"github.com/cannedos/cannedos/resource"
)

// childEnv makes the test binary a process that moves resources until it is ended.
const childEnv = "CANNEDOS_KAFKA_TEST_CHILD"

// child is what it is told.
type child struct {
	Broker, Topic, Name string
	History, Log        string // files that all children append to
	Fragile             bool   // its connections break at random
}

func TestMain(m *testing.M) {
	if v := os.Getenv(childEnv); v != "" {
		var c child
		err := json.Unmarshal([]byte(v), &c)
		if err == nil {
			err = c.run()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, c.Name, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func (c *child) run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	out, err := os.OpenFile(c.History, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(c.Log, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	h := &history{out: out}
	cable := &cable{rig: &rig{dial: new(net.Dialer).DialContext}}
	if c.Fragile {
		go cable.rattle()
	}
	config := Config{
		Cluster: Cluster{
			Brokers: []string{c.Broker}, Logger: slog.New(slog.NewTextHandler(log, nil)).With("process", c.Name),
			Client: []kgo.Opt{kgo.Dialer(cable.dial)},
		},
		Topic: c.Topic, SessionTimeout: 6 * time.Second,
	}
	runs := make(chan int, 1)
	runs <- 0
	m, err := NewMember(config, func(ctx context.Context, p *Partition) error {
		n := <-runs + 1
		runs <- n
		return h.work(ctx, fmt.Sprintf("%s.%d", c.Name, n), p, 100*time.Millisecond)
	})
	if err != nil {
		return err
	}
	return m.Serve(ctx)
}

// rest paces what is done to processes and servers.
func rest(d time.Duration) { <-time.After(d) }

// rattle cuts connections, loses answers, and leaves connections half open.
func (c *cable) rattle() {
	for {
		rest(rand.N(4 * time.Second))
		switch rand.IntN(4) {
		case 0:
			c.pull()
			rest(rand.N(4 * time.Second))
			c.plug()
		case 1, 2:
			c.loseAnswer()
		case 3:
			c.mute()
		}
	}
}

// family starts children, and ends them.
type family struct {
	t     testing.TB
	child child
	all   []*exec.Cmd
	born  int
}

func newFamily(t testing.TB, r *rig) *family {
	dir := t.TempDir()
	f := &family{t: t, child: child{
		Broker: r.config.Brokers[0], Topic: r.config.Topic,
		History: filepath.Join(dir, "history"), Log: filepath.Join(dir, "log"),
	}}
	require.NoError(t, os.WriteFile(f.child.History, nil, 0o600))
	require.NoError(t, os.WriteFile(f.child.Log, nil, 0o600))
	t.Cleanup(func() {
		for _, c := range f.all {
			f.signal(c, syscall.SIGKILL)
			_ = c.Wait()
		}
		if t.Failed() {
			log, _ := os.ReadFile(f.child.Log)
			t.Logf("%s", log[max(0, len(log)-20_000):])
		}
	})
	return f
}

func (f *family) start(fragile bool) *exec.Cmd {
	f.born++
	c := f.child
	c.Name, c.Fragile = fmt.Sprintf("c%d", f.born), fragile
	v, err := json.Marshal(c)
	require.NoError(f.t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(v))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	require.NoError(f.t, cmd.Start())
	f.all = append(f.all, cmd)
	return cmd
}

func (f *family) signal(c *exec.Cmd, s syscall.Signal) {
	if c.ProcessState == nil {
		_ = c.Process.Signal(s)
	}
}

func (f *family) judge() judged {
	in, err := os.Open(f.child.History)
	require.NoError(f.t, err)
	defer in.Close()
	return judge(in, "0")
}

// testLife has three processes move resources for a while, and does something to one
// of them now and then. In the end all is there, once, as it was left.
func testLife(t *testing.T, r *rig, partitions int, within time.Duration, fragile bool, do func(f *family, all []*exec.Cmd, i int)) {
	const resources = 48
	admitting := r.start(nil)
	admitAll(t, admitting, partitions, resources)
	admitting.stop()
	<-admitting.ended
	require.NoError(t, admitting.err)
	f := newFamily(t, r)
	all := []*exec.Cmd{f.start(fragile), f.start(fragile), f.start(fragile)}
	for begun := time.Now(); time.Since(begun) < within; {
		rest(2*time.Second + rand.N(3*time.Second))
		do(f, all, rand.IntN(len(all)))
	}
	rest(15 * time.Second) // everything is in somebody's hands again
	moves := f.judge().moves
	require.Eventually(t, func() bool { return f.judge().moves > moves }, 2*time.Minute, time.Second, "they go on")
	for _, c := range all {
		f.signal(c, syscall.SIGTERM)
	}
	for _, c := range all {
		_ = c.Wait()
	}
	j := f.judge()
	require.Empty(t, j.wrong)
	requireAll(t, r.start(nil), j, partitions, resources)
	t.Logf("%d processes, %d moves, %d times taken over", f.born, j.moves, j.takeovers)
	require.Greater(t, j.moves, 500)
	require.Greater(t, j.takeovers, resources)
}

// TestKill kills processes, stops some for longer than every timeout, and ends and
// starts others.
func TestKill(t *testing.T) {
	testLife(t, newRealRig(t, 6), 6, 35*time.Second, false, func(f *family, all []*exec.Cmd, i int) {
		switch rand.IntN(4) {
		case 0, 1:
			f.signal(all[i], syscall.SIGKILL)
			_ = all[i].Wait()
			all[i] = f.start(false)
		case 2:
			f.signal(all[i], syscall.SIGSTOP)
			rest(8*time.Second + rand.N(10*time.Second))
			f.signal(all[i], syscall.SIGCONT)
		case 3:
			f.signal(all[i], syscall.SIGTERM)
			_ = all[i].Wait()
			all[i] = f.start(false)
		}
	})
}

// TestFragile breaks connections.
func TestFragile(t *testing.T) {
	testLife(t, newRealRig(t, 6), 6, 20*time.Second, true, func(f *family, all []*exec.Cmd, i int) {
		if rand.IntN(3) == 0 {
			f.signal(all[i], syscall.SIGKILL)
			_ = all[i].Wait()
			all[i] = f.start(true)
		}
	})
}

// TestBroker ends the broker, one way or the other, and starts it again.
func TestBroker(t *testing.T) {
	if os.Getenv("CANNEDOS_KAFKA") == "" {
		newRealRig(t, 1) // skips, and says why
	}
	broker, err := servers.NewKafka(t.Context(), servers.Config{Dir: t.TempDir(), Heap: "512m"})
	require.NoError(t, err)
	require.NoError(t, broker.Start(t.Context()))
	t.Cleanup(broker.Kill)
	t.Setenv("CANNEDOS_KAFKA", broker.Addr)
	testLife(t, newRealRig(t, 6), 6, 25*time.Second, false, func(f *family, all []*exec.Cmd, i int) {
		switch rand.IntN(3) {
		case 0:
			broker.Stop()
			require.NoError(t, broker.Start(t.Context()))
		case 1:
			broker.Kill()
			require.NoError(t, broker.Start(t.Context()))
		case 2:
			require.NoError(t, broker.Freeze())
			rest(3 * time.Second)
			require.NoError(t, broker.Thaw())
		}
	})
}

// TestLargest moves a resource that is as large as one can be.
func TestLargest(t *testing.T) {
	r := newRealRig(t, 1)
	a := r.start(nil)
	res := newResource(t, "https://a.example/"+strings.Repeat("u", resource.MaxURI-len("https://a.example/")))
	res.Validators.ETag = `"` + strings.Repeat("e", 1000) + `"`
	res.Cause = strings.Repeat("c", resource.MaxCause)
	s := open(t, a.part(t, 0))
	require.NoError(t, s.Commit(t.Context(), nil, messageOf("q", res)))
	a.stop()
	<-a.ended
	b := r.start(nil)
	ds, err := open(t, b.part(t, 0)).Receive(t.Context(), "q", 1)
	require.NoError(t, err)
	require.Equal(t, res.URI, ds[0].Resource.URI)
	require.Equal(t, res.Validators, ds[0].Resource.Validators)
}
