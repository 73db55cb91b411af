package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cannedos/cannedos/queue"
	"github.com/cannedos/cannedos/resource"
)

// waitingRoom is the name of the queue that all items wait in.
const waitingRoom = "waiting"

// batchSize is how many messages one call moves.
const batchSize = 64

// memoryQueue holds each item as a resource in a queue.Memory: what the others
// have in a field beside their timer, and would have to look up, is in it.
func memoryQueue(a *alarm) (func() error, error) {
	q, err := queue.NewMemory(queue.MemoryConfig{})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	session, err := q.Open(ctx)
	if err == nil {
		err = admit(ctx, session, a)
	}
	if err != nil {
		cancel()
		return nil, errors.Join(err, q.Close())
	}
	served := make(chan error, 1)
	go func() { served <- serveQueue(ctx, session, a) }()
	return func() error {
		cancel()
		if err := <-served; !errors.Is(err, context.Canceled) {
			return err
		}
		return q.Close()
	}, nil
}

// admit puts all items in. Only the calls of the queue count as adding.
func admit(ctx context.Context, session queue.Session, a *alarm) error {
	messages := make([]queue.Message, 0, batchSize)
	random := rand.New(rand.NewPCG(1, 2)) // ids are spread, as UUIDs are
	for i := range a.n {
		r := resource.Resource{
			Spec:       resource.Spec{URI: fmt.Sprintf("https://api.example/repos/%d/events", i), Interval: a.span},
			Origin:     "https://api.example",
			Validators: resource.Validators{ETag: fmt.Sprintf(`"%016x"`, i)},
		}
		binary.BigEndian.PutUint64(r.ID[:], random.Uint64())
		binary.BigEndian.PutUint64(r.ID[8:], uint64(i))
		wait := a.first(i) // before the clock is read for the queue, so that it can't be early by that
		messages = append(messages, queue.Message{Queue: waitingRoom, Resource: r, Due: time.Now().Add(wait)})
		if len(messages) < batchSize && i < a.n-1 {
			continue
		}
		if err := a.add(func() error { return session.Commit(ctx, nil, messages...) }); err != nil {
			return err
		}
		messages = messages[:0]
	}
	return nil
}

// serveQueue lets wait again what is due, until ctx ends.
func serveQueue(ctx context.Context, session queue.Session, a *alarm) error {
	next := make([]queue.Message, 0, batchSize)
	for {
		due, err := session.Receive(ctx, waitingRoom, batchSize)
		if err != nil {
			return err
		}
		next = next[:0]
		for i := range due {
			wait := a.fired(int(binary.BigEndian.Uint64(due[i].Resource.ID[8:])))
			next = append(next, due[i].To(waitingRoom, time.Now().Add(wait)))
		}
		if err := session.Commit(ctx, due, next...); err != nil {
			return err
		}
	}
}
