package resource

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestG9_WhatIsLeftIsLessTheReserve(t *testing.T) {
	b := known(10, at(100*sec))
	require.EqualValues(t, 10, b.Left())
	b.Reserve = 4
	require.EqualValues(t, 6, b.Left())
	b.Reserve = 40
	require.Zero(t, b.Left())
}

// An answer to a request from before the reset says nothing of what comes after
// it, and must not bring the next probe forward.
func TestSEdge_ALateAnswerDoesNotShortenTheWait(t *testing.T) {
	b := known(0, at(100*sec))
	b.Take() // leaves before the reset
	spend(&b, &Lesson{}, 101*sec, 102*sec)
	want := Decision{Kind: Line, State: EdgeError, At: at(162 * sec), Why: ReasonEdge}
	require.Equal(t, want, b.Admit(at(103*sec)))
	b.Settle(&Lesson{}, at(99*sec), at(103*sec), false)
	require.Equal(t, want, b.Admit(at(103*sec)))
}

// Resets within the slack are one window, to the second.
func TestD6_TheSlackOfAWindow(t *testing.T) {
	b := known(10, at(100*sec))
	spend(&b, quota(4, at(98*sec)), 1*sec, 2*sec)
	require.EqualValues(t, 4, b.Remaining)
	spend(&b, quota(3, at(98*sec-1)), 1*sec, 2*sec)
	require.EqualValues(t, 4, b.Remaining)
}

// Of an older window only a rejection with nothing left parks.
func TestD6_AnOlderWindowParksOnlyWhatItRefused(t *testing.T) {
	b := known(10, at(100*sec))
	spend(&b, quota(0, at(50*sec)), -1*sec, 2*sec)
	require.Zero(t, b.Park, "served, and old")
	refused := quota(3, at(50*sec))
	refused.Kind, refused.Until = PrimaryLimit, at(5*sec)
	spend(&b, refused, -1*sec, 2*sec)
	require.Equal(t, at(5*sec), b.Park, "refused until then, though not for want of anything")
}
