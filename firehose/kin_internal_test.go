package firehose

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cannedos/cannedos/db"
	"github.com/cannedos/cannedos/resource"
)

// A bucket is presumed by what answers to paths that begin alike have named, the
// longer beginning first, and where they do not agree as if nothing were known.
func TestG16_KinShareABucket(t *testing.T) {
	s := newBuckets(nil, db.Owner{}).scope(resource.Scope{Origin: "https://a.test"}, nil)
	s.presumed = "core"
	guessed := func(uri string) string {
		r := resource.Resource{Spec: resource.Spec{URI: "https://a.test" + uri}}
		s.guess(&r)
		return r.Bucket
	}
	require.Empty(t, guessed("/search/a"), "nothing is known")
	s.learnKin("/search/issues", "search")
	s.learnKin("/repos/a/b/events", "core")
	require.Equal(t, "search", guessed("/search/issues?q=1"))
	require.Equal(t, "search", guessed("/search/issues/more"))
	require.Equal(t, "search", guessed("/search/a/b/c"))
	require.Equal(t, "search", guessed("/search"))
	require.Empty(t, guessed("/searches/issues"))
	require.Empty(t, guessed("/repos/a/c"), "as is presumed anyway")
	require.Empty(t, guessed(""))

	s.learnKin("/search/code", "code")
	require.Equal(t, "search", guessed("/search/issues"))
	require.Equal(t, "code", guessed("/search/code"))
	require.Empty(t, guessed("/search/a"), "its kin do not agree")
	s.learnKin("/search/issues", "core")
	require.Empty(t, guessed("/search/issues"))

	named := resource.Resource{Spec: resource.Spec{URI: "https://a.test/search/code"}, Bucket: "own"}
	s.guess(&named)
	require.Equal(t, "own", named.Bucket, "what an answer has named stays")

	for i := range 2 * maxKin {
		s.learnKin(fmt.Sprintf("/%d/x", i), "other")
	}
	require.Len(t, s.kin, maxKin)
	s.learnKin("/", "root")
	s.learnKin("", "root")
	s.learnKin("//", "root")
}
