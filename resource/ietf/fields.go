package ietf

import (
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/cannedos/cannedos/resource"
)

// Bounds of a field: more bytes are malformed, more items are not looked at.
const (
	maxField = 16 << 10
	maxItems = 64
)

// A policy is an item of RateLimit-Policy, section 3 of the draft.
type policy struct {
	name  string
	key   string // pk; empty: none
	quota int64  // q
	unit  string // qu
	per   time.Duration
}

// Units of a quota.
const (
	unitRequests   = "requests"
	unitConcurrent = "concurrent-requests"
	unitBytes      = "content-bytes"
)

// A limit is an item of RateLimit, section 4 of the draft.
type limit struct {
	name      string
	key       string // pk; empty: none
	remaining int64  // r
	reset     int64  // t, in seconds from now
	hasReset  bool
}

// oldLimit is what the seventh draft had: a dictionary.
type oldLimit struct {
	limit, remaining int64
	wait             time.Duration
}

// parsePolicies reads RateLimit-Policy, of all lines one list. A list that is
// malformed is none, and so is an item whose name is no String or that lacks a
// valid q (rules I-1, I-2, I-4). Parameters that are not known, and w that is not
// positive, are as if they were not there.
func parsePolicies(lines []string) (all []policy) {
	for _, item := range items(lines) {
		p := policy{unit: unitRequests}
		var ok bool
		if p.name, ok = item.Value.(string); !ok {
			continue
		}
		if p.quota, ok = number(item, "q"); !ok {
			continue
		}
		if unit, there := item.Params.Get("qu"); there {
			p.unit, _ = unit.(string)
		}
		if p.unit == "request" { // so the registry of the draft spells it
			p.unit = unitRequests
		}
		if w, _ := number(item, "w"); w <= int64(resource.MaxInterval/time.Second) {
			p.per = time.Duration(w) * time.Second
		}
		p.key = key(item)
		all = append(all, p)
	}
	return all
}

// parseLimits reads RateLimit in the same way (rule I-3): an item without a valid
// r is none, and t is never an instant. Where there is no list there may be the
// dictionary of the seventh draft.
func parseLimits(lines []string) (all []limit, old oldLimit, isOld bool) {
	if len(lines) == 0 {
		return nil, old, false
	}
	list := items(lines)
	if list == nil {
		old, isOld = parseOldLimit(lines)
		return nil, old, isOld
	}
	for _, item := range list {
		var l limit
		var ok bool
		if l.name, ok = item.Value.(string); !ok {
			continue
		}
		if l.remaining, ok = number(item, "r"); !ok {
			continue
		}
		l.reset, l.hasReset = number(item, "t")
		l.key = key(item)
		all = append(all, l)
	}
	return all, old, false
}

// parseOldLimit reads "limit=10, remaining=4, reset=5".
func parseOldLimit(lines []string) (old oldLimit, ok bool) {
	if size(lines) > maxField {
		return old, false
	}
	dictionary, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil {
		return old, false
	}
	values := [3]int64{}
	for i, name := range [...]string{"limit", "remaining", "reset"} {
		member, _ := dictionary.Get(name)
		item, isItem := member.(httpsfv.Item)
		if !isItem {
			return old, false
		}
		n, isNumber := item.Value.(int64)
		if !isNumber || n < 0 {
			return old, false
		}
		values[i] = n
	}
	return oldLimit{values[0], values[1], wait(values[2])}, true
}

// items are the Items of a structured list; nil where it is malformed.
func items(lines []string) []httpsfv.Item {
	if size(lines) > maxField {
		return nil
	}
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil {
		return nil
	}
	all := make([]httpsfv.Item, 0, min(len(list), maxItems))
	for _, member := range list[:min(len(list), maxItems)] {
		if item, ok := member.(httpsfv.Item); ok {
			all = append(all, item)
		}
	}
	return all
}

func size(lines []string) (n int) {
	for _, line := range lines {
		n += len(line)
	}
	return n
}

// number is a parameter that has to be a non-negative Integer.
func number(item httpsfv.Item, name string) (int64, bool) {
	v, _ := item.Params.Get(name)
	n, ok := v.(int64)
	if !ok || n < 0 {
		return 0, false
	}
	return n, true
}

// key is the partition key of an item.
func key(item httpsfv.Item) string {
	v, _ := item.Params.Get("pk")
	b, _ := v.([]byte)
	return string(b)
}

// wait is so many seconds. An Integer of a structured field can be longer than a
// Duration.
func wait(seconds int64) time.Duration {
	return time.Duration(min(seconds, 200*366*24*3600)) * time.Second
}
