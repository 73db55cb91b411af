package firehose

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// bucketRecord is what the store holds of a bucket. It names the credential and
// never holds it.
type bucketRecord struct {
	Key     resource.BucketKey `json:"key"`
	Dialect string             `json:"dialect,omitempty"`
	State   []byte             `json:"state"` // resource.Bucket.AppendBinary
}

func encodeBucket(key resource.BucketKey, dialect string, b *resource.Bucket) []byte {
	value, err := json.Marshal(bucketRecord{Key: key, Dialect: dialect, State: b.AppendBinary(nil)})
	if err != nil {
		panic(fmt.Sprintf("firehose: encode bucket: %v", err)) // texts and bytes always encode
	}
	return value
}

func decodeBucket(value []byte, now time.Time) (key resource.BucketKey, dialect string, b resource.Bucket, err error) {
	var rec bucketRecord
	if err := json.Unmarshal(value, &rec); err != nil {
		return key, "", b, fmt.Errorf("%w: %w", resource.ErrEncoding, err)
	}
	err = b.UnmarshalBinary(rec.State, now)
	return rec.Key, rec.Dialect, b, err
}
