package resource

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

func detectDiscord(origin string, h http.Header) string {
	switch {
	case from(origin, "discord.com"), from(origin, "discordapp.com"):
		return byOrigin
	case len(h["X-Ratelimit-Bucket"]) > 0 && len(h["X-Ratelimit-Reset-After"]) > 0:
		return "X-RateLimit-Bucket with -Reset-After"
	}
	return ""
}

// readDiscord reads what Discord documents under "Rate Limits". The seconds left
// count before the instant, which has been wrong. A bucket is what the answer
// names together with the channel, guild or webhook that was asked for. A 429 of
// scope shared says what others have used up, and its numbers are not ours.
func readDiscord(a *Answer, l *Lesson) {
	h := a.Header
	if bucket := first(h, "X-Ratelimit-Bucket"); bucket != "" {
		l.name(bucket + topLevel(a.Path))
	}
	scope := first(h, "X-Ratelimit-Scope")
	limit, ok1 := count(h, "X-Ratelimit-Limit")
	remaining, ok2 := count(h, "X-Ratelimit-Remaining")
	if ok1 && ok2 && !strings.EqualFold(scope, "shared") {
		if wait, ok := a.Seconds("X-Ratelimit-Reset-After"); ok {
			l.QuotaFor(a, limit, remaining, wait)
		} else if t, ok := a.Unix("X-Ratelimit-Reset"); ok {
			l.QuotaUntil(a, limit, remaining, t)
		}
	}
	if a.Status == http.StatusTooManyRequests {
		readDiscordRejection(a, l, strings.ToLower(scope))
		return
	}
	l.Reject(a)
}

func readDiscordRejection(a *Answer, l *Lesson, scope string) {
	var body struct {
		RetryAfter json.Number `json:"retry_after"`
		Global     bool        `json:"global"`
	}
	if json.Unmarshal(a.Excerpt, &body) != nil {
		body.RetryAfter, body.Global = "", false
	}
	global := body.Global || scope == "global" || strings.EqualFold(first(a.Header, "X-Ratelimit-Global"), "true")
	switch {
	case global:
		l.Refuse(a, OverloadLimit, true, "status 429, global")
	case scope == "shared":
		l.Refuse(a, OverloadLimit, false, "status 429, scope shared")
	case scope == "user" || l.HasQuota:
		l.Refuse(a, PrimaryLimit, false, "status 429, of this bucket")
	default: // no word of the API behind: its CDN has refused the address
		l.Refuse(a, OverloadLimit, true, "status 429")
	}
	if n, ok := roundedUp(string(body.RetryAfter)); ok {
		l.later(a.Received.Add(seconds(n)), "retry_after")
	}
	if l.HasQuota && l.Remaining == 0 && !global {
		l.later(l.Reset.Add(AfterReset), "reset")
	}
}

// later lengthens the wait of a rejection, as what says so.
func (l *Lesson) later(until time.Time, what string) {
	if until.After(l.Until) {
		l.Until, l.Fallback = until, false
		l.Evidence += ", " + what
	}
}

// topLevel names the channel, guild or webhook in a path of Discord's, and never
// the token behind a webhook.
func topLevel(path string) string {
	kind := ""
	for part := range strings.SplitSeq(path, "/") {
		if _, isID := roundedUp(part); isID && kind != "" {
			return ":" + kind + "/" + part
		}
		kind = ""
		if part == "channels" || part == "guilds" || part == "webhooks" {
			kind = part
		}
	}
	return ""
}
