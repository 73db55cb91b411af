package db

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Owners come back with their records, and none stays that no record has.
func TestMemoryOwners(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 5))
	m := NewMemory()
	owners := make([]Owner, 300) // more than one byte numbers
	for i := range owners[1:] {
		owners[i+1] = NewOwner()
	}
	model := map[string]Record{}
	ids := [...]string{"a", "b", "c", "01234567-89ab-cdef-0123-456789abcdef"}
	for version := range int64(5000) {
		id := ids[random.IntN(len(ids))]
		if version > 4000 {
			id += string(rune('0' + random.IntN(200)))
		}
		old := model[id]
		r := Record{Space: "s", ID: id, Version: version + 1, Owner: owners[random.IntN(len(owners))], Value: make([]byte, random.IntN(20))}
		if random.IntN(2) == 0 {
			r.Until = time.Unix(random.Int64N(1<<32), 5).UTC()
		}
		if old.Version != 0 && random.IntN(4) == 0 {
			r = Record{Space: "s", ID: id}
		}
		results, err := m.Write(t.Context(), Write{If: old.Version, Record: r}, Write{If: version + 7, Record: Record{Space: "s", ID: id, Version: version + 8, Owner: NewOwner()}})
		require.NoError(t, err)
		require.True(t, results[0].OK)
		require.False(t, results[1].OK, "a write that loses holds nothing")
		if model[id] = r; r.Version == 0 {
			delete(model, id)
		}
	}
	counts := map[Owner]int{}
	for r, err := range m.Scan(t.Context(), "s") {
		require.NoError(t, err)
		require.True(t, r.Equal(model[r.ID]), "%v, want %v", r, model[r.ID])
		if r.Owner != (Owner{}) {
			counts[r.Owner]++
		}
	}
	require.Len(t, m.owners.numbers, len(counts))
	for owner, n := range counts {
		require.Equal(t, n, m.owners.all[m.owners.numbers[owner]].records)
	}
	for id, r := range model {
		_, err := m.Write(t.Context(), Write{If: r.Version, Record: Record{Space: "s", ID: id}})
		require.NoError(t, err)
	}
	require.Empty(t, m.owners.numbers)
}
