package firehose

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// rows is how many resources or feeds a table shows; the JSON form has all.
const rows = 10

// String is the forecast as text for people: a table of the buckets, the
// intervals that suffer most, the feeds, and the flags.
func (f Forecast) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d resources want %s requests an hour; %s will be sent\n\n", len(f.Resources), people(f.Wanted), people(f.Expected))
	table(&b, "bucket\tresources\twanted/h\tallowed/h\tsent/h\t304\tused\tround\tpeak/min\tlate", func(row func(...any)) {
		for i := range f.Buckets {
			k := &f.Buckets[i]
			allowed, used := "unknown", "-"
			if k.Known {
				allowed, used = people(k.Allowed), percent(k.Used)
			}
			row(k.Key, k.Resources, people(k.Wanted), allowed, people(k.Expected), percent(k.Unchanged), used, roughly(k.Round), people(k.Peak), k.Late)
		}
	})
	late := slices.DeleteFunc(slices.Clone(f.Resources), func(r ResourceForecast) bool { return r.Met })
	slices.SortStableFunc(late, func(a, b ResourceForecast) int { return compareStretch(&b, &a) })
	if len(late) > 0 {
		b.WriteByte('\n')
		table(&b, "interval not met\twanted\texpected", func(row func(...any)) {
			for _, r := range late[:min(rows, len(late))] {
				row(r.URI, r.Interval, roughly(r.Expected))
			}
			if more := len(late) - rows; more > 0 {
				row(fmt.Sprintf("and %d more", more), "", "")
			}
		})
	}
	if len(f.Feeds) > 0 {
		b.WriteByte('\n')
		table(&b, "feed\titems/s\twindow\tevery\tseen\tgaps/h\tneeded", func(row func(...any)) {
			for i := range f.Feeds[:min(rows, len(f.Feeds))] {
				d := &f.Feeds[i]
				row(d.URI, people(d.Rate), d.Window, roughly(d.Interval), percent(d.Seen), people(d.Gaps), roughly(d.Needed))
			}
			if more := len(f.Feeds) - rows; more > 0 {
				row(fmt.Sprintf("and %d more", more), "", "", "", "", "", "")
			}
		})
	}
	for i, flag := range f.Flags {
		if i == 0 {
			b.WriteByte('\n')
		}
		word := "note"
		if flag.Refuses {
			word = "refused"
		}
		fmt.Fprintf(&b, "%s %s\n", word, flag)
	}
	return b.String()
}

// compareStretch orders by how many times its interval a resource waits.
func compareStretch(a, b *ResourceForecast) int {
	x, y := float64(a.Expected)*float64(b.Interval), float64(b.Expected)*float64(a.Interval)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// table writes aligned columns under a head.
func table(b *strings.Builder, head string, fill func(row func(cells ...any))) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, head)
	fill(func(cells ...any) {
		for i, c := range cells {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, c)
		}
		fmt.Fprintln(w)
	})
	w.Flush() // a strings.Builder takes everything
}

// people is a number as people read it: three digits that count, or all before
// the point.
func people(v float64) string {
	switch {
	case v >= 100 || v == float64(int64(v)):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func percent(share float64) string {
	if p := 100 * share; p > 0 && p < 10 {
		return strconv.FormatFloat(p, 'f', 1, 64) + "%"
	}
	return strconv.FormatFloat(100*share, 'f', 0, 64) + "%"
}

// roughly is a duration without digits that nobody reads.
func roughly(d time.Duration) string {
	for _, unit := range [...]time.Duration{time.Minute, time.Second, time.Millisecond} {
		if d >= 100*unit {
			return d.Round(unit).String()
		}
	}
	return d.Round(100 * time.Microsecond).String()
}
