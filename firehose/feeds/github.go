package feeds

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/cannedos/cannedos/firehose"
	"github.com/cannedos/cannedos/resource"
)

// Event is an event of the GitHub events API. Any field but ID may be missing:
// payloads lose fields over the years, and a reader must not mind (rule E-10).
type Event struct {
	// ID is the identity: digits, compared as text (rule E-4). Holes in the
	// numbers mean nothing.
	ID string

	// Type is such as "PushEvent".
	Type string

	// Actor, Repo and Org are who did it, where, and in whose organization. Zero:
	// the event has none.
	Actor Party
	Repo  Party
	Org   Party

	// Public is whether everybody may see the event.
	Public bool

	// CreatedAt is when it happened, in UTC; it is shown half a minute to hours
	// later (rule E-2). Zero: the event doesn't say.
	CreatedAt time.Time

	// Payload is the JSON of what depends on the type. Nil: there is none.
	Payload json.RawMessage

	// Raw is the whole event, byte for byte as it came (rule E-10).
	Raw json.RawMessage
}

// Party is an account or a repository of an [Event].
type Party struct {
	ID   int64  // of GitHub; zero: it doesn't say
	Name string // login of an account, owner and name of a repository
}

// GitHub returns the reader of the GitHub events API: /events, and the events of
// a repository, an organization, a network or a user. The next page is the one
// that the Link header names (rule G-19).
//
// A body that is no JSON array, such as the object of a rejection, is an error
// with [ErrFormat] (rule D-16), and so is one that was cut off. An element that is
// damaged or has no id is skipped; one that has fields of other types than
// documented is read without those fields.
func GitHub() firehose.Reader[Event] { return firehose.ReaderFunc[Event](readGitHub) }

func readGitHub(r *resource.Response) (p firehose.Page[Event], err error) {
	const format = "GitHub events"
	if err := checked(format, r); err != nil {
		return p, err
	}
	var events []firehose.Item[Event]
	skipped, err := elements(withoutMark(r.Body), func(raw []byte) bool {
		e, ok := event(raw)
		if ok {
			events = append(events, firehose.Item[Event]{ID: e.ID, At: e.CreatedAt, Value: e})
		}
		return ok
	})
	if err != nil {
		return p, formatError(format, err.Error(), r)
	}
	p.Items, p.Skipped = events, skipped
	p.Next, p.Refused = resource.NextPage(r.Header, r.URL)
	return p, nil
}

// event reads one element; it keeps none of raw. A field of another type than
// documented stays empty.
func event(raw []byte) (Event, bool) {
	if len(raw) == 0 || raw[0] != '{' {
		return Event{}, false
	}
	type account struct {
		ID    looseInt `json:"id"`
		Login string   `json:"login"`
		Name  string   `json:"name"`
	}
	var w struct {
		ID        looseText       `json:"id"`
		Type      string          `json:"type"`
		Actor     account         `json:"actor"`
		Repo      account         `json:"repo"`
		Org       account         `json:"org"`
		Public    bool            `json:"public"`
		CreatedAt looseTime       `json:"created_at"`
		Payload   json.RawMessage `json:"payload"`
	}
	if !unmarshal(raw, &w) || w.ID == "" {
		return Event{}, false
	}
	if string(w.Payload) == "null" {
		w.Payload = nil
	}
	return Event{
		ID: identity(string(w.ID)), Type: w.Type, Public: w.Public, CreatedAt: time.Time(w.CreatedAt),
		Actor: Party{int64(w.Actor.ID), w.Actor.Login}, Repo: Party{int64(w.Repo.ID), w.Repo.Name}, Org: Party{int64(w.Org.ID), w.Org.Login},
		Payload: w.Payload, Raw: bytes.Clone(raw),
	}, true
}
