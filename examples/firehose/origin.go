package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/cannedos/cannedos/firehose/firehosetest"
)

// origin is the embedded one: ten timelines that may be polled each second,
// on a loopback socket.
type origin struct {
	*firehosetest.Origin
	server *http.Server
	served chan error
	urls   []string
}

func startOrigin() (*origin, error) {
	fake, err := firehosetest.New(firehosetest.Config{Timelines: 10, Rate: 0.5, PollInterval: time.Second})
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start origin: %w", err)
	}
	o := &origin{
		Origin: fake, served: make(chan error, 1),
		server: &http.Server{Handler: fake, ReadHeaderTimeout: 5 * time.Second},
	}
	for _, path := range fake.Paths() {
		o.urls = append(o.urls, "http://"+listener.Addr().String()+path)
	}
	go func() { o.served <- o.server.Serve(listener) }()
	return o, nil
}

// close stops the origin and waits until it has.
func (o *origin) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := o.server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		o.server.Close()
	}
	<-o.served
}

// judge adds what the oracle knows to the summary: it, and not the canned OS,
// has the last word on what was polled.
func (o *origin) judge(s *summary) {
	v := o.Verdict()
	s.Polls, s.Permitted = v.Polls, new(v.Permitted)
	s.Modified, s.NotModified, s.Items = v.Modified, v.NotModified, v.Items
	s.Impolite, s.Unknowable = new(v.Impolite), new(v.Unknowable)
	s.Lost += int(v.LostItems)
	s.LateP99 = v.LateP99
}
