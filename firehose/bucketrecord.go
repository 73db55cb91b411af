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
	Also    []string           `json:"also,omitempty"`    // further quotas that what draws from it draws from, too
	Refused string             `json:"refused,omitempty"` // keyed fingerprint of the token that was not accepted
	State   []byte             `json:"state"`             // resource.Bucket.AppendBinary
}

// encodeBucket is called under the lock of the scope.
func encodeBucket(key resource.BucketKey, s *scopeState, b *resource.Bucket) []byte {
	rec := bucketRecord{Key: key, Dialect: s.spoken().dialect, Also: s.also[key.Name], State: b.AppendBinary(nil)}
	if key.Name == "" {
		rec.Refused = s.refused.finger
	}
	value, err := json.Marshal(rec)
	if err != nil {
		panic(fmt.Sprintf("firehose: encode bucket: %v", err)) // texts and bytes always encode
	}
	return value
}

func decodeBucket(value []byte, now time.Time) (rec bucketRecord, b resource.Bucket, err error) {
	if err := json.Unmarshal(value, &rec); err != nil {
		return rec, b, fmt.Errorf("%w: %w", resource.ErrEncoding, err)
	}
	rec.Also = rec.Also[:min(len(rec.Also), resource.MaxAlso)]
	err = b.UnmarshalBinary(rec.State, now)
	return rec, b, err
}
