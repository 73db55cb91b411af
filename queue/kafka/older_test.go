package kafka

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

// TestOlderBrokers: with those that don't add to transactions what is written, the
// session says so itself, and is fenced as well.
func TestOlderBrokers(t *testing.T) {
	for name, versions := range map[string]*kversion.Versions{
		"2.5": kversion.V2_5_0(), "3.0": kversion.V3_0_0(), "3.9": kversion.V3_9_0(), "4.0": kversion.V4_0_0(),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 2, kfake.MaxVersions(versions))
				a := r.start(nil)
				admit(t, open(t, a.part(t, 0)), 20)
				old := a.present()
				b := r.start(nil)
				b.wait(t, 1)
				a.wait(t, 1)
				<-time.After(time.Minute) // the group comes to rest

				c := a.config
				c.Instance = "another"
				s, err := openSession(t.Context(), &c)
				require.NoError(t, err)
				defer s.close()
				late := &kgo.Record{Topic: c.Topic, Partition: 0, Key: []byte("late"), Value: []byte("x")}
				require.ErrorIs(t, s.transact(t.Context(), old, []*kgo.Record{late}), errOutdated)
				require.NoError(t, s.transact(t.Context(), a.present(), []*kgo.Record{{Topic: c.Topic, Partition: 1, Key: []byte("right"), Value: []byte("x")}}))

				a.cable.pull()
				s2 := open(t, b.part(t, 0))
				ds, err := s2.Receive(t.Context(), "analyze", 100)
				require.NoError(t, err)
				require.Len(t, ds, 20)
			})
		})
	}
}
