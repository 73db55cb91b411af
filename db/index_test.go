package db

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCellClasses(t *testing.T) {
	last := 0
	for n := 0; n <= cellMax; n++ {
		class := classOf(n)
		require.Less(t, class, classes, "class of %d bytes", n)
		size := cellSize(class)
		require.GreaterOrEqual(t, size, n, "cell for %d bytes", n)
		if class > 0 {
			require.Less(t, cellSize(class-1), max(n, cellMin+1), "%d bytes would fit a smaller cell", n)
		}
		if n > 64 {
			require.Less(t, float64(size)/float64(n), 1.13, "waste at %d bytes", n)
		}
		require.GreaterOrEqual(t, class, last)
		last = class
	}
	require.Equal(t, classes-1, last, "the largest class")
	require.Equal(t, bigClass, classOf(cellMax+1))
}

// TestIndex compares the index with a map under random changes.
func TestIndex(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	type content struct {
		version int64
		payload []byte
		slot    uint32
	}
	x := newIndex()
	model := make(map[string]content)
	sizes := []int{0, 1, 15, 16, 17, 60, 300, 4000, cellMax, cellMax + 1, 40_000}
	for range 20_000 {
		id := fmt.Sprint("id", random.IntN(600))
		if random.IntN(2) == 0 {
			id = fmt.Sprintf("%08x-1234-abcd-0000-0123456789ab", random.IntN(300))
		}
		if random.IntN(4) == 0 {
			x.remove(id)
			delete(model, id)
			continue
		}
		payload := bytes.Repeat([]byte{byte(random.IntN(256))}, sizes[random.IntN(len(sizes)-random.IntN(4)*2)])
		version := random.Int64N(1<<62) + 1
		slot := x.put(id, version, payload)
		if old, ok := model[id]; ok {
			require.Equal(t, old.slot, slot, "a record keeps its slot")
		}
		model[id] = content{version, payload, slot}
	}
	require.Equal(t, len(model), x.n)
	for id, want := range model {
		slot, ok := x.find(id)
		require.True(t, ok, id)
		require.Equal(t, want.slot, slot, id)
		version, payload := x.at(slot)
		require.Equal(t, id, x.id(slot))
		require.Equal(t, want.version, version, id)
		require.True(t, bytes.Equal(want.payload, payload), id)
	}
	n := 0
	for slot := range x.slots() {
		if version, _ := x.at(slot); version != 0 {
			n++
		}
	}
	require.Equal(t, len(model), n, "slots in use")
	_, ok := x.find("never")
	require.False(t, ok)
	x.remove("never")
	require.LessOrEqual(t, x.slots(), uint32(900), "slots are used again")
	for id := range model {
		x.remove(id)
	}
	for number, c := range x.cells.chunks {
		require.Zero(t, c.used, "chunk %d", number)
		require.Nil(t, c.cells, "chunk %d", number)
	}
	require.LessOrEqual(t, len(x.cells.spare), maxSpare)
}

// Of ids that look like a UUID only one is packed: that from which it is made again.
func TestKeys(t *testing.T) {
	const packed = "01234567-89ab-cdef-0123-456789abcdef"
	require.Len(t, appendKey(nil, packed), 17)
	for _, id := range []string{
		packed, "x", strings.Repeat("é", 100), strings.ToUpper(packed), "g" + packed[1:], packed[:35] + "-",
		packed[:35], packed + "0", strings.Replace(packed, "-", "0", 1), "-" + packed[1:],
	} {
		key := appendKey(nil, id)
		require.Equal(t, id, idOf(append(key, 1, 2, 3)))
		require.Equal(t, len(key), keySize(append(key, 1, 2, 3)))
	}
}

// Records that all grow, one after the other, leave no room behind.
func TestArenaOfGrowingRecords(t *testing.T) {
	x := newIndex()
	bytes := func() (n int) {
		for _, c := range x.cells.chunks {
			n += len(c.cells)
		}
		return n + len(x.cells.spare)*chunkSize
	}
	const records = 20_000
	for size := 100; size < 400; size += 50 {
		for i := range records {
			x.put(fmt.Sprintf("%08x-1234-abcd-0000-0123456789ab", i), 1, make([]byte, size))
		}
		require.Less(t, bytes(), records*(size+17+2+8)+(maxSpare+2)*chunkSize, "for payloads of %d bytes", size)
	}
}

// TestIndexChains: chains that were divided hold what is theirs, all of it in
// chains as short as those of a good hash, whatever went and came meanwhile.
func TestIndexChains(t *testing.T) {
	x := newIndex()
	id := func(i int) string { return fmt.Sprint("id", i) }
	const records = 5000
	for i := range records {
		x.put(id(i), int64(i+1), nil)
		if i%7 == 3 {
			x.remove(id(i - 3))
		}
		if i%11 == 5 {
			x.put(id(i-5), 9, nil)
		}
	}
	require.Equal(t, x.entries.len(), x.heads.len())
	found, longest := 0, 0
	for chain := range x.heads.len() {
		length := 0
		for s := *x.heads.at(chain); s != 0; s = x.entries.at(s - 1).next {
			require.Equal(t, chain, x.chain(x.entries.at(s-1).hash))
			length++
		}
		found += length
		longest = max(longest, length)
	}
	require.Equal(t, x.n, found)
	require.Less(t, longest, 20)
}

// TestIndexCollisions: records whose hashes are the same are told apart by their
// keys, and the one in the middle of a chain leaves its neighbours in place.
func TestIndexCollisions(t *testing.T) {
	x := newIndex()
	id := func(i int) string { return fmt.Sprint("id", i) }
	for i := range 40 {
		x.put(id(i), int64(i+1), nil)
	}
	chain := uint32(0)
	for slot := range x.slots() {
		e := x.entries.at(slot)
		e.hash, e.next = 7, chain
		chain = slot + 1
	}
	for i := range x.heads.len() {
		*x.heads.at(i) = 0
	}
	*x.heads.at(7) = chain
	for i := range 40 {
		slot, ok := x.seek(7, appendKey(nil, id(i)))
		require.True(t, ok, i)
		require.EqualValues(t, i, slot)
	}
	_, ok := x.seek(7, appendKey(nil, id(40)))
	require.False(t, ok)
}

// TestArenaFull: content that no chunk has room for is held all the same.
func TestArenaFull(t *testing.T) {
	a := newArena()
	a.most = 3
	var addrs []uint32
	for i := range 4000 {
		addr, content := a.alloc(100)
		require.NotZero(t, addr)
		copy(content, fmt.Sprint(i))
		addrs = append(addrs, addr)
	}
	require.Len(t, a.chunks, 3)
	require.NotEmpty(t, a.big)
	for i, addr := range addrs {
		require.Len(t, a.get(addr), 100)
		require.True(t, bytes.HasPrefix(a.get(addr), fmt.Append(nil, i)))
		a.release(addr)
	}
	require.Len(t, a.bigFree, len(a.big))
	require.Len(t, a.empty, 2)
}

// TestArenaLengths: what was written is what is read, at every length around the
// edges of classes.
func TestArenaLengths(t *testing.T) {
	a := newArena()
	for n := range cellMax + 20 {
		addr, content := a.alloc(n)
		require.Len(t, content, n)
		require.Len(t, a.get(addr), n)
		if shorter, ok := a.resize(addr, max(0, n-3)); ok {
			require.Len(t, shorter, max(0, n-3))
			require.Len(t, a.get(addr), max(0, n-3))
		}
		a.release(addr)
	}
}

func TestPages(t *testing.T) {
	var p pages[int]
	for i := range 3*pageSize + 5 {
		p.push(i)
	}
	p.grow(4 * pageSize)
	require.EqualValues(t, 4*pageSize, p.len())
	for i := range uint32(4 * pageSize) {
		want := int(i)
		if i >= 3*pageSize+5 {
			want = 0
		}
		require.Equal(t, want, *p.at(i))
	}
}
