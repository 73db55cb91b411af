package scheduler

import (
	"fmt"
	"maps"
)

// Proxy is the one handle of a registered service: whoever asks for it gets
// the same pointer, from Add until Remove, through all restarts. It stands for
// the registration, not for the alias: once the service was removed, Status
// and Service answer ErrUnknown for ever, also if a new service took the
// alias; Alias, Path and Meta go on to say what they said.
//
// Its methods may be called from any goroutine. It must not be copied: it is
// the registration itself, which is why it costs nothing. Rejected: an object
// of its own beside each registration, 8 to 16 bytes for every service of
// every program, most of which nobody asks for. It neither starts nor stops
// the service; the [ServiceManager] does, by alias.
type Proxy entry

// Alias returns the alias.
func (p *Proxy) Alias() string { return p.alias }

// Path returns the lineage, for example os/scheduler/analyzer. It changes only
// if the scheduler is served inside of another one.
func (p *Proxy) Path() string { return p.manager.lineage() + "/" + p.alias }

// String returns the path, and keeps fmt from reading what changes.
func (p *Proxy) String() string { return p.Path() }

// Meta returns a copy of the Spec's Meta, which doesn't change. Nil: none.
func (p *Proxy) Meta() map[string]string { return maps.Clone(p.options.meta) }

// Status returns a snapshot of the service, or ErrUnknown once it was removed.
func (p *Proxy) Status() (Status, error) {
	m, e := p.manager, (*entry)(p)
	m.mu.Lock()
	defer m.unlock()
	if e.gone {
		return Status{}, p.unknown()
	}
	return e.status(m.now()), nil
}

// Service returns the instance of the present run, of a pool that of one
// started worker. What [Find] says of instances applies.
//
// Errors: ErrNotStarted, which says what is waited for; ErrUnknown once the
// service was removed.
func (p *Proxy) Service() (Service, error) {
	m, e := p.manager, (*entry)(p)
	m.mu.Lock()
	defer m.unlock()
	if e.gone {
		return nil, p.unknown()
	}
	return e.present()
}

func (p *Proxy) unknown() error { return fmt.Errorf("%w: %q was removed", ErrUnknown, p.alias) }
