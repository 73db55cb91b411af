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

// interval is how often the embedded origin may be polled.
const interval = time.Second

// origin is the embedded one, on a loopback socket.
type origin struct {
	*firehosetest.Origin
	server *http.Server
	served chan error
	url    string
}

// startOrigin shows a made stream of so many times GitHub's rate of 2015.
func startOrigin(times int) (*origin, error) {
	stream := firehosetest.Overlay(firehosetest.MadeArrivals(1, 10*time.Minute), times)
	fake, err := firehosetest.New(firehosetest.Config{Replay: stream, ReplayFrom: 3 * time.Minute, PollInterval: interval})
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start origin: %w", err)
	}
	o := &origin{
		Origin: fake, served: make(chan error, 1), url: "http://" + listener.Addr().String() + "/events?per_page=100",
		server: &http.Server{Handler: fake, ReadHeaderTimeout: 5 * time.Second},
	}
	go func() { o.served <- o.server.Serve(listener) }() // close waits for it
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
