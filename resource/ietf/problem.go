package ietf

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/cannedos/cannedos/resource"
)

// problemKind is one of the problem types of the draft's section on them.
type problemKind uint8

const (
	noProblem problemKind = iota
	quotaExceeded
	reducedCapacity
	abnormalUsage
)

// problem is what the body of a rejection says, where it is of RFC 9457.
type problem struct {
	kind     problemKind
	violated []string // names of policies, at most resource.MaxAlso
}

func (p problem) names(policy string) bool { return slices.Contains(p.violated, policy) }

// parseProblem reads the beginning of a body of application/problem+json. One
// that was cut off, or is something else, is no problem: then the numbers say what
// was exceeded.
func parseProblem(a *resource.Answer) (p problem) {
	types := a.Header["Content-Type"]
	if len(types) == 0 || !strings.Contains(strings.ToLower(types[0]), "application/problem+json") {
		return p
	}
	var body struct {
		Type     string   `json:"type"`
		Violated []string `json:"violated-policies"`
	}
	if json.Unmarshal(a.Excerpt, &body) != nil {
		return p
	}
	switch strings.TrimPrefix(body.Type, "https://iana.org/assignments/http-problem-types") {
	case "#quota-exceeded":
		p.kind = quotaExceeded
	case "#temporary-reduced-capacity":
		p.kind = reducedCapacity
	case "#abnormal-usage-detected":
		p.kind = abnormalUsage
	default:
		return p
	}
	p.violated = body.Violated[:min(len(body.Violated), resource.MaxAlso)]
	return p
}
