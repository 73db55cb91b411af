package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cannedos/cannedos/scheduler"
)

// Two services of which one comes after the other. The second finds the first
// in the directory, and ends the scheduler with its error.
func Example() {
	s, err := scheduler.New(scheduler.Config{Services: []scheduler.Spec{
		{Alias: "greeter", Service: greeter("hello")},
		{Alias: "main", After: []string{"greeter"}, ExitOnError: true, Service: scheduler.Func(func(ctx context.Context) error {
			g, err := scheduler.Find[greeter](ctx, "greeter")
			if err != nil {
				return err
			}
			fmt.Println(string(g), "from main")
			return errors.New("all said")
		})},
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	fmt.Println(s.Serve(context.Background()))
	// Output:
	// hello from main
	// scheduler: os/scheduler/main ended the scheduler: all said
}

type greeter string

func (greeter) Serve(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// A service takes nothing new once ctx has ended, and finishes what it has
// under Work.
func ExampleWork() {
	ctx, stop := context.WithCancel(context.Background())
	s, err := scheduler.New(scheduler.Config{Services: []scheduler.Spec{
		{Alias: "worker", StopTimeout: time.Minute, Service: scheduler.Func(func(ctx context.Context) error {
			scheduler.Ready(ctx)
			work := scheduler.Work(ctx)
			for {
				select {
				case <-ctx.Done():
					fmt.Println("nothing new:", context.Cause(ctx))
					fmt.Println("may finish:", work.Err() == nil)
					return nil
				case <-time.After(0):
					stop() // some work that happens to end the program
				}
			}
		})},
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	fmt.Println(s.Serve(ctx))
	// Output:
	// nothing new: scheduler: stop asked
	// may finish: true
	// <nil>
}
