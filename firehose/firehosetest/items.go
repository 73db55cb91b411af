package firehosetest

import "time"

// Publication is one item that a client handed to its user.
type Publication struct {
	ID string    `json:"id"`          // of the item
	At time.Time `json:"at,omitzero"` // zero: not known
}

// ReportedGap is an interval of observation time in which a client says that it
// may have missed items, by its own clock.
type ReportedGap struct {
	From     time.Time `json:"from"`     // the observation before
	To       time.Time `json:"to"`       // the one that did not reach it
	Estimate float64   `json:"estimate"` // items missed
}

// ItemReport is what a client says of [Config.Replay].
type ItemReport struct {
	// Published lists what was published, in any order. Nil: what was told by
	// [Origin.Published].
	Published []Publication `json:"published,omitempty"`
	// Gaps lists the gaps reported, in any order.
	Gaps []ReportedGap `json:"gaps,omitempty"`
	// Slack is how far the ends of a gap may be from the instants at which
	// the origin made its answers: the travel of requests and answers. Default
	// 1 s; keep it below half a poll interval.
	Slack time.Duration `json:"slack,omitzero"`
}

// ItemVerdict says what became of the items of [Config.Replay] between a
// client's first observation and its last one: the answers to polls of page
// one, 304s included. An item is an id, however often it arrives. It was shown
// if an answer 200 with it was delivered to its last byte, on whichever page,
// to a client that was not killed just then or that published it all the same.
type ItemVerdict struct {
	// Items is Shown plus NeverShown.
	Items int64 `json:"items"`

	// Shown were in an answer that the client got. Once were then published
	// exactly once, Repeated more often, Duplicates times too often in sum.
	Shown      int64 `json:"shown"`
	Once       int64 `json:"once"`
	Repeated   int64 `json:"repeated"`
	Duplicates int64 `json:"duplicates"`
	// Lost were shown, never published, and are in no gap. LostInGap are in
	// one: lost, and not silently.
	Lost      int64 `json:"lost"`
	LostInGap int64 `json:"lost_in_gap"`
	// Unshown counts publications of what the client had not been shown by
	// then.
	Unshown int64 `json:"unshown"`

	// NeverShown entered after the first observation and not after the last
	// one, and were in no answer that the client got.
	NeverShown int64 `json:"never_shown"`
	// InGap of them entered within a reported gap. Silent ones did not,
	// although the client could have known: nothing is lost silently if Lost
	// and Silent are zero. Unknowable are the rest: they entered behind newer
	// ones, and had left the window, or were about to, at each answer that
	// could have shown them or led to them; no client can know of those.
	InGap      int64 `json:"in_gap"`
	Silent     int64 `json:"silent"`
	Unknowable int64 `json:"unknowable"`

	// Gaps is the number of those reported. Spanning of them span an overlap:
	// two consecutive whole readings within them share an item that did not
	// arrive anew, so that no item can have been missed but a late one. Empty
	// ones have no item that was missed.
	Gaps     int64 `json:"gaps"`
	Spanning int64 `json:"spanning"`
	Empty    int64 `json:"empty"`
	// Estimated is the sum of the estimates; compare it with NeverShown.
	Estimated float64 `json:"estimated"`
	// Observations is the number of whole readings, and Overlaps that of those
	// that overlap the one before.
	Observations int64 `json:"observations"`
	Overlaps     int64 `json:"overlaps"`
}

// Items judges a client's report on the items of [Config.Replay]; the zero
// verdict without one. Ask when the client has published what it read. It
// takes all deliveries to be those of one client: let only one read the feed.
func (o *Origin) Items(report ItemReport) ItemVerdict {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.feed == nil {
		return ItemVerdict{}
	}
	o.feed.advance(o.now())
	j := &itemJudge{feed: o.feed, names: o.feed.itemNames(), slack: report.Slack}
	if j.slack <= 0 {
		j.slack = time.Second
	}
	j.chain, j.first, j.last = o.feed.observe()
	j.show()
	j.takeGaps(o.oracle, report.Gaps)
	j.takePublished(o.oracle, report.Published)
	j.judgeItems()
	j.judgeGaps(o.oracle, report.Gaps)
	return j.verdict
}
