package ietf_test

import (
	"fmt"
	"net/http"
	"time"

	"github.com/cannedos/cannedos/resource"
	"github.com/cannedos/cannedos/resource/ietf"
)

func ExampleDialect() {
	parser := resource.Parser{Dialects: append([]resource.Dialect{ietf.Dialect()}, resource.Dialects()...)}
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	lesson := parser.Lesson(&resource.Answer{
		Origin: "https://api.example.com", Status: http.StatusOK, Received: now,
		Header: http.Header{
			"Ratelimit-Policy": {`"burst";q=100;w=60, "daily";q=1000;w=86400`},
			"Ratelimit":        {`"burst";r=50;t=30, "daily";r=400;t=7200`},
		},
	})
	fmt.Printf("%s, known by %s\n", lesson.Dialect, lesson.Because)
	fmt.Printf("%s: %d of %d for %v\n", lesson.Bucket, lesson.Remaining, lesson.Limit, lesson.Reset.Sub(now))
	for _, q := range lesson.Also {
		fmt.Printf("%s: %d of %d for %v\n", q.Bucket, q.Remaining, q.Limit, q.Reset.Sub(now))
	}
	// Output:
	// ietf, known by RateLimit
	// burst: 50 of 100 for 30s
	// daily: 400 of 1000 for 2h0m0s
}
