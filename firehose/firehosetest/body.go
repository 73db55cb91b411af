package firehosetest

import (
	"bytes"
	"compress/gzip"
	"math"
	"net/http"
)

// hugeBody is what Huge announces and would send.
const hugeBody = int64(10) << 30

// render makes the body. It needs no lock: what it reads is not changed.
func (x *exchange) render() {
	o := x.origin
	if x.status == http.StatusNotModified || x.status == http.StatusNoContent {
		x.body = nil
		return
	}
	if x.page.feed != nil && x.status == http.StatusOK {
		x.body = x.page.body(o.oracle)
	} else if x.page.size > 0 {
		seed := mix(o.cfg.Seed + mix(uint64(x.timeline)+1))
		r := renderer{o.oracle, x.segments, &timeline{number: x.timeline, seed: seed}, len(o.timelines)}
		x.body = r.body(x.page)
	}
	switch x.step.Kind {
	case Huge:
		x.fill = hugeBody - int64(len(x.body))
		x.announce = hugeBody
		return
	case Endless:
		x.fill = math.MaxInt64
		return
	}
	if x.gzip && len(x.body) > 0 {
		x.body = o.compress(x.body)
		x.set("Content-Encoding", "gzip")
	}
	x.announce = int64(len(x.body))
	if x.step.Kind == Truncate && x.rejection == accepted {
		x.body, x.cut = x.body[:len(x.body)/2], true
	}
	if x.method == http.MethodHead {
		x.body, x.fill = nil, 0
	}
}

func (o *Origin) compress(body []byte) []byte {
	var buf bytes.Buffer
	z, _ := o.zips.Get().(*gzip.Writer)
	if z == nil {
		z, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is allowed
	}
	z.Reset(&buf)
	_, _ = z.Write(body) // a bytes.Buffer takes all
	_ = z.Close()
	o.zips.Put(z)
	return buf.Bytes()
}
