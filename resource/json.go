package resource

import (
	"encoding/json"
	"time"
)

// resourceJSON is the form of a Resource for people: durations as Go writes
// them, instants in RFC 3339 and UTC, zero values left out.
type resourceJSON struct {
	specJSON
	Version      int64      `json:"version,omitempty"`
	Credential   string     `json:"credential,omitempty"`
	Origin       string     `json:"origin,omitempty"`
	Bucket       string     `json:"bucket,omitempty"`
	State        State      `json:"state"`
	Why          string     `json:"why,omitempty"`
	Rule         string     `json:"rule,omitempty"`
	WhyCode      Reason     `json:"why_code,omitempty"`
	Cause        string     `json:"cause,omitempty"`
	Owner        Owner      `json:"owner,omitzero"`
	Claimed      time.Time  `json:"claimed,omitzero"`
	ClaimUntil   time.Time  `json:"claim_until,omitzero"`
	Asked        time.Time  `json:"asked,omitzero"`
	Answered     time.Time  `json:"answered,omitzero"`
	Changed      time.Time  `json:"changed,omitzero"`
	NotBefore    time.Time  `json:"not_before,omitzero"`
	PollInterval string     `json:"poll_interval,omitempty"`
	Hint         Hint       `json:"hint,omitzero"`
	Validators   Validators `json:"validators,omitzero"`
	Digest       uint64     `json:"digest,omitempty,string"`
	Polls        uint32     `json:"polls,omitempty"`
	Modified     uint32     `json:"modified,omitempty"`
	Failures     uint16     `json:"failures,omitempty"`
	Quiet        uint32     `json:"quiet,omitempty"`
	Hop          string     `json:"hop,omitempty"`
	Moved        string     `json:"moved,omitempty"`
	Seen         uint8      `json:"seen,omitempty"`
	Gones        uint8      `json:"gones,omitempty"`
	Hops         uint8      `json:"hops,omitempty"`
	Variant      uint64     `json:"variant,omitempty,string"`
	Hushed       bool       `json:"hushed,omitempty"`
	Lull         uint32     `json:"lull,omitempty"`
}

// MarshalJSON returns the form for people. It holds no secret.
func (r Resource) MarshalJSON() ([]byte, error) {
	return json.Marshal(resourceJSON{
		specJSON: r.Spec.json(), Version: r.Version,
		Credential: r.Credential, Origin: r.Origin, Bucket: r.Bucket,
		State: r.State, Why: whyText(r.Why), Rule: r.Why.Key(), WhyCode: r.Why, Cause: r.Cause,
		Owner: r.Owner, Claimed: utc(r.Claimed), ClaimUntil: utc(r.ClaimUntil),
		Asked: utc(r.Asked), Answered: utc(r.Answered), Changed: utc(r.Changed), NotBefore: utc(r.NotBefore),
		PollInterval: durationText(r.PollInterval), Hint: r.Hint, Validators: r.Validators, Digest: r.Digest,
		Polls: r.Polls, Modified: r.Modified, Failures: r.Failures, Quiet: r.Quiet,
		Hop: r.Hop, Moved: r.Moved, Seen: r.Seen, Gones: r.Gones,
		Hops: r.Hops, Variant: r.Variant, Hushed: r.Hushed, Lull: r.Lull,
	})
}

// UnmarshalJSON reads what MarshalJSON wrote. The instants have no monotonic
// reading: call [Resource.Rebase]. A bad duration or reason gives a [*FieldError].
func (r *Resource) UnmarshalJSON(b []byte) error {
	var j resourceJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	spec, err := j.spec()
	if err != nil {
		return err
	}
	poll, err := durationValue("poll_interval", j.PollInterval)
	if err != nil {
		return err
	}
	if j.WhyCode >= reasons {
		return &FieldError{"why_code", j.WhyCode.String(), "the number of a reason"}
	}
	*r = Resource{
		Spec: spec, Version: j.Version, Credential: j.Credential, Origin: j.Origin, Bucket: j.Bucket,
		State: j.State, Why: j.WhyCode, Cause: j.Cause, Owner: j.Owner, Claimed: j.Claimed, ClaimUntil: j.ClaimUntil,
		Asked: j.Asked, Answered: j.Answered, Changed: j.Changed, NotBefore: j.NotBefore,
		PollInterval: poll, Hint: j.Hint, Validators: j.Validators, Digest: j.Digest,
		Polls: j.Polls, Modified: j.Modified, Failures: j.Failures, Quiet: j.Quiet,
		Hop: j.Hop, Moved: j.Moved, Seen: j.Seen, Gones: j.Gones,
		Hops: j.Hops, Variant: j.Variant, Hushed: j.Hushed, Lull: j.Lull,
	}
	return nil
}

// specJSON is the form of a Spec for people. It has no methods, so that another
// form can embed it: a type that embeds Spec itself would inherit MarshalJSON
// and lose its own fields.
type specJSON struct {
	ID        ID     `json:"id,omitzero"`
	URI       string `json:"uri"`
	Interval  string `json:"interval,omitempty"`
	Profile   string `json:"profile,omitempty"`
	MediaType string `json:"media_type,omitempty"`
	Priority  int8   `json:"priority,omitempty"`
}

func (s *Spec) json() specJSON {
	return specJSON{s.ID, s.URI, durationText(s.Interval), s.Profile, s.MediaType, s.Priority}
}

func (j *specJSON) spec() (Spec, error) {
	interval, err := durationValue("interval", j.Interval)
	return Spec{ID: j.ID, URI: j.URI, Interval: interval, Profile: j.Profile, MediaType: j.MediaType, Priority: j.Priority}, err
}

// MarshalJSON returns the form for people, with the interval as in "1m30s".
func (s Spec) MarshalJSON() ([]byte, error) { return json.Marshal(s.json()) }

// UnmarshalJSON reads what MarshalJSON wrote. A bad interval or ID gives a
// [*FieldError]; the rest is checked by [Spec.Validate]. Unknown names are
// ignored, as encoding/json does.
func (s *Spec) UnmarshalJSON(b []byte) error {
	var j specJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	spec, err := j.spec()
	if err == nil {
		*s = spec
	}
	return err
}

type limitJSON struct {
	Requests int    `json:"requests"`
	Per      string `json:"per"`
}

// MarshalJSON returns the form for people, as in {"requests":100,"per":"1m0s"}.
func (l Limit) MarshalJSON() ([]byte, error) {
	return json.Marshal(limitJSON{l.Requests, l.Per.String()})
}

// UnmarshalJSON reads what MarshalJSON wrote. A bad duration gives a
// [*FieldError]; the rest is checked by [Profile.Validate].
func (l *Limit) UnmarshalJSON(b []byte) error {
	var j limitJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	per, err := durationValue("per", j.Per)
	if err == nil {
		*l = Limit{j.Requests, per}
	}
	return err
}

type explanationJSON struct {
	ID      ID        `json:"id"`
	URI     string    `json:"uri"`
	State   State     `json:"state"`
	Kind    Kind      `json:"kind"`
	Until   time.Time `json:"until,omitzero"`
	Wait    string    `json:"wait,omitempty"`
	Why     string    `json:"why,omitempty"`
	Rule    string    `json:"rule,omitempty"`
	WhyCode Reason    `json:"why_code,omitempty"`
	Bucket  string    `json:"bucket,omitempty"`
	Owner   Owner     `json:"owner,omitzero"`
	Cause   string    `json:"cause,omitempty"`
}

// MarshalJSON returns the form for people. It holds no secret.
func (e Explanation) MarshalJSON() ([]byte, error) {
	return json.Marshal(explanationJSON{
		ID: e.ID, URI: e.URI, State: e.State, Kind: e.Kind, Until: utc(e.Until), Wait: durationText(e.Wait),
		Why: whyText(e.Why), Rule: e.Rule, WhyCode: e.Why, Bucket: e.Bucket, Owner: e.Owner, Cause: e.Cause,
	})
}

// UnmarshalJSON reads what MarshalJSON wrote. A bad duration or reason gives a
// [*FieldError].
func (e *Explanation) UnmarshalJSON(b []byte) error {
	var j explanationJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	wait, err := durationValue("wait", j.Wait)
	if err != nil {
		return err
	}
	if j.WhyCode >= reasons {
		return &FieldError{"why_code", j.WhyCode.String(), "the number of a reason"}
	}
	*e = Explanation{
		ID: j.ID, URI: j.URI, State: j.State, Kind: j.Kind, Until: j.Until, Wait: wait,
		Why: j.WhyCode, Rule: j.Rule, Bucket: j.Bucket, Owner: j.Owner, Cause: j.Cause,
	}
	return nil
}

func whyText(r Reason) string {
	if r == ReasonNone {
		return ""
	}
	return r.String()
}

func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

func durationValue(field, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, &FieldError{field, clip(text), "a duration of 0 or more, such as 1m30s"}
	}
	return d, nil
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.Round(0).UTC()
}
