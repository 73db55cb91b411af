package db

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// stuck is a disk whose syncs of the log wait for permission.
type stuck struct {
	*simDisk
	entered, leave chan struct{}
}

type stuckHandle struct {
	handle
	d *stuck
}

func (d *stuck) open(name string, flag int, perm os.FileMode) (handle, error) {
	h, err := d.simDisk.open(name, flag, perm)
	return &stuckHandle{h, d}, err
}

func (h *stuckHandle) Sync() error {
	h.d.entered <- struct{}{}
	<-h.d.leave
	return h.handle.Sync()
}

// openStuck opens a new store on such a disk.
func openStuck(t *testing.T) (*stuck, *File) {
	t.Helper()
	disk := &stuck{simDisk: newSimDisk(1), entered: make(chan struct{}, 2), leave: make(chan struct{}, 2)}
	for range 2 { // the new header, and the recovered log
		disk.leave <- struct{}{}
	}
	f, err := openFile("/data/polls.db", disk, tiny)
	require.NoError(t, err)
	for range 2 {
		<-disk.entered
	}
	return disk, f
}

// write begins to create a record and returns where the outcome will be.
func (d *stuck) write(ctx context.Context, f *File, id string) chan error {
	done := make(chan error, 1)
	go func() {
		_, err := f.Write(ctx, Write{Record: Record{Space: "s", ID: id, Version: 1}})
		done <- err
	}()
	return done
}

// waiting returns when n writers are queued.
func waiting(f *File, n int) {
	for got := -1; got != n; runtime.Gosched() {
		f.mu.RLock()
		got = len(f.pending)
		f.mu.RUnlock()
	}
}

// TestGroupCommit has one writer in its sync, others waiting, and one of those
// giving up: the others share the next sync, and nothing is visible early.
func TestGroupCommit(t *testing.T) {
	disk, f := openStuck(t)
	first := disk.write(t.Context(), f, "first")
	<-disk.entered
	require.Zero(t, count(t, f), "not visible before it is on disk")
	ctx, cancel := context.WithCancel(t.Context())
	var others []chan error
	for i := range 10 {
		others = append(others, disk.write(t.Context(), f, fmt.Sprint("other", i)))
	}
	gone := disk.write(ctx, f, "gone")
	waiting(f, 11)
	cancel()
	err := <-gone
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "nothing was done")
	waiting(f, 10)
	disk.leave <- struct{}{}
	require.NoError(t, <-first)
	<-disk.entered // one for all ten
	disk.leave <- struct{}{}
	for _, done := range others {
		require.NoError(t, <-done)
	}
	require.Equal(t, 11, count(t, f))
	require.Empty(t, f.pending)
	require.NoError(t, f.Close())
}

// TestGroupLeftBehind: a writer whose batch is under way can only go without
// knowing the outcome; unless it is the one that leads, which can't go at all.
func TestGroupLeftBehind(t *testing.T) {
	disk, f := openStuck(t)
	left := false
	for round := 0; !left && round < 100; round++ {
		leader := disk.write(t.Context(), f, fmt.Sprint("leader", round))
		<-disk.entered
		ctx, cancel := context.WithCancel(t.Context())
		follower := disk.write(ctx, f, fmt.Sprint("follower", round))
		another := disk.write(t.Context(), f, fmt.Sprint("another", round))
		waiting(f, 2)
		disk.leave <- struct{}{}
		require.NoError(t, <-leader)
		<-disk.entered // the batch of both
		cancel()
		for range 1000 { // time to go
			runtime.Gosched()
		}
		left = len(follower) == 1
		disk.leave <- struct{}{}
		require.NoError(t, <-another)
		err := <-follower
		if left {
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorContains(t, err, "unknown")
		}
		require.Equal(t, 3*(round+1), count(t, f), "it was done all the same")
	}
	require.True(t, left)
	require.NoError(t, f.Close())
}

// TestGroupFails has the sync fail of one writer's batch, while others wait:
// its outcome is unknown, and theirs is that nothing was done.
func TestGroupFails(t *testing.T) {
	disk, f := openStuck(t)
	outcomes := []chan error{disk.write(t.Context(), f, "first")}
	<-disk.entered
	for i := range 5 {
		outcomes = append(outcomes, disk.write(t.Context(), f, fmt.Sprint("other", i)))
	}
	waiting(f, 5)
	disk.mu.Lock()
	disk.failAt, disk.fail = disk.ops+1, errFull
	disk.mu.Unlock()
	disk.leave <- struct{}{}
	unknown := 0
	for _, outcome := range outcomes {
		err := <-outcome
		require.ErrorIs(t, err, errFull)
		if !errors.Is(err, ErrFailed) {
			require.ErrorContains(t, err, "unknown")
			unknown++
		}
	}
	require.Equal(t, 1, unknown)
	require.Zero(t, count(t, f))
	require.NoError(t, f.Close())
}
