package firehosetest

// Verdict is what the oracle saw so far. The names in brackets are the rules
// of politeness that a counter stands for.
//
// One request may break several rules and is then counted by each. Only what
// the client had been told counts: an answer teaches when its last byte is
// handed over.
type Verdict struct {
	// Requests counts all requests except those for the oracle itself.
	Requests int64 `json:"requests"`
	// Polls counts requests for page one of a resource.
	Polls int64 `json:"polls"`
	// Permitted is the number of polls that a perfectly prompt polite client
	// would have made by now: the polls that broke no rule of time, plus those
	// missed. Polls/Permitted is therefore 1 for a prompt client, and 0.5 for
	// one that polls every second time.
	//
	// A resource misses 1/interval polls for every second in which it is due
	// and nothing holds its client back. It counts from its first poll (see
	// Resources), and misses nothing while it has neither interval nor
	// max-age. The interval is the larger of these and of Origin.Expect.
	//
	// A client is held back while the bucket is exhausted, the scope is
	// parked, a request of the scope is in flight (GitHub asks for serial
	// requests), the origin fails, or the client lies killed. After a park or
	// a kill that lasts until the next request, after a failure until the next
	// success, but not longer than a minute or, after failures and secondary
	// limits, twice as long as the trouble had lasted, at most an hour. A
	// failed resource is not due before such a wait is over. One that was
	// refused (400, 401, 403, 410, 422, 451) is never due again, nor is one
	// that moved for good: its target is a resource of its own, once it is
	// asked for directly. In one window of a bucket no more is missed than an
	// even share of its limit would have allowed beyond what was used.
	Permitted int64 `json:"permitted"`
	// Resources counts the resources of which page one was asked for.
	Resources int64 `json:"resources"`
	// Modified and NotModified count complete answers 200 and 304 to polls.
	Modified    int64 `json:"modified"`
	NotModified int64 `json:"not_modified"`
	// Items counts distinct event ids on page one of complete answers 200, of
	// [Config.Replay] those on any page.
	Items int64 `json:"items"`

	// Impolite is the sum of the counters from Early to StaleToken.
	Impolite int64 `json:"impolite"`
	// Early counts polls before the permitted instant of their resource: the
	// beginning of the last answer plus its X-Poll-Interval (G-1, G-2), plus
	// its Retry-After in any form (H-1, H-4, S-503), after a 429 without
	// either 60 s (S-429), after any other failure [Config.Backoff]
	// (S-backoff, G-15). A request that was reset on a connection in use may
	// come again at once on another (RFC 9112, 9.3.1).
	Early int64 `json:"early"`
	// Parked counts requests in a bucket after a rejection for exhaustion
	// until its reset (G-12), and in a scope after a secondary limit for its
	// Retry-After or, without one, 60 s (G-13, G-16).
	Parked int64 `json:"parked"`
	// Overdraft counts requests with nothing remaining, in a window of the
	// bucket that an answer had told of, and before a rejection made it
	// Parked (G-7, D-2).
	Overdraft int64 `json:"overdraft"`
	// Overlap counts requests for a resource or child that had another one in
	// flight (D-4).
	Overlap int64 `json:"overlap"`
	// Concurrency counts requests above the cap of their scope, which is
	// [Config.Concurrency] (G-10, G-11).
	Concurrency int64 `json:"concurrency"`
	// BadValidator counts requests with an If-None-Match that is not byte for
	// byte one handed out for that resource, page and Accept (G-4, H-5).
	BadValidator int64 `json:"bad_validator"`
	// Unconditional counts requests without If-None-Match although the last
	// complete answer 200 or 304 for the same page and Accept gave an ETag
	// (H-6).
	Unconditional int64 `json:"unconditional"`
	// CredentialLeak counts requests with an Authorization that was first
	// used at another origin, which redirected its holder here (G-18).
	CredentialLeak int64 `json:"credential_leak"`
	// StaleToken counts requests with a token of which an answer had said that
	// it was replaced (S-401), see [Origin.Rotate].
	StaleToken int64 `json:"stale_token"`

	// Unknowable counts requests that broke a rule of which the client could
	// not know, since the answer never reached it: it was cut off, or its
	// request was cancelled, or its client was killed (see [Origin.Killed]).
	// Each request counts at most once, and not as impolite.
	Unknowable int64 `json:"unknowable"`
	// Unjudged counts requests beyond [Config.MaxResources].
	Unjudged int64 `json:"unjudged"`

	// LateP50 and LateP99 are quantiles of the time from the instant at which
	// a poll became permitted, by its resource, bucket and scope, to its
	// arrival, in milliseconds, exact to about 3 %. Polls after a failure,
	// first polls and polls before their instant have none.
	LateP50 float64 `json:"late_p50_ms"`
	LateP99 float64 `json:"late_p99_ms"`
	// MaxInFlight is the largest number of requests at once, over all scopes.
	MaxInFlight int64 `json:"max_in_flight"`
	// Kills counts calls of Killed, and InFlightAtKills the answers that may
	// have died with the client: in flight at a kill, or completed within
	// [Config.Unread] before it.
	Kills           int64 `json:"kills"`
	InFlightAtKills int64 `json:"in_flight_at_kills"`

	// Published counts calls of [Origin.Published], Duplicates those for an id
	// that was published before. LostItems are the Items not published yet:
	// ask when the client has finished. It is zero if Published was never
	// called. All three see the newest 2,048 events of a timeline; what was
	// not published by then is lost.
	Published  int64 `json:"published"`
	Duplicates int64 `json:"duplicates"`
	LostItems  int64 `json:"lost_items"`
}

// impolite is the sum of the counters of impoliteness.
func (v *Verdict) impolite() int64 {
	return v.Early + v.Parked + v.Overdraft + v.Overlap + v.Concurrency +
		v.BadValidator + v.Unconditional + v.CredentialLeak + v.StaleToken
}

// verdict sums up. It moves the oracle's clock to now.
func (o *oracle) verdict(now instant) Verdict {
	o.advanceAll(now)
	v := o.counts
	missed := 0.0
	for _, s := range o.scopes {
		for _, b := range s.buckets {
			missed += b.pace.total + b.pace.bounded(b.truth.limit, b.truth.length, now)
		}
	}
	v.Permitted = o.permitted + int64(missed)
	v.Impolite = v.impolite()
	v.LateP50 = o.late.quantile(0.5)
	v.LateP99 = o.late.quantile(0.99)
	return v
}
