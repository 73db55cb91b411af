package firehose

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// readings adds readings a minute apart, of so many items each, and returns what
// was told.
func (v *volume) readings(n int, items float64) (told []EventKind) {
	if v.At.IsZero() {
		v.At = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	for range n {
		if kind, _ := v.add(v.At.Add(time.Minute), items); kind != noEvent {
			told = append(told, kind)
		}
	}
	return told
}

func TestE11_VolumeOfAFeed(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(v *volume) []EventKind
		want []EventKind
	}{
		{"as ever", func(v *volume) []EventKind { return v.readings(500, 100) }, nil},
		{"nothing is usual at first", func(v *volume) []EventKind { v.readings(5, 1000); return v.readings(10, 1) }, nil},
		{"nearly stops", func(v *volume) []EventKind { v.readings(100, 100); return v.readings(30, 1) }, []EventKind{EventQuiet}},
		{"a night", func(v *volume) []EventKind { v.readings(100, 100); return v.readings(500, 30) }, nil},
		{"too little to tell", func(v *volume) []EventKind { v.readings(100, 2); return v.readings(100, 0.1) }, nil},
		{"and comes back", func(v *volume) []EventKind {
			v.readings(100, 100)
			return append(v.readings(500, 1), v.readings(30, 100)...)
		}, []EventKind{EventQuiet, EventLively}},
		{"slowly becomes little", func(v *volume) (told []EventKind) {
			for items := 100.0; items > 1; items *= 0.99 {
				told = append(told, v.readings(10, items)...)
			}
			return told
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, c.do(&volume{})) })
	}
}

// A clock that was set back, or stands still, tells nothing.
func TestE11_VolumeWhileTheClockStandsStill(t *testing.T) {
	v := &volume{}
	v.readings(50, 100)
	for range 100 {
		kind, _ := v.add(v.At, 0)
		require.Equal(t, noEvent, kind)
	}
}
