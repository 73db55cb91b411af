package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
)

// Directory finds services by alias or by type, and shows them: each has one
// [Proxy], a [Status], and events that can be watched. Each scheduler has one
// directory, and it is always up to date. Its methods may be called from any
// goroutine, before, during and after Serve.
type Directory struct {
	manager *ServiceManager
	entries map[string]*entry // guarded by the manager
}

// DirectoryOf returns the directory of the scheduler that ctx's run belongs
// to. It is false outside a run.
func DirectoryOf(ctx context.Context) (*Directory, bool) {
	m, ok := ManagerOf(ctx)
	if !ok {
		return nil, false
	}
	return m.directory, true
}

// ErrAmbiguous: more than one started service is of the type asked for; the
// error is an [*AmbiguousError].
var ErrAmbiguous = errors.New("scheduler: several services are of the type")

// AmbiguousError is ErrAmbiguous with what there is to choose from. Ask for one
// of them by its alias, or for a type that only one of them has.
type AmbiguousError struct {
	Type  reflect.Type // that was asked for
	Paths []string     // of the started services that have it, in the order of their addition; at least two
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%v: %v: %s", ErrAmbiguous, e.Type, listed(e.Paths))
}

// Is makes errors.Is find ErrAmbiguous.
func (e *AmbiguousError) Is(target error) bool { return target == ErrAmbiguous }

// listed joins names for an error text, which is bounded.
func listed(names []string) string {
	if len(names) <= named {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s, and %d more", strings.Join(names[:named], ", "), len(names)-named)
}

// Find returns the service that is started under alias, as a T, by the
// directory that ctx carries: that of the scheduler that ctx's run belongs to,
// then those of the schedulers around it. A service that wraps another and
// has a method Unwrap() Service is looked through, up to 32 wrappers deep. For
// a pool it returns one of its started workers.
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

// FindType returns the one service that is started and is a T, wrappers looked
// through, by the directory that ctx carries: it asks that of the scheduler
// that ctx's run belongs to, and goes on to the scheduler around it only if
// no service there is known to be a T. What [Find] says of the instance applies.
//
// What is not started doesn't count, so that one of several may stand by for
// the other; where that isn't meant, ask by alias. What a Factory makes is
// known once it has made one. It takes time in proportion to the number of
// services: find once a run, not once an operation.
//
// Errors: ErrNoDirectory outside a run; ErrUnknown if no service is known to be
// a T; ErrNotStarted if none of those that are is started; *AmbiguousError
// (ErrAmbiguous) if several are.
func FindType[T any](ctx context.Context) (T, error) {
	var zero T
	r := runOf(ctx)
	if r == nil {
		return zero, fmt.Errorf("%w: find a %v", ErrNoDirectory, reflect.TypeFor[T]())
	}
	m := r.worker.entry.manager
	for {
		t, known, err := lookupType[T](m.directory)
		outer := m.outer()
		if known || outer == nil {
			return t, err
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
	if t, ok := power[T](service); ok {
		return t, nil
	}
	return zero, fmt.Errorf("%w: %q is a %T, not a %v", ErrType, alias, service, reflect.TypeFor[T]())
}

// LookupType is FindType by a given directory, without those around it.
func LookupType[T any](d *Directory) (T, error) {
	t, _, err := lookupType[T](d)
	return t, err
}

// LookupAll yields each service that is started and is a T, wrappers looked
// through, once, in the order of their addition, as of the moment when the
// iteration begins. A pool is one service, of which it yields one started
// worker.
func LookupAll[T any](d *Directory) iter.Seq2[*Proxy, T] {
	return func(yield func(*Proxy, T) bool) {
		for _, c := range d.candidates() {
			if !c.started {
				continue
			}
			if t, ok := power[T](c.service); ok && !yield((*Proxy)(c.entry), t) {
				return
			}
		}
	}
}

// lookupType also reports whether some service is known to be a T, which
// settles that it is this directory that answers.
func lookupType[T any](d *Directory) (found T, known bool, err error) {
	var zero T
	var started, others []string
	unknown := 0
	for _, c := range d.candidates() {
		t, ok := power[T](c.service) // foreign code, under no lock
		switch {
		case c.service == nil:
			unknown++
		case ok && c.started:
			started = append(started, c.path())
			found = t
		case ok:
			others = append(others, c.path())
		}
	}
	asked := reflect.TypeFor[T]()
	switch {
	case len(started) == 1:
		return found, true, nil
	case len(started) > 1:
		return zero, true, &AmbiguousError{Type: asked, Paths: started}
	case len(others) > 0:
		return zero, true, fmt.Errorf("%w: of type %v: %s", ErrNotStarted, asked, listed(others))
	case unknown > 0:
		return zero, false, fmt.Errorf("%w: no service is a %v, as far as known: %d have never run", ErrUnknown, asked, unknown)
	}
	return zero, false, fmt.Errorf("%w: no service is a %v", ErrUnknown, asked)
}

// candidate is a service whose type is looked at.
type candidate struct {
	entry   *entry
	root    string
	service Service // nil: of a Factory that has made none
	started bool
}

func (c candidate) path() string { return c.root + "/" + c.entry.alias }

// candidates lists all services in the order of their addition.
func (d *Directory) candidates() []candidate {
	m := d.manager
	m.mu.Lock()
	all := make([]candidate, 0, len(d.entries))
	for _, e := range d.entries {
		service, started := e.instance()
		all = append(all, candidate{entry: e, root: m.root, service: service, started: started})
	}
	m.unlock()
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Compare(a.entry.serial, b.entry.serial) })
	return all
}

// instance returns the instance of a started run, or, if there is none, one
// that tells what the service is: that of the Spec, or one of an earlier run.
// The caller holds the manager's lock.
func (e *entry) instance() (service Service, started bool) {
	service = e.service
	for w := range e.workers() {
		if w.run == nil || !w.run.entered {
			continue
		}
		if w.state == Started {
			return w.run.served(), true
		}
		service = w.run.served()
	}
	return service, false
}

// present is instance for those who can use a started one only. The caller
// holds the manager's lock.
func (e *entry) present() (Service, error) {
	if service, started := e.instance(); started {
		return service, nil
	}
	return nil, fmt.Errorf("%w: %q is %v: %s", ErrNotStarted, e.alias, e.state(), e.reason(e.manager.now()))
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
	return e.present()
}

// Proxy returns the handle of the service that is registered under alias, in
// whatever state it is, or ErrUnknown.
func (d *Directory) Proxy(alias string) (*Proxy, error) {
	m := d.manager
	m.mu.Lock()
	defer m.unlock()
	e, err := m.find("proxy of", alias)
	return (*Proxy)(e), err
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
