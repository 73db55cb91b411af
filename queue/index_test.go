package queue

import (
	"encoding/binary"
	"hash/maphash"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/resource"
)

func TestIndexAgainstMap(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 9))
	ids := []resource.ID{{}}
	x := newIndex(maphash.MakeSeed(), func(slot int32) resource.ID { return ids[slot] })
	want := map[resource.ID]int32{}
	for i := range 40_000 {
		var id resource.ID // as a user may choose them: counted
		binary.BigEndian.PutUint32(id[12:], uint32(r.IntN(20_000)))
		switch slot := want[id]; {
		case slot != 0 && r.IntN(2) == 0:
			x.remove(x.hash(&id), id)
			delete(want, id)
			x.remove(x.hash(&id), id) // nothing to do
		case slot != 0:
			require.Equal(t, slot, x.find(x.hash(&id), id))
			require.Equal(t, slot, x.add(x.hash(&id), id, 1), "it is in already")
		default:
			require.Zero(t, x.find(x.hash(&id), id))
			ids = append(ids, id)
			slot = int32(len(ids) - 1)
			require.Equal(t, slot, x.add(x.hash(&id), id, slot))
			want[id] = slot
		}
		if i%5000 == 0 {
			for id, slot := range want {
				require.Equal(t, slot, x.find(x.hash(&id), id))
			}
		}
	}
	require.Equal(t, len(want), x.count)
	for id, slot := range want {
		require.Equal(t, slot, x.find(x.hash(&id), id))
		x.remove(x.hash(&id), id)
		require.Zero(t, x.find(x.hash(&id), id))
	}
	require.Zero(t, x.count)
}

// TestIndexGrowsByOneTable: an admission never rehashes more than one table.
func TestIndexGrowsByOneTable(t *testing.T) {
	t.Parallel()
	ids := []resource.ID{{}}
	x := newIndex(maphash.MakeSeed(), func(slot int32) resource.ID { return ids[slot] })
	most := 0
	for i := 1; i <= 100_000; i++ {
		var id resource.ID
		binary.LittleEndian.PutUint32(id[:], uint32(i))
		ids = append(ids, id)
		before := x.steps
		x.add(x.hash(&id), id, int32(i))
		most = max(most, x.steps-before)
	}
	require.LessOrEqual(t, most, 2*tableSize)
}
