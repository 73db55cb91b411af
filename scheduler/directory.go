package scheduler

import (
	"context"
	"fmt"
	"iter"
	"reflect"
)

// Directory finds services by alias. Each scheduler has one, and it is always
// up to date. Its methods may be called from any goroutine.
type Directory struct {
	manager *ServiceManager
	entries map[string]*entry // guarded by the manager
}

// Find returns the service that is started under alias, as a T, by the
// directory that ctx carries: that of the scheduler that ctx's run belongs to,
// then those of the schedulers around it. A service that wraps another and
// has a method Unwrap() Service is looked through. For a pool it returns one
// of its started workers.
//
// The instance found is that of the present run. One from a Factory is
// replaced at a restart, so look it up again rather than keep it; nothing keeps
// it from ending while it is used. A service that comes After the other finds
// it.
//
// Errors: ErrNoDirectory outside a run, ErrUnknown, ErrNotStarted, ErrType.
func Find[T any](ctx context.Context, alias string) (T, error) {
	var zero T
	r := runOf(ctx)
	if r == nil {
		return zero, fmt.Errorf("%w: find %q", ErrNoDirectory, alias)
	}
	m := r.worker.entry.manager
	for {
		m.mu.Lock()
		known := m.directory.entries[alias] != nil
		m.unlock()
		outer := m.outer()
		if known || outer == nil {
			return Lookup[T](m.directory, alias)
		}
		m = outer.worker.entry.manager
	}
}

// Lookup is Find by a given directory, without those around it.
func Lookup[T any](d *Directory, alias string) (T, error) {
	var zero T
	service, err := d.started(alias)
	if err != nil {
		return zero, err
	}
	for s := service; s != nil; {
		if t, ok := s.(T); ok {
			return t, nil
		}
		wrapper, ok := s.(interface{ Unwrap() Service })
		if !ok {
			break
		}
		s = wrapper.Unwrap()
	}
	return zero, fmt.Errorf("%w: %q is a %T, not a %v", ErrType, alias, service, reflect.TypeFor[T]())
}

// started returns the instance of a started run.
func (d *Directory) started(alias string) (Service, error) {
	m := d.manager
	m.mu.Lock()
	defer m.unlock()
	e, err := m.find("find", alias)
	if err != nil {
		return nil, err
	}
	for w := range e.workers() {
		if w.state == Started {
			return w.run.instance, nil
		}
	}
	return nil, fmt.Errorf("%w: %q is %v: %s", ErrNotStarted, alias, e.state(), e.reason(m.now()))
}

// Status returns a snapshot of one service, or ErrUnknown.
func (d *Directory) Status(alias string) (Status, error) { return d.manager.Status(alias) }

// All yields a snapshot of each service, in the order of their addition, as of
// the moment when the iteration begins.
func (d *Directory) All() iter.Seq[Status] {
	return func(yield func(Status) bool) {
		for _, s := range d.manager.Services() {
			if !yield(s) {
				return
			}
		}
	}
}
