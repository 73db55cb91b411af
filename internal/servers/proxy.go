package servers

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// A Proxy passes connections on to a server, and can do to them what networks
// do. It is safe for concurrent use.
type Proxy struct {
	listener net.Listener
	server   string
	refuses  atomic.Bool

	mu     sync.Mutex
	links  map[*link]struct{}
	closed bool
	wg     sync.WaitGroup
}

// link is one connection from a client to the server.
type link struct {
	client, server net.Conn
	// What was muted is swallowed; it stays so until the link is cut, since
	// neither side could make sense of the rest.
	requestsMuted, answersMuted atomic.Bool
}

// StartProxy listens at a port of the loopback for connections to a server,
// given as host:port. Close it in the end.
func StartProxy(server string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("servers: listen for %s: %w", server, err)
	}
	p := &Proxy{listener: l, server: server, links: make(map[*link]struct{})}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where clients connect to, as host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close ends all connections, and takes no more.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true // what is being connected comes too late
	p.mu.Unlock()
	p.Cut()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = c.Close()
			continue
		}
		l := &link{client: c, server: server}
		if p.refuses.Load() || !p.add(l) {
			l.close()
			continue
		}
		p.wg.Go(func() { p.pass(l, l.client, l.server, &l.requestsMuted) })
		p.wg.Go(func() { p.pass(l, l.server, l.client, &l.answersMuted) })
	}
}

// add notes a link, unless the proxy has been closed.
func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.links[l] = struct{}{}
	}
	return !p.closed
}

func (l *link) close() {
	_ = l.client.Close()
	_ = l.server.Close()
}

// pass copies one direction until either side ends.
func (p *Proxy) pass(l *link, from, to net.Conn, muted *atomic.Bool) {
	defer p.end(l)
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if muted.Load() {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (p *Proxy) end(l *link) {
	l.close()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// each does something to all links that there are.
func (p *Proxy) each(do func(*link)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		do(l)
	}
}

// Refuse makes the proxy close new connections at once, or not any more.
func (p *Proxy) Refuse(refuse bool) { p.refuses.Store(refuse) }

// Cut ends all connections, in the middle of whatever they do.
func (p *Proxy) Cut() {
	p.each((*link).close)
}

// MuteRequests leaves connections open, but nothing arrives at the server.
func (p *Proxy) MuteRequests() { p.each(func(l *link) { l.requestsMuted.Store(true) }) }

// MuteAnswers leaves connections open, but nothing comes back from the server.
func (p *Proxy) MuteAnswers() { p.each(func(l *link) { l.answersMuted.Store(true) }) }
