package firehose

import (
	"fmt"
	"slices"
	"time"
)

// flags looks for what is wrong with a plan, the refusing findings first.
func (t *terrain) flags(f *Forecast) (flags []Flag) {
	n := 0
	for i := range t.scopes {
		s := &t.scopes[i]
		buckets := f.Buckets[n : n+len(s.buckets)]
		n += len(s.buckets)
		for j := range buckets {
			flags = append(flags, t.bucketFlags(s, &s.buckets[j], &buckets[j], f)...)
		}
		if s.dialect == githubDialect {
			flags = append(flags, t.githubFlags(s, buckets)...)
		}
	}
	flags = append(flags, feedFlags(f.Feeds)...)
	slices.SortStableFunc(flags, func(a, b Flag) int {
		switch {
		case a.Refuses == b.Refuses:
			return 0
		case a.Refuses:
			return -1
		}
		return 1
	})
	return flags
}

// bucketFlags are those of one bucket.
func (t *terrain) bucketFlags(s *planScope, b *planBucket, f *BucketForecast, all *Forecast) (flags []Flag) {
	add := func(rule, format string, args ...any) {
		flags = append(flags, Flag{Rule: rule, Subject: f.Key.String(), Text: fmt.Sprintf(format, args...)})
	}
	if !f.Known {
		add("G-8", "no quota is given for it, so what it allows can't be said; the OS will read it from the answers")
	}
	if f.taken > t.cfg.MaxShare {
		add("G-9", "it wants %s requests an hour, of which a quota of %s is used to %.0f %%: other programs are left less than %.0f %%; keep a Reserve, or ask for longer intervals",
			people(f.Wanted), people(float64(f.Quota)*float64(time.Hour)/float64(f.Window)), 100*f.taken, 100*(1-t.cfg.MaxShare))
		flags[len(flags)-1].Refuses = true
	}
	if f.most > t.cfg.MaxShareOne && f.Resources > 1 || f.most > t.cfg.MaxShareOne && f.taken <= t.cfg.MaxShare {
		add("G-9", "%s alone wants %.0f %% of the quota", f.mostURI, 100*f.most)
	}
	if f.Late > 0 {
		worst := t.worst(b, all)
		add(f.lateRule, "%d of %d intervals can't be met, for %s: %s becomes %s at %s",
			f.Late, f.Resources, f.LimitedBy, worst.Interval, worst.Expected.Round(time.Second/10), worst.URI)
	}
	if f.Known && f.Round > f.Window {
		add("D-15", "the first round takes %s, since %d resources are asked for with %d requests a window", f.Round.Round(time.Second), f.Resources, max(1, f.Quota-f.Reserve))
	}
	if s.reserve >= b.quota.Requests && f.Known {
		add("G-9", "the reserve of %d leaves nothing of a quota of %d but the one request that asks after each reset", s.reserve, b.quota.Requests)
	}
	short := 0
	for _, n := range b.units {
		if u := &t.units[n]; u.r.Interval > 0 && u.r.Interval < u.t.PollInterval {
			short++
		}
	}
	if short > 0 {
		add("G-3", "%d of %d wishes are shorter than the poll interval of the origin, which counts", short, f.Resources)
	}
	return flags
}

// worst is the resource whose interval grows most.
func (t *terrain) worst(b *planBucket, all *Forecast) (worst *ResourceForecast) {
	for _, n := range b.units {
		if r := &all.Resources[n]; worst == nil || compareStretch(r, worst) > 0 {
			worst = r
		}
	}
	return worst
}

// githubFlags hold a scope against the secondary limits that GitHub documents.
// They count per minute, so a burst at the start or after a reset is what meets
// them.
func (t *terrain) githubFlags(s *planScope, buckets []BucketForecast) (flags []Flag) {
	add := func(rule, format string, args ...any) {
		flags = append(flags, Flag{Rule: rule, Subject: s.key.String(), Text: fmt.Sprintf(format, args...)})
	}
	peak, fastest, cpu := 0.0, 0.0, 0.0
	for i := range buckets {
		peak += buckets[i].Peak
		if each := buckets[i].each; each > 0 {
			fastest = max(fastest, 60/each)
			cpu = max(cpu, buckets[i].Peak*each*float64(max(1, s.cap))) // an estimate: times of answers
		}
	}
	if fastest > 0 {
		peak = min(peak, fastest)
	}
	if s.cap > 1 {
		add("G-11", "%d requests may be in flight together, and GitHub asks for one at a time", s.cap)
	}
	if s.cap > t.cfg.Concurrent {
		add("G-10", "%d requests may be in flight together, and a secondary limit allows %d", s.cap, t.cfg.Concurrent)
	}
	if peak > float64(t.cfg.PointsPerMinute) {
		add("G-10", "up to %s requests leave in a minute, and a secondary limit allows %d points: declare a lower Limit", people(peak), t.cfg.PointsPerMinute)
	}
	if most := t.cfg.CPUPerMinute.Seconds(); cpu > most {
		add("G-10", "answers may take %s s in a minute together, and a secondary limit allows %s s of computing", people(cpu), people(most))
	}
	return flags
}

// feedFlags says what can't be read completely.
func feedFlags(feeds []FeedForecast) (flags []Flag) {
	for i := range feeds {
		if f := &feeds[i]; !f.Complete {
			flags = append(flags, Flag{Rule: "E-7", Subject: f.URI, Text: fmt.Sprintf(
				"it can't be read completely: a poll every %s shows %s of its items, with a Gap at %s of the polls; every %s would be needed",
				roughly(f.Interval), percent(f.Seen), percent(f.GapRate), roughly(f.Needed))})
		}
	}
	return flags
}
