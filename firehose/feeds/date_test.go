package feeds

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestInstant(t *testing.T) {
	noon := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	for _, s := range []string{
		"2026-08-01T12:00:00Z", "2026-08-01T14:00:00+02:00", "2026-08-01T12:00:00.000Z", "2026-08-01T12:00Z", "2026-08-01T14:00:00+0200",
		"2026-08-01 12:00:00Z", "2026-08-01 14:00:00 +0200", "2026-08-01 12:00:00 UTC",
		"Sat, 01 Aug 2026 12:00:00 GMT", "Sat, 1 Aug 2026 12:00:00 +0000", "1 Aug 2026 12:00 UT", "Sat, 01 Aug 26 12:00:00 Z",
		"Sat, 01 Aug 2026 08:00:00 EDT", "Sat, 01 Aug 2026 04:00:00 pst", "01 Aug 26 07:00 EST", "Sat, 01 Aug 2026 14:00:00 +02:00",
		"Samedi, 01 August 2026 12:00:00 GMT", " Sat,  01\tAug\n2026 12:00:00   GMT ", "Sat Aug 1 12:00:00 2026 GMT", "Mon, 01 Aug 2026 12:00:00 GMT",
	} {
		require.Equal(t, noon, instant(s), s)
	}
	midnight := time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	for _, s := range []string{"2026-08-01", "2026-08", "1 Aug 2026", "Sat, 01 August 2026"} {
		require.Equal(t, midnight, instant(s), s)
	}
	require.Equal(t, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), instant("2026"))

	// What doesn't say which instant it means is not guessed.
	for _, s := range []string{
		"", "now", "yesterday", "2026-08-01T12:00:00", "Sat, 01 Aug 2026 12:00:00", "Sat, 01 Aug 2026 12:00:00 IST", "Sat, 01 Aug 2026 12:00:00 CET",
		"31 Feb 2026 12:00:00 GMT", "2026-13-01", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "1785585600", ",", "Sat,", "Sat", " , ",
		"2026-08-01T12:00:00Z                                                      x",
	} {
		require.True(t, instant(s).IsZero(), s)
	}
}
