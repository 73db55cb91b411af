package queue

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestArenaKeepsValuesApart(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 5))
	a := newArena()
	type held struct {
		addr uint32
		v    []byte
	}
	var all []held
	var bytesHeld int
	for i := range 20_000 {
		if len(all) > 0 && r.IntN(5) < 2 {
			k := r.IntN(len(all))
			require.Equal(t, all[k].v, a.get(all[k].addr)[:len(all[k].v)])
			a.drop(all[k].addr)
			bytesHeld -= len(all[k].v)
			all[k] = all[len(all)-1]
			all = all[:len(all)-1]
			continue
		}
		n := r.IntN(1 << (3 + r.IntN(13)))
		v := bytes.Repeat([]byte{byte(i)}, min(n, maxValue))
		addr, err := a.put(v)
		require.NoError(t, err)
		require.NotZero(t, addr)
		all = append(all, held{addr, v})
		bytesHeld += len(v)
	}
	for _, h := range all {
		require.Equal(t, h.v, a.get(h.addr)[:len(h.v)])
	}
	require.Less(t, float64(a.used), 1.13*float64(bytesHeld)+float64(len(all)*minValue))
	for _, h := range all {
		a.drop(h.addr)
	}
	require.Zero(t, a.used)
	with := 0
	for _, c := range a.chunks {
		if c != nil {
			with++
		}
	}
	require.LessOrEqual(t, with, maxSpare, "empty chunks are given back to the system")
}

func TestArenaClasses(t *testing.T) {
	t.Parallel()
	a := newArena()
	for n := range maxValue + 1 {
		v := make([]byte, n)
		addr, err := a.put(v)
		require.NoError(t, err)
		size := len(a.get(addr))
		require.GreaterOrEqual(t, size, n)
		if waste := size - n; n >= minValue {
			require.LessOrEqual(t, waste, max(7, n/8+8), "%d bytes", n)
		}
		a.drop(addr)
	}
}

// TestArenaFollowsGrowth: a fleet whose values grow leaves nothing behind in the
// classes that they have outgrown.
func TestArenaFollowsGrowth(t *testing.T) {
	t.Parallel()
	a := newArena()
	const n = 20_000
	addrs := make([]uint32, n)
	for size := 100; size <= 300; size += 50 {
		for i := range addrs {
			addr, err := a.put(make([]byte, size))
			require.NoError(t, err)
			if addrs[i] != 0 {
				a.drop(addrs[i])
			}
			addrs[i] = addr
		}
	}
	require.Less(t, len(a.chunks)*arenaChunk, 2*n*304, "chunks for the present and the former size together")
}

func TestArenaIsBounded(t *testing.T) {
	t.Parallel()
	a := newArena()
	a.chunks = make([]*[arenaChunk]byte, maxChunks) // as if all were in use
	_, err := a.put([]byte("one more"))
	require.ErrorIs(t, err, errArena)
}
