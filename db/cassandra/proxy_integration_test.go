//go:build integration

package cassandra_test

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy passes connections on to a node, and can do to them what networks do.
type proxy struct {
	listener net.Listener
	node     string
	refuses  atomic.Bool

	mu    sync.Mutex
	links map[*link]struct{}
	wg    sync.WaitGroup
}

// link is one connection from a client to the node.
type link struct {
	client, node net.Conn
	// What was muted is swallowed; it stays so until the link is cut, since
	// neither side could make sense of the rest.
	requestsMuted, answersMuted atomic.Bool
}

func startProxy(t testing.TB, node string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: l, node: node, links: make(map[*link]struct{})}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		node, err := net.Dial("tcp", p.node)
		if err != nil || p.refuses.Load() {
			_ = c.Close()
			if err == nil {
				_ = node.Close()
			}
			continue
		}
		l := &link{client: c, node: node}
		p.mu.Lock()
		p.links[l] = struct{}{}
		p.mu.Unlock()
		p.wg.Go(func() { p.pass(l, l.client, l.node, &l.requestsMuted) })
		p.wg.Go(func() { p.pass(l, l.node, l.client, &l.answersMuted) })
	}
}

// pass copies one direction until either side ends.
func (p *proxy) pass(l *link, from, to net.Conn, muted *atomic.Bool) {
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

func (p *proxy) end(l *link) {
	_ = l.client.Close()
	_ = l.node.Close()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// each does something to all links that there are.
func (p *proxy) each(do func(*link)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		do(l)
	}
}

// cut ends all connections, in the middle of whatever they do.
func (p *proxy) cut() {
	p.each(func(l *link) {
		_ = l.client.Close()
		_ = l.node.Close()
	})
}

// muteRequests leaves connections open, but nothing arrives at the node.
func (p *proxy) muteRequests() { p.each(func(l *link) { l.requestsMuted.Store(true) }) }

// muteAnswers leaves connections open, but nothing comes back from the node.
func (p *proxy) muteAnswers() { p.each(func(l *link) { l.answersMuted.Store(true) }) }
