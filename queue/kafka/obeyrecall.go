package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cannedos/cannedos/resource"
)

// recalled is what the orders to a resource have said that its controller may have
// forgotten: whether it is in, its queue says, but not that it rests.
type recalled struct {
	paused   bool
	interval time.Duration // zero: nothing was said
}

// recall says once more what the orders before an offset have said of pauses and
// intervals.
func (o *obeying) recall(ctx context.Context, before int64) error {
	all, err := o.readBefore(ctx, before)
	if err != nil {
		return err
	}
	for id, r := range all {
		if r.paused && !o.carryOut(ctx, order{verb: orderPause, id: id}, o.forget) ||
			r.interval != 0 && !o.carryOut(ctx, order{verb: orderInterval, id: id, interval: r.interval}, o.forget) {
			return context.Cause(ctx)
		}
	}
	return nil
}

// forget is what becomes of what was said before and is refused now.
func (o *obeying) forget(err error) {
	o.config.Logger.Warn("order that was carried out before is left out", "partition", o.partition, "err", err)
}

// readBefore returns what has been said, of those resources of which anything has.
func (o *obeying) readBefore(ctx context.Context, before int64) (map[resource.ID]recalled, error) {
	all := make(map[resource.ID]recalled)
	starts, err := o.admin.ListStartOffsets(ctx, o.config.Topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("kafka: recall orders: %w", err)
	}
	ends, err := o.admin.ListEndOffsets(ctx, o.config.Topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("kafka: recall orders: %w", err)
	}
	start, _ := starts.Lookup(o.config.Topic, o.partition)
	end, _ := ends.Lookup(o.config.Topic, o.partition)
	before = min(before, end.Offset) // the topic may have been emptied
	if start.Offset >= before {
		return all, nil
	}
	client, err := o.client(kgo.NewOffset().At(start.Offset))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		for _, f := range fetches.Errors() {
			return nil, fmt.Errorf("kafka: recall orders: %w", f.Err)
		}
		for _, rec := range fetches.Records() {
			if rec.Offset < before {
				if what, err := decodeOrder(rec.Key, rec.Value); err == nil { // else it was left out
					remember(all, &what)
				}
			}
			if rec.Offset >= before-1 {
				return all, nil
			}
		}
	}
}

// remember applies an order to what has been said.
func remember(all map[resource.ID]recalled, what *order) {
	r := all[what.id]
	switch what.verb {
	case orderPause:
		r.paused = true
	case orderResume:
		r.paused = false
	case orderInterval:
		r.interval = what.interval
	case orderRemove:
		r = recalled{}
	case orderAdd: // of one that is in, it changes nothing
	}
	if all[what.id] = r; r == (recalled{}) {
		delete(all, what.id)
	}
}
