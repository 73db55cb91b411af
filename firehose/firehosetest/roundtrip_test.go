package firehosetest

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRoundTripperContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := mustOrigin(t, Config{Latency: 2 * time.Second})
		why := errors.New("why")
		ctx, cancel := context.WithCancelCause(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://api.test"+path0, nil)
		require.NoError(t, err)
		resp, err := o.RoundTripper().RoundTrip(req)
		require.NoError(t, err)
		_, err = resp.Body.Read(make([]byte, 10))
		require.NoError(t, err)
		cancel(why)
		_, err = resp.Body.Read(make([]byte, 10))
		require.ErrorIs(t, err, why)
		require.NoError(t, resp.Body.Close())
		require.NoError(t, resp.Body.Close())
		_, err = resp.Body.Read(make([]byte, 10))
		require.ErrorIs(t, err, http.ErrBodyReadAfterClose)
		_, err = o.RoundTripper().RoundTrip(req)
		require.ErrorIs(t, err, why)
		v := o.Verdict()
		require.EqualValues(t, 1, v.Requests)
		require.Zero(t, v.Modified)

		// Closing early is no way not to have been told.
		req = req.WithContext(t.Context())
		time.Sleep(time.Minute)
		for range 2 {
			resp, err = o.RoundTripper().RoundTrip(req)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
		require.EqualValues(t, 1, o.Verdict().Early)
		require.Zero(t, o.Verdict().Unconditional)
	})
}
