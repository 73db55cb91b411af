//go:build integration

package servers

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// Both servers start, survive a kill on their data, and can be frozen.
func TestServers(t *testing.T) {
	if tool := Missing(); tool != "" {
		t.Skipf("%s is missing: a real Kafka and Cassandra need Java 17 and Maven (Debian: apt-get install openjdk-17-jre-headless maven)", tool)
	}
	for _, make := range []func(context.Context, Config) (*Server, error){NewKafka, NewCassandra} {
		s, err := make(t.Context(), Config{Dir: t.TempDir()})
		require.NoError(t, err)
		t.Run(s.Name, func(t *testing.T) {
			require.NoError(t, s.Start(t.Context()))
			defer s.Kill()
			require.ErrorContains(t, s.Start(t.Context()), "runs already")
			require.NoError(t, s.Freeze())
			require.Error(t, s.probe(t.Context()), "a frozen server answers")
			require.NoError(t, s.Thaw())
			require.NoError(t, s.probe(t.Context()))
			s.Kill()
			require.Error(t, s.probe(t.Context()))
			require.NoError(t, s.Start(t.Context()), "on the same data")
			s.Stop()
		})
	}
}
