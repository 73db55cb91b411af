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

// session is a producer with a transactional id. It is used by one goroutine.
type session struct {
	config   *Config
	client   *kgo.Client
	implicit bool      // the brokers add what is written to the transaction (KIP-890)
	ended    time.Time // the last transaction
}

// errBroken says that a session can't go on. A new one ends what it has left.
var errBroken = errors.New("kafka: the producer has to be made anew")

// openSession makes a session. An earlier one of the same transactional id can
// write nothing from here on, and what it has left open is undone.
func openSession(ctx context.Context, c *Config) (*session, error) {
	s := &session{config: c}
	var err error
	if s.implicit, err = addsImplicitly(ctx, c); err != nil {
		return nil, err
	}
	// The client and we must be of one mind about the protocol, and the commit of
	// offsets has to name topics by their names: version 6 does so by their ids.
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(kmsg.TxnOffsetCommit.Int16(), 5)
	if !s.implicit {
		versions.SetMaxKeyVersion(kmsg.TxnOffsetCommit.Int16(), 4)
		versions.SetMaxKeyVersion(kmsg.EndTxn.Int16(), 4)
		versions.SetMaxKeyVersion(kmsg.Produce.Int16(), 11)
	}
	// Older brokers would not look at the generation.
	least := new(kversion.Versions)
	least.SetMaxKeyVersion(kmsg.TxnOffsetCommit.Int16(), 3)
	s.client, err = kgo.NewClient(c.options(
		kgo.MaxVersions(versions),
		kgo.MinVersions(least),
		kgo.TransactionalID(c.transactionalID()),
		kgo.TransactionTimeout(c.TransactionTimeout),
		kgo.ConcurrentTransactionsBackoff(2*time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0), // whoever comes meanwhile is in the next transaction
		kgo.RecordDeliveryTimeout(c.TransactionTimeout),
	)...)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return s, nil
}

// addsImplicitly asks whether the cluster has transactions of version 2.
func addsImplicitly(ctx context.Context, c *Config) (bool, error) {
	client, err := kgo.NewClient(c.options()...)
	if err != nil {
		return false, fmt.Errorf("client: %w", err)
	}
	defer client.Close()
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "cannedos", "1"
	resp, err := req.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return false, fmt.Errorf("ask for versions: %w", err)
	}
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" {
			return f.MaxVersionLevel >= 2, nil
		}
	}
	return false, nil
}

func (s *session) close() { s.client.Close() }

// epoch is who writes a transaction, to the brokers.
type epoch struct {
	producer int64
	epoch    int16
}

func (s *session) epoch(ctx context.Context) (e epoch, err error) {
	e.producer, e.epoch, err = s.client.ProducerID(ctx)
	if err != nil {
		err = fmt.Errorf("producer id: %w", err)
	}
	return e, err
}

// transact writes records in one transaction. After errOutdated nothing was
// written. After any other error the outcome is unknown; it may wrap errBroken.
func (s *session) transact(ctx context.Context, f fence, records []*kgo.Record) (err error) {
	// What was sent without an answer would be waited for as long as the broker is
	// away.
	stop := context.AfterFunc(ctx, s.client.Close)
	defer func() {
		if !stop() {
			err = errors.Join(errBroken, err, context.Cause(ctx))
		}
	}()
	if s.implicit {
		s.settle(ctx)
	}
	if err := s.client.BeginTransaction(); err != nil {
		return fmt.Errorf("%w: begin: %w", errBroken, err)
	}
	writer, err := s.epoch(ctx)
	if err == nil {
		err = s.client.ProduceSync(ctx, records...).FirstErr()
	}
	if err == nil {
		err = s.prove(ctx, f, writer, records[0].Topic, records[0].Partition)
	}
	if err != nil {
		return s.abort(ctx, err)
	}
	// The client may have taken another epoch meanwhile, with which what the first
	// one wrote was undone.
	if now, err := s.epoch(ctx); err != nil || now != writer {
		return s.abort(ctx, fmt.Errorf("%w: the producer has changed within a transaction: %w", errBroken, err))
	}
	if err := s.client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return s.abort(ctx, fmt.Errorf("commit: %w", err))
	}
	s.ended = time.Now()
	return nil
}

// settle waits until the transaction before is marked as committed in all its
// partitions, a millisecond or two after its end. Who writes earlier is kept waiting
// by the broker, for 20 ms at the least (add.partitions.to.txn.retry.backoff.ms).
func (s *session) settle(ctx context.Context) {
	const enough = 50 * time.Millisecond // after that it is the broker's turn
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{s.config.transactionalID()}
	ctx, cancel := context.WithDeadline(ctx, s.ended.Add(enough))
	defer cancel()
	for time.Since(s.ended) < enough {
		resp, err := req.RequestWith(ctx, s.client)
		if err != nil || len(resp.TransactionStates) != 1 || resp.TransactionStates[0].ErrorCode != 0 {
			return
		}
		if state := resp.TransactionStates[0].State; state != "PrepareCommit" && state != "PrepareAbort" {
			return
		}
		time.Sleep(500 * time.Microsecond)
	}
}

// abort undoes a transaction, unless err says that it is committed already.
func (s *session) abort(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.TransactionTimeout)
	defer cancel()
	if undone := s.client.EndTransaction(ctx, kgo.TryAbort); undone != nil {
		// What can't be undone here is when the next session opens.
		return fmt.Errorf("%w: %w, and abort: %w", errBroken, err, undone)
	}
	for _, fatal := range []error{kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.InvalidProducerIDMapping} {
		if errors.Is(err, fatal) {
			return fmt.Errorf("%w: %w", errBroken, err)
		}
	}
	return err
}

// prove has the coordinator of the group check that f is of the present
// generation. The offset that it takes with the transaction means nothing.
func (s *session) prove(ctx context.Context, f fence, writer epoch, topic string, partition int32) error {
	if !s.implicit {
		add := kmsg.NewPtrAddOffsetsToTxnRequest()
		add.TransactionalID, add.Group = s.config.transactionalID(), s.config.Group
		add.ProducerID, add.ProducerEpoch = writer.producer, writer.epoch
		err := s.patiently(ctx, func() (int16, error) {
			resp, err := add.RequestWith(ctx, s.client)
			if err != nil {
				return 0, err
			}
			return resp.ErrorCode, nil
		})
		if err != nil {
			return fmt.Errorf("add the group to the transaction: %w", err)
		}
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group = s.config.transactionalID(), s.config.Group
	req.ProducerID, req.ProducerEpoch = writer.producer, writer.epoch
	req.Generation, req.MemberID = f.generation, f.member
	part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	part.Partition = partition
	t := kmsg.NewTxnOffsetCommitRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, part)
	req.Topics = append(req.Topics, t)
	err := s.patiently(ctx, func() (int16, error) {
		resp, err := req.RequestWith(ctx, s.client)
		if err != nil {
			return 0, err
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				return p.ErrorCode, nil
			}
		}
		return 0, errors.New("the answer names no partition")
	})
	for _, old := range []error{kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.RebalanceInProgress, kerr.FencedInstanceID} {
		if errors.Is(err, old) {
			return fmt.Errorf("%w: %w", errOutdated, err)
		}
	}
	if err != nil {
		return fmt.Errorf("prove the generation: %w", err)
	}
	return nil
}

// patiently asks again as long as the transaction before is still being ended.
func (s *session) patiently(ctx context.Context, ask func() (code int16, err error)) error {
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		code, err := ask()
		if err == nil {
			err = kerr.ErrorForCode(code)
		}
		if !errors.Is(err, kerr.ConcurrentTransactions) {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}
