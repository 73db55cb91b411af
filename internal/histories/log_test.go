package histories

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cannedos/cannedos/db"
)

// What is recorded. A get and a write concern a record; the others are made of
// those.
const (
	get     = "get"
	write   = "write"
	claim   = "claim"
	renew   = "renew"
	release = "release"
	act     = "act"  // on the fenced resource, under a token
	work    = "work" // inside of db.Hold
)

// Outcomes.
const (
	ok      = "ok"
	lost    = "lost"    // a write that found another version, a lease that is over
	held    = "held"    // a claim
	refused = "refused" // an act under an old token
	nothing = "nothing" // an error that says that nothing was done, or a read without an answer
	unknown = "unknown" // any other error; also what was under way when its process was killed
)

// cell is a record without its name.
type cell struct {
	Version int64  `json:",omitzero"`
	Owner   string `json:",omitzero"`
	Until   int64  `json:",omitzero"` // nanoseconds since 1970; 0: none
	Value   string `json:",omitzero"`
}

func cellOf(r db.Record) cell {
	c := cell{Version: r.Version, Until: nanoseconds(r.Until), Value: fmt.Sprintf("%x", r.Value)}
	if !r.Owner.IsZero() {
		c.Owner = r.Owner.String()
	}
	return c
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// operation is one call. Which fields count depends on its kind.
type operation struct {
	ID      int64
	Client  int
	Kind    string
	Key     string
	Outcome string `json:",omitzero"` // empty: under way

	// Of a record.
	For   int64 `json:",omitzero"` // of a write: the operation that it is part of
	If    int64 `json:",omitzero"`
	New   cell  `json:",omitzero"` // what is written; version 0 deletes
	Found cell  `json:",omitzero"` // what a get found, or a write lost to

	// Of a lease, and acts under it.
	Owner     string `json:",omitzero"` // who calls
	Holder    string `json:",omitzero"` // of a claim that was refused: who has it, until Until
	Token     int64  `json:",omitzero"`
	TTL, Skew int64  `json:",omitzero"`
	Until     int64  `json:",omitzero"`
	Believed  bool   `json:",omitzero"` // of an act: the lease was still his afterwards

	From, To int64 // by the clock

	// By the log, which is in the order of real time.
	call, end int64
}

func (op *operation) String() string {
	end := fmt.Sprint(op.end)
	if op.end == 0 {
		end = "never"
	}
	text := fmt.Sprintf("[%d, %s] client %d: %s %s", op.call, end, op.Client, op.Kind, op.Key)
	switch op.Kind {
	case get:
		text += fmt.Sprintf(" found %+v", op.Found)
	case write:
		text += fmt.Sprintf(" if %d: %+v; found %+v", op.If, op.New, op.Found)
	default:
		text += fmt.Sprintf(" by %.4s, token %d, until %d, held by %.4s", op.Owner, op.Token, op.Until, op.Holder)
	}
	return fmt.Sprintf("%s: %s (%d to %d)", text, op.Outcome, op.From, op.To)
}

// log is a history while it is made. The order of its entries is that of real
// time: an operation is entered before it begins and after it has ended.
type log struct {
	lines io.Writer // gets each entry as one line, if given

	mu  sync.Mutex
	now int64
	id  int64 // of the last operation
	ops []*operation
}

// entry is one line.
type entry struct {
	End bool `json:",omitzero"`
	Op  operation
}

func (l *log) begin(op operation) *operation {
	op.From = time.Now().UnixNano()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.id++
	l.now++
	op.ID, op.call = l.id, l.now
	l.ops = append(l.ops, &op)
	l.print(entry{Op: op})
	return &op
}

// finish enters what came of op.
func (l *log) finish(op *operation, outcome string) {
	to := time.Now().UnixNano()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now++
	op.Outcome, op.To, op.end = outcome, to, l.now
	l.print(entry{End: true, Op: *op})
}

func (l *log) print(e entry) {
	if l.lines == nil {
		return
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = l.lines.Write(append(line, '\n'))
	}
	if err != nil {
		panic(err) // nobody listens any more
	}
}

// read enters what another process printed, up to a line that was cut in the
// middle. It returns how many lines it has read; each is told, which may end
// the process.
func (l *log) read(lines io.Reader, each func(n int)) int {
	underWay := make(map[int64]*operation)
	decoder := json.NewDecoder(lines)
	for n := 0; ; n++ {
		var e entry
		if decoder.Decode(&e) != nil {
			return n
		}
		l.mu.Lock()
		l.now++
		if op := underWay[e.Op.ID]; e.End && op != nil {
			call := op.call
			*op = e.Op
			op.call, op.end = call, l.now
			delete(underWay, e.Op.ID)
		} else {
			op := e.Op
			op.call = l.now
			underWay[op.ID] = &op
			l.ops = append(l.ops, &op)
			l.id = max(l.id, op.ID)
		}
		l.mu.Unlock()
		each(n + 1)
	}
}
