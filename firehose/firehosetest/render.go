package firehosetest

import (
	"encoding/json"
	"strconv"
	"time"
)

// kindsOfEvents is how many kinds made events have.
const kindsOfEvents = 5

// kindOfEvent is one of GitHub's, with a payload of its own.
func kindOfEvent(hash uint64) (name, payload string) {
	switch hash % kindsOfEvents {
	case 0:
		return "PushEvent", `{"push_id":12345678901,"ref":"refs/heads/main","head":"9f8c1d2e3b4a5968778695a4b3c2d1e0f1a2b3c4","before":"0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"}`
	case 1:
		return "WatchEvent", `{"action":"started"}`
	case 2:
		return "CreateEvent", `{"ref":"topic","ref_type":"branch","master_branch":"main","description":null,"pusher_type":"user"}`
	case 3:
		return "IssueCommentEvent", `{"action":"created","issue":{"number":7,"title":"It stops"},"comment":{"body":"Here too, since \"1.2\"."}}`
	}
	return "ForkEvent", `{"forkee":{"id":77,"full_name":"someone/else"}}`
}

// renderer renders pages without a lock.
type renderer struct {
	oracle    *oracle
	segments  segments
	timeline  *timeline // number and seed only
	timelines int
}

func (r renderer) body(p page) []byte {
	b := make([]byte, 0, p.size*420+2)
	b = append(b, '[')
	for i := range p.size {
		if i > 0 {
			b = append(b, ',')
		}
		b = r.event(b, p.event(i))
	}
	return append(b, ']')
}

func (r renderer) event(b []byte, k int64) []byte {
	h := mix(r.timeline.seed + uint64(k))
	name, payload := kindOfEvent(h)
	actor, repo := int64(h>>8%100_000), int64(h>>32%1_000_000)
	return appendEvent(b, eventText{
		number: r.timeline.id(k, r.timelines), kind: name, payload: payload, actor: actor, repoID: repo,
		created: r.segments.wallOf(r.oracle, k, r.timeline),
	})
}

// eventText is what an event shows.
type eventText struct {
	id            string // empty: number
	number        int64
	kind, payload string // payload is JSON
	actor, repoID int64
	repo          string // empty: one of the actor's
	created       time.Time
}

func appendEvent(b []byte, e eventText) []byte {
	b = append(b, `{"id":`...)
	if e.id == "" {
		b = append(b, '"')
		b = strconv.AppendInt(b, e.number, 10)
		b = append(b, '"')
	} else {
		b = appendText(b, e.id)
	}
	b = append(b, `,"type":`...)
	b = appendText(b, e.kind)
	b = append(b, `,"actor":{"id":`...)
	b = strconv.AppendInt(b, e.actor, 10)
	b = append(b, `,"login":"user-`...)
	b = strconv.AppendInt(b, e.actor, 10)
	b = append(b, `"},"repo":{"id":`...)
	b = strconv.AppendInt(b, e.repoID, 10)
	b = append(b, `,"name":`...)
	if e.repo == "" {
		b = append(b, `"user-`...)
		b = strconv.AppendInt(b, e.actor, 10)
		b = append(b, "/repo-"...)
		b = strconv.AppendInt(b, e.repoID, 10)
		b = append(b, '"')
	} else {
		b = appendText(b, e.repo)
	}
	b = append(b, `},"payload":`...)
	b = append(b, e.payload...)
	b = append(b, `,"public":true,"created_at":"`...)
	b = e.created.AppendFormat(b, time.RFC3339)
	return append(b, `"}`...)
}

// appendText appends a JSON string.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // strings always encode
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// loginPage is what a captive portal or an expired session answers.
const loginPage = `<!DOCTYPE html>
<html><head><title>Sign in</title></head>
<body><form action="/session" method="post"><input name="login"><input name="password" type="password"></form></body></html>
`
