package customdb

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/cannedos/cannedos/db"
)

// next is what the spaces will be after a call of Write: the editions that it
// changes, in front of the present ones.
type next struct {
	present, changed map[string]space
}

// apply lets one write win or lose. What an earlier write of the call did counts.
func (n *next) apply(w *db.Write) (db.Result, error) {
	r := &w.Record
	lines, own := n.changed[r.Space]
	if !own {
		lines = n.present[r.Space]
	}
	old := lines[r.ID]
	switch {
	case old == nil && w.If != 0:
		return db.Result{}, nil
	case old != nil && w.If != old.record.Version:
		return db.Result{Current: old.copied()}, nil
	}
	if !own {
		if lines = maps.Clone(lines); lines == nil {
			lines = space{}
		}
		n.changed[r.Space] = lines
	}
	if r.Version == 0 {
		delete(lines, r.ID)
		return db.Result{OK: true}, nil
	}
	l, err := newLine(*r)
	if err != nil {
		return db.Result{}, err
	}
	lines[r.ID] = l
	return db.Result{OK: true}, nil
}

// stored is a record as JSON. Its space is said by the name of the file.
type stored struct {
	ID      string    `json:"id"`
	Version int64     `json:"version"`
	Owner   string    `json:"owner,omitempty"`
	Until   time.Time `json:"until,omitzero"`
	Value   []byte    `json:"value,omitempty"` // base64, since it may be anything
}

// newLine encodes a record, and keeps a copy that shares nothing with it.
func newLine(r db.Record) (*line, error) {
	r.Until = r.Until.Round(0).UTC()
	js := stored{ID: r.ID, Version: r.Version, Until: r.Until, Value: r.Value}
	if !r.Owner.IsZero() {
		js.Owner = r.Owner.String()
	}
	text, err := json.Marshal(js)
	if err != nil {
		return nil, fmt.Errorf("encode %s/%s: %w", r.Space, r.ID, err)
	}
	l := &line{record: r, text: append(text, '\n')}
	l.record = l.copied()
	return l, nil
}

// record is the reverse of newLine, for the space of a file. It accepts only
// what a store may hold.
func (js *stored) record(name string) (db.Record, error) {
	r := db.Record{Space: name, ID: js.ID, Version: js.Version, Until: js.Until, Value: js.Value}
	if js.Owner != "" {
		owner, err := db.ParseOwner(js.Owner)
		if err != nil {
			return r, err
		}
		r.Owner = owner
	}
	return r, db.CheckWrites(db.Write{Record: r})
}
