package kafka

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/cannedos/cannedos/resource"
)

// An order is one record of the topic of orders. Its key is the id of the resource
// in text form; its value is JSON, so that people can read it with the tools of
// Kafka, and write it in need:
//
//	{"format":1,"order":"add","id":"...","uri":"https://...","interval":"1m0s","at":"2026-01-02T03:04:05Z"}
//
// It is read strictly: what an order says and nobody understands must not be done
// by half.
type order struct {
	verb     string
	id       resource.ID
	spec     resource.Spec // of add
	interval time.Duration // of set-interval
	at       time.Time     // when it was given; for people
}

// The orders.
const (
	orderAdd      = "add"
	orderRemove   = "remove"
	orderPause    = "pause"
	orderResume   = "resume"
	orderInterval = "set-interval"
)

const (
	orderFormat   = 1
	maxOrderBytes = 64 << 10
)

type orderJSON struct {
	Format    int         `json:"format"`
	Order     string      `json:"order"`
	ID        resource.ID `json:"id"`
	URI       string      `json:"uri,omitempty"`
	Interval  string      `json:"interval,omitempty"`
	Profile   string      `json:"profile,omitempty"`
	MediaType string      `json:"media_type,omitempty"`
	Priority  int8        `json:"priority,omitempty"`
	At        time.Time   `json:"at,omitzero"`
}

func (o *order) encode() []byte {
	j := orderJSON{
		Format: orderFormat, Order: o.verb, ID: o.id,
		URI: o.spec.URI, Profile: o.spec.Profile, MediaType: o.spec.MediaType, Priority: o.spec.Priority, At: o.at.UTC(),
	}
	if d := o.spec.Interval + o.interval; d != 0 { // one of them
		j.Interval = d.String()
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // for people: & in a query
	if err := e.Encode(&j); err != nil {
		panic(err) // texts, numbers and an instant of now
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

var errOrder = errors.New("kafka: not an order")

// decodeOrder is the opposite of encode. A newer format gives an error that wraps
// resource.ErrNewer.
func decodeOrder(key, value []byte) (o order, err error) {
	if len(value) > maxOrderBytes {
		return o, fmt.Errorf("%w: %d bytes: want at most %d", errOrder, len(value), maxOrderBytes)
	}
	var format struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(value, &format); err != nil {
		return o, fmt.Errorf("%w: %w", errOrder, err)
	}
	if format.Format > orderFormat {
		return o, fmt.Errorf("%w: order of format %d, this program knows %d", resource.ErrNewer, format.Format, orderFormat)
	}
	var j orderJSON
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return o, fmt.Errorf("%w: %w", errOrder, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return o, fmt.Errorf("%w: something follows it", errOrder)
	}
	o, err = j.order()
	if err == nil && string(key) != o.id.String() {
		err = fmt.Errorf("the key %.40q is not the id, %v", key, o.id)
	}
	if err != nil {
		return order{}, fmt.Errorf("%w: %w", errOrder, err)
	}
	return o, nil
}

func (j *orderJSON) order() (o order, err error) {
	if j.Format != orderFormat {
		return o, fmt.Errorf("format %d: want %d", j.Format, orderFormat)
	}
	if j.ID.IsZero() {
		return o, errors.New("it names no resource")
	}
	var interval time.Duration
	if j.Interval != "" {
		if interval, err = time.ParseDuration(j.Interval); err != nil {
			return o, fmt.Errorf("interval: %w", err)
		}
	}
	o = order{verb: j.Order, id: j.ID, at: j.At}
	spec := resource.Spec{URI: j.URI, Profile: j.Profile, MediaType: j.MediaType, Priority: j.Priority}
	if j.Order == orderAdd {
		spec.ID, spec.Interval = j.ID, interval
		o.spec = spec
		return o, spec.Validate()
	}
	if spec != (resource.Spec{}) {
		return o, fmt.Errorf("%s with what belongs to %s alone", strconv.Quote(j.Order), orderAdd)
	}
	switch j.Order {
	case orderInterval:
		o.interval = interval
		return o, checkInterval(interval)
	case orderRemove, orderPause, orderResume:
		if interval != 0 {
			return o, fmt.Errorf("%s with an interval", j.Order)
		}
		return o, nil
	}
	return o, fmt.Errorf("order %.40q: want %s, %s, %s, %s or %s", j.Order, orderAdd, orderRemove, orderPause, orderResume, orderInterval)
}

func checkInterval(d time.Duration) error {
	if d <= 0 || d > resource.MaxInterval {
		return &resource.FieldError{Field: "interval", Value: d.String(), Want: "above 0, to " + resource.MaxInterval.String()}
	}
	return nil
}
