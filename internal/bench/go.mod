module github.com/cannedos/cannedos/internal/bench

go 1.26.0

require (
	github.com/cannedos/cannedos v0.1.0
	github.com/grafana/dskit v0.0.0-20260703122047-de1ec7541c44
	github.com/oklog/run v1.2.0
	github.com/thejerf/suture/v4 v4.0.6
)

require (
	github.com/netresearch/go-cron v0.9.1 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	go.uber.org/atomic v1.11.0 // indirect
)

replace github.com/cannedos/cannedos => ../..
