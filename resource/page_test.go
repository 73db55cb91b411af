package resource

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A page is a child with an identity and validators of its own, and what its
// parent has for the rest.
func TestE6_APageIsAChildOfItsFeed(t *testing.T) {
	parent, err := New(Spec{URI: "https://api.test/events", Profile: "p", MediaType: "application/json", Interval: time.Hour, Priority: 3}, "token")
	require.NoError(t, err)
	parent.Bucket, parent.Validators, parent.PollInterval = "core", Validators{ETag: `"1"`}, time.Minute
	page, err := parent.Page("https://api.test/events?page=2")
	require.NoError(t, err)
	again, err := parent.Page("https://api.test/events?page=2")
	require.NoError(t, err)
	other, err := parent.Page("https://api.test/events?page=3")
	require.NoError(t, err)
	require.Equal(t, page.ID, again.ID)
	require.NotEqual(t, page.ID, parent.ID)
	require.NotEqual(t, page.ID, other.ID)
	require.Equal(t, parent.Key(), page.Key())
	require.Equal(t, "p", page.Profile)
	require.Equal(t, "application/json", page.MediaType)
	require.True(t, page.Validators.IsZero())

	// Its waits are what its own answers ask for, and not the wish for its parent.
	poll(&page, got(200, "Etag", `"2"`))
	require.Equal(t, `"2"`, page.Validators.ETag)
	require.Less(t, page.NotBefore.Sub(page.Answered), time.Second)
	poll(&page, got(200, "X-Poll-Interval", "60"))
	require.GreaterOrEqual(t, page.NotBefore.Sub(page.Answered), time.Minute)

	for _, uri := range []string{"http://api.test/events?page=2", "https://other.test/events?page=2", "/events?page=2", "", "https://u:p@api.test/"} {
		_, err := parent.Page(uri)
		require.Error(t, err, uri)
	}
}

func TestResponseSizeCountsItsPages(t *testing.T) {
	r := Response{Body: make([]byte, 100), Pages: []*Response{{Body: make([]byte, 10)}, {}}}
	require.EqualValues(t, 110+3*1024, r.Size())
}
