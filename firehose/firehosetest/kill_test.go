package firehosetest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// What only a lost answer told is unknowable, whatever lost it, and one lost
// answer excuses no more than its own lesson.
func TestUnknowable(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		do   func(r rude)
		want map[string]int64
		dead int64 // in_flight_at_kills
	}{
		{name: "interval of an answer in flight at a kill", do: func(r rude) {
			r.script(path0, Step{Kind: Truncate}) // its header is out when the client dies
			ctx, kill := context.WithCancel(r.t.Context())
			resp, err := r.c.rt.RoundTrip(r.c.request(ctx, path0))
			require.NoError(r.t, err)
			r.o.Killed(time.Now())
			kill()
			require.NoError(r.t, resp.Body.Close())
			time.Sleep(10 * time.Second)
			r.poll(path0)
		}, want: map[string]int64{"unknowable": 1}, dead: 1},
		{name: "interval of an answer completed just before a kill", do: func(r rude) {
			r.poll(path0)
			time.Sleep(49 * time.Millisecond)
			r.o.Killed(time.Now())
			r.poll(path0)
		}, want: map[string]int64{"unknowable": 1}, dead: 1},
		{name: "interval of an answer completed well before a kill", do: func(r rude) {
			r.poll(path0)
			time.Sleep(51 * time.Millisecond)
			r.o.Killed(time.Now())
			r.poll(path0)
		}, want: map[string]int64{"early": 1}},
		{name: "a kill reported late", do: func(r rude) {
			r.poll(path0)
			at := time.Now()
			time.Sleep(time.Second)
			r.o.Killed(at)
			r.poll(path0)
		}, want: map[string]int64{"unknowable": 1}, dead: 1},
		{name: "a longer bound", cfg: Config{Unread: 5 * time.Second}, do: func(r rude) {
			r.poll(path0)
			time.Sleep(4 * time.Second)
			r.o.Killed(time.Now())
			r.poll(path0)
		}, want: map[string]int64{"unknowable": 1}, dead: 1},
		{name: "a park told just before a kill", do: func(r rude) {
			r.script(path0, Step{Kind: Secondary})
			r.poll(path0)
			r.o.Killed(time.Now())
			r.poll(path0) // excused, and told again
			r.poll(path0)
		}, want: map[string]int64{"unknowable": 1, "parked": 1}, dead: 1},
		{name: "exhaustion by requests in flight at a kill", cfg: Config{Limit: 2, Timelines: 3}, do: func(r rude) {
			r.poll(path0)
			time.Sleep(time.Second)
			r.poll("/timelines/1/events")
			r.o.Killed(time.Now())
			r.poll("/timelines/2/events")
		}, want: map[string]int64{"unknowable": 1}, dead: 1},
		{name: "exhaustion told long before", cfg: Config{Limit: 2, Timelines: 3}, do: func(r rude) {
			r.poll(path0)
			r.poll("/timelines/1/events")
			time.Sleep(time.Second)
			r.o.Killed(time.Now())
			r.poll("/timelines/2/events")
		}, want: map[string]int64{"overdraft": 1}},
		{name: "a first validator that died", do: func(r rude) {
			r.poll(path0)
			r.o.Killed(time.Now())
			time.Sleep(time.Minute)
			r.c.polls[path0].tag = ""
			r.poll(path0)
		}, want: map[string]int64{}, dead: 1},
		{name: "a cancelled request", do: func(r rude) {
			ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
			defer cancel()
			r.script(path0, Step{Kind: Slow, Delay: time.Minute})
			require.ErrorIs(r.t, r.c.poll(ctx, path0).err, context.DeadlineExceeded)
			r.poll(path0) // nothing had been told
		}, want: map[string]int64{}},
		{name: "a header that was cancelled on its way", cfg: Config{Latency: time.Second}, do: func(r rude) {
			ctx, cancel := context.WithTimeout(r.t.Context(), 755*time.Millisecond)
			defer cancel()
			require.Error(r.t, r.c.poll(ctx, path0).err)
			require.EqualValues(r.t, 1, r.o.Verdict().Requests)
			r.poll(path0)
		}, want: map[string]int64{"unknowable": 1}},
		{name: "S-type a truncated body", do: func(r rude) {
			r.script(path0, Step{Kind: Truncate})
			require.Error(r.t, r.c.poll(r.t.Context(), path0).err)
			require.Empty(r.t, r.c.polls[path0].tag)
			time.Sleep(2 * time.Second)
			r.poll(path0) // unconditional, rightly; too soon, by the header alone
		}, want: map[string]int64{"unknowable": 1}},
		{name: "a second kill while the answer of a dead request is on its way", do: func(r rude) {
			ctx, kill := context.WithCancel(r.t.Context())
			r.script(path0, Step{Kind: Slow, Delay: time.Hour})
			done := make(chan struct{})
			go func() { defer close(done); send(r.c.rt, r.c.request(ctx, path0)) }()
			time.Sleep(time.Minute)
			r.o.Killed(time.Now())
			r.poll(path0) // overlaps what the kernel has not closed yet
			r.o.Killed(time.Now())
			kill()
			<-done
			require.Zero(r.t, r.o.inFlight)
		}, want: map[string]int64{"unknowable": 1}, dead: 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := mustOrigin(t, test.cfg)
				test.do(rude{t, o, newPolite(o.RoundTripper(), o.Paths()...)})
				v := o.Verdict()
				requireWrongs(t, v, test.want)
				require.Equal(t, test.dead, v.InFlightAtKills)
				require.Zero(t, len(o.flights))
			})
		})
	}
}

// A client that is killed again and again, and remembers what it read, is
// polite, loses nothing that is still to be had, and is not called idle.
func TestKillsOfADurableClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := mustOrigin(t, Config{Timelines: 5, PollInterval: 10 * time.Second, Limit: 1e6, Secondary: 0.001, Latency: time.Second})
		c := newPolite(o.RoundTripper(), o.Paths()...)
		for n := range 50 {
			ctx, kill := context.WithTimeout(t.Context(), 97*time.Second+time.Duration(n)*737*time.Millisecond)
			c.run(ctx)
			kill()
			o.Killed(time.Now())
			time.Sleep(20 * time.Second)
		}
		v := o.Verdict()
		t.Logf("%+v", v)
		require.Zero(t, v.Impolite)
		require.Greater(t, v.InFlightAtKills, int64(5))
		require.LessOrEqual(t, v.Unknowable, v.InFlightAtKills)
		require.EqualValues(t, 50, v.Kills)
		require.GreaterOrEqual(t, float64(v.Polls), 0.9*float64(v.Permitted))
	})
}

// Kills excuse a minute, each of them, and no resource for ever.
func TestKillsExcuseAMinute(t *testing.T) {
	in(t, Config{Latency: Instant}, func(t *testing.T, o *Origin) {
		c := newPolite(o.RoundTripper(), path0)
		require.NoError(t, c.poll(t.Context(), path0).err)
		for range 10 {
			time.Sleep(time.Hour)
			o.Killed(time.Now())
		}
		v := o.Verdict()
		require.InDelta(t, 1+10*59, v.Permitted, 11, "the first minute of an hour is excused")

		require.NoError(t, o.Script(path0, Step{Kind: Slow, Delay: time.Minute}))
		ctx, kill := context.WithTimeout(t.Context(), time.Second)
		defer kill()
		require.Error(t, c.poll(ctx, path0).err)
		o.Killed(time.Now())
		before := o.Verdict().Permitted
		time.Sleep(time.Hour)
		require.InDelta(t, before+58, o.Verdict().Permitted, 2)
	})
}

// A request in flight at a kill makes its resource due again, too.
func TestKillDuringRequest(t *testing.T) {
	in(t, Config{Latency: Instant}, func(t *testing.T, o *Origin) {
		c := newPolite(o.RoundTripper(), path0)
		require.NoError(t, c.poll(t.Context(), path0).err)
		time.Sleep(time.Minute)
		require.NoError(t, o.Script(path0, Step{Kind: Slow, Delay: time.Minute}))
		ctx, kill := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); c.poll(ctx, path0) }()
		time.Sleep(time.Second)
		o.Killed(time.Now())
		kill()
		<-done
		time.Sleep(time.Hour)
		require.InDelta(t, 2+58, o.Verdict().Permitted, 2)
	})
}
