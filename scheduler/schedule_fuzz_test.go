package scheduler

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzCron: an expression is refused with a reason, or each of its ticks lies
// after the instant asked for, is a time that the clock of the zone is to show,
// and is the same for all instants up to it.
func FuzzCron(f *testing.F) {
	for _, c := range cronCases() {
		f.Add(c.cron, uint8(1), int64(1_772_950_000), uint32(1_000)) // just before 8 March 2026 in New York
	}
	for _, cron := range []string{
		"30 1 * * *", "*/20 * * * * *", "0 0 30 2 *", "0 0 * 2 fri#5", "0 0 31W 2 *", ",", "TZ=0", "@every 1s", "@",
		"0 , * * *", "* * * *", "H H * * *", "0 0 * * fri-mon/2", "0 0 L-30 2 *", "*-x * * * *", "\xff", "0 0 ٣ * *",
	} {
		f.Add(cron, uint8(3), int64(1_793_510_000), uint32(3_000_000_000))
	}
	zones := []*time.Location{time.UTC}
	for _, name := range []string{
		"America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Casablanca",
		"Antarctica/Troll", "Pacific/Apia", "Asia/Kolkata", "Africa/Monrovia", "Europe/Dublin",
	} {
		zones = append(zones, mustZone(f, name))
	}
	f.Fuzz(func(t *testing.T, cron string, zone uint8, unix int64, part uint32) {
		s := Schedule{Cron: cron, Location: zones[int(zone)%len(zones)]}
		table, err := compile(&s)
		if cron == "" || err != nil {
			require.ErrorIs(t, err, ErrSpec)
			return
		}
		at := time.Unix(unix%(1<<33), int64(part)%1e9) // 1697 to 2242
		for range 4 {
			tick, ok := table.next(at)
			require.True(t, ok, "no tick after %v, though some date matches", at)
			require.True(t, tick.After(at), "%v is not after %v", tick, at)
			require.Equal(t, time.UTC, tick.Location())

			local := tick.In(s.Location)
			shown := wall(tick, local)
			if !table.cron.fields.Next(shown.Add(-1)).Equal(shown) {
				change, _ := local.ZoneBounds()
				require.True(t, change.Equal(tick), "%v is not a time of the expression", local)
				require.False(t, table.cron.rhythm)
			}
			between := at.Add(time.Duration(float64(tick.Sub(at)) * float64(part) / (1 << 32)))
			again, ok := table.next(between)
			require.True(t, ok && again.Equal(tick), "after %v: %v, but after %v: %v", at, tick, between, again)
			at = tick
		}
	})
}
