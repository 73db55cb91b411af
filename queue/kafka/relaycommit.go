package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// release ends what runs over partitions, waits for it, and commits how far it has
// come, unless the partitions are lost already. The group waits for it.
func (r *Relay) release(numbers []int32, why error) {
	by := time.Now().Add(r.config.StopTimeout + deafAfter)
	if why == ErrLost {
		by = time.Now().Add(deafAfter)
	}
	var all []*relayPart
	for _, n := range numbers {
		if p := r.part(n); p != nil {
			p.end(why, r.config.StopTimeout)
			all = append(all, p)
		}
	}
	for _, p := range all {
		if !p.ended(by) {
			// Another Take for the partition must not begin beside it: so this Relay ends.
			r.stop(fmt.Errorf("kafka: relay: partition %d: Take goes on after its context has ended", p.number))
		}
	}
	if why != ErrLost && len(all) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
		r.commit(ctx)
		cancel()
	}
	r.mu.Lock()
	for _, p := range all {
		delete(r.parts, p.number)
	}
	r.mu.Unlock()
}

// commitTimeout bounds one commit.
const commitTimeout = 10 * time.Second

// commitAlways commits every now and then.
func (r *Relay) commitAlways(ctx context.Context) {
	for pause(ctx, r.config.CommitInterval) {
		some, cancel := context.WithTimeout(ctx, commitTimeout)
		r.commit(some)
		cancel()
	}
}

// commit writes how far all partitions have come. One at a time does: what is
// written last must not be what was known first. After an error it is written by
// the next one.
func (r *Relay) commit(ctx context.Context) {
	r.committer <- struct{}{}
	defer func() { <-r.committer }()
	r.mu.Lock()
	parts := make(map[int32]*relayPart)
	offsets := make(map[int32]kgo.EpochOffset)
	for n, p := range r.parts {
		if o, dirty := p.dirty(); dirty {
			parts[n], offsets[n] = p, o
		}
	}
	r.mu.Unlock()
	if len(offsets) == 0 {
		return
	}
	// By a request of our own: the client's commits keep the group from being joined
	// meanwhile.
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = r.config.Group
	req.MemberID, req.Generation = r.client.GroupMetadata()
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = r.config.Topic
	for n, o := range offsets {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch = n, o.Offset, o.Epoch
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, r.client)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			r.config.Logger.Warn("relay: commit", "topic", r.config.Topic, "err", err)
		}
		return
	}
	for _, t := range resp.Topics {
		for _, answer := range t.Partitions {
			if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
				r.config.Logger.Warn("relay: commit", "topic", r.config.Topic, "partition", answer.Partition, "err", err)
			} else if p := parts[answer.Partition]; p != nil {
				p.wrote(offsets[answer.Partition].Offset)
			}
		}
	}
}

// commitVersions are those of the protocol in which a commit names topics by their
// names: from version 10 on it does so by their ids.
func commitVersions() *kversion.Versions {
	v := kversion.Stable()
	v.SetMaxKeyVersion(kmsg.OffsetCommit.Int16(), 9)
	return v
}
