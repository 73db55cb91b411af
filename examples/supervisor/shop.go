package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/cannedos/cannedos/scheduler"
)

// shop is what the services work on.
type shop struct {
	listen  string
	store   *store
	intake  *intake
	orders  chan int
	printed atomic.Int64
	reports atomic.Int64
}

func newShop(listen string) *shop {
	orders := make(chan int, 64)
	return &shop{listen: listen, store: &store{}, intake: &intake{orders: orders}, orders: orders}
}

// services are what the supervisor runs, in any order.
func (s *shop) services() []scheduler.Spec {
	return []scheduler.Spec{
		{Alias: "store", Service: s.store, StartTimeout: time.Second},
		{Alias: "intake", Service: s.intake, After: []string{"store"}, GoodRun: time.Second / 2},
		{
			Alias: "printer", After: []string{"store"},
			Pool: 2, Factory: func() scheduler.Service { return &printer{shop: s, closing: make(chan struct{})} },
			Bounds: scheduler.Bounds{Window: time.Second, P99: 500 * time.Millisecond},
		},
		{
			Alias: "web", Service: scheduler.Func(s.web), After: []string{"intake", "printer"},
			StartTimeout: time.Second, RollBack: true, // without an address there is no shop
			Meta: map[string]string{"endpoint": "/healthz"},
		},
		{
			Alias: "report", Service: scheduler.Func(s.report),
			Schedule: &scheduler.Schedule{Cron: "* * * * * *"}, // with seconds in front: each second
		},
	}
}

// figures are what the program prints at its end.
type figures struct {
	Orders   uint64 `json:"orders"`
	Printed  int64  `json:"printed"`
	Crashes  uint64 `json:"crashes"`
	Restored uint64 `json:"restored"` // orders known to the store when it started
	Reports  int64  `json:"reports"`
	Workers  int    `json:"workers"`
}

func (s *shop) figures(os *scheduler.Scheduler) figures {
	f := figures{
		Orders: s.store.orders.Load(), Restored: s.store.restored.Load(),
		Printed: s.printed.Load(), Reports: s.reports.Load(),
	}
	if status, err := os.Status("intake"); err == nil {
		f.Crashes = status.Failures
	}
	if status, err := os.Status("printer"); err == nil {
		f.Workers = status.Workers
	}
	return f
}

// store counts the orders. It takes a moment to open, which is why it says when
// it is ready, and its count outlives it.
type store struct{ orders, restored atomic.Uint64 }

func (s *store) Serve(ctx context.Context) error {
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
		return nil
	}
	scheduler.Ready(ctx)
	<-ctx.Done()
	return nil
}

// SaveState is asked for now and then, and before a stop.
func (s *store) SaveState(context.Context) ([]byte, error) {
	return binary.BigEndian.AppendUint64(nil, s.orders.Load()), nil
}

// RestoreState is called before Serve, if there is a state.
func (s *store) RestoreState(_ context.Context, state []byte) error {
	if len(state) != 8 {
		return errors.New("store: the state is not of 8 bytes")
	}
	s.restored.Store(binary.BigEndian.Uint64(state))
	s.orders.Store(binary.BigEndian.Uint64(state))
	return nil
}

// intake takes an order now and then, and panics at each fortieth.
type intake struct {
	orders chan<- int
	taken  int
}

func (i *intake) Serve(ctx context.Context) error {
	store, err := scheduler.Find[*store](ctx, "store")
	if err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		i.taken++
		if i.taken%40 == 0 {
			panic("paper jam")
		}
		select {
		case i.orders <- i.taken:
			store.orders.Add(1)
		case <-ctx.Done():
			return nil
		}
	}
}

// printer is one worker of the pool.
type printer struct {
	shop    *shop
	closing chan struct{}
}

func (p *printer) Serve(ctx context.Context) error {
	meter := scheduler.MeterOf(ctx)
	for {
		select {
		case <-p.shop.orders:
			operation := meter.Begin()
			p.print(scheduler.Work(ctx)) // what is begun is finished, even if a stop is asked
			operation.End(nil)
		case <-p.closing:
			if len(p.shop.orders) == 0 {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (p *printer) print(ctx context.Context) {
	select {
	case <-time.After(10 * time.Millisecond):
		p.shop.printed.Add(1)
	case <-ctx.Done():
	}
}

// Drain lets Serve return as soon as no order waits.
func (p *printer) Drain(ctx context.Context) error {
	close(p.closing)
	<-ctx.Done() // ends when Serve has returned
	return nil
}

// report is run by the schedule, once a second.
func (s *shop) report(ctx context.Context) error {
	s.reports.Add(1)
	scheduler.Logger(ctx).Info("report", "orders", s.store.orders.Load(), "printed", s.printed.Load())
	return nil
}

// web serves the health of all services.
func (s *shop) web(ctx context.Context) error {
	manager, _ := scheduler.ManagerOf(ctx)
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		health := manager.Health()
		w.Header().Set("Content-Type", "application/json")
		if !health.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(health)
	})
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	scheduler.Logger(ctx).Info("health is served", "url", "http://"+listener.Addr().String()+"/healthz")
	scheduler.Ready(ctx)
	stop := context.AfterFunc(ctx, func() { _ = server.Shutdown(scheduler.Work(ctx)) })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
