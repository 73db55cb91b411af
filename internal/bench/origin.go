package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// dueHeader is how a client tells the origin for which instant a request was
// wanted, in nanoseconds since 1970. Only those send it that have a schedule which
// the origin can't know.
const dueHeader = "X-Due"

// bodySize is how long the body of a 200 is.
const bodySize = 1000

// responder answers HTTP/1.1 on a socket, with as little as can be: each
// connection has a goroutine, and an answer is one write. The URLs are /0, /1 and
// so on; none of them ever changes.
type responder struct {
	judge    *judge
	listener net.Listener
	body     []byte
	group    sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil after close
}

// respond starts a responder on a loopback address.
func respond(j *judge) (*responder, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	r := &responder{judge: j, listener: listener, conns: map[net.Conn]struct{}{}}
	r.body = append(bytes.Repeat([]byte(" "), bodySize-2), "[]"...)
	r.group.Go(r.accept)
	return r, nil
}

// close ends all connections and waits for that.
func (r *responder) close() {
	r.listener.Close()
	r.mu.Lock()
	for conn := range r.conns {
		conn.Close()
	}
	r.conns = nil
	r.mu.Unlock()
	r.group.Wait()
}

func (r *responder) accept() {
	for {
		conn, err := r.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many connections: others will end
			time.Sleep(time.Millisecond)
			continue
		}
		r.mu.Lock()
		if r.conns == nil {
			conn.Close()
		} else {
			r.conns[conn] = struct{}{}
			r.group.Go(func() { r.serve(conn) })
		}
		r.mu.Unlock()
	}
}

func (r *responder) serve(conn net.Conn) {
	defer func() {
		conn.Close()
		r.mu.Lock()
		delete(r.conns, conn)
		r.mu.Unlock()
	}()
	in := bufio.NewReader(conn)
	var a answer
	for {
		q, err := read(in)
		if err != nil {
			return // the client has gone, or talks nonsense
		}
		if q.url < 0 || q.url >= len(r.judge.urls) {
			return
		}
		now := time.Now()
		r.judge.arrive(q.url, q.due, now.UnixNano())
		text := a.write(q, r.body, now)
		now = time.Now() // before it is written, since this process may have to wait afterwards
		_, err = conn.Write(text)
		r.judge.answer(q.url, q.matches, now.UnixNano())
		if err != nil {
			return
		}
	}
}

// request is what the origin looks at of one.
type request struct {
	url     int
	due     int64
	matches bool // it has the entity tag of the URL
}

var errRequest = errors.New("not a request that this origin takes")

// read reads a request, which has no body.
func read(in *bufio.Reader) (request, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return request{}, err
	}
	path, _, ok := bytes.Cut(bytes.TrimPrefix(line, []byte("GET /")), []byte(" HTTP/1.1"))
	url, err := strconv.Atoi(string(path))
	if !ok || err != nil {
		return request{}, errRequest
	}
	q := request{url: url}
	for {
		line, err = in.ReadSlice('\n')
		if err != nil {
			return request{}, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			return q, nil
		}
		switch name, value, _ := bytes.Cut(line, []byte(": ")); {
		case bytes.EqualFold(name, []byte("If-None-Match")):
			var tag [32]byte
			q.matches = bytes.Equal(value, appendTag(tag[:0], url))
		case bytes.EqualFold(name, []byte(dueHeader)):
			if q.due, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return request{}, errRequest
			}
		}
	}
}

// appendTag appends the entity tag of a URL.
func appendTag(b []byte, url int) []byte {
	b = append(b, `"tag-`...)
	b = strconv.AppendInt(b, int64(url), 10)
	return append(b, '"')
}

// answer makes the answers of one connection.
type answer struct {
	text   []byte
	date   []byte
	second int64 // that the date is of
}

// write returns the answer to a request: 304 if it knows the tag, else a body.
func (a *answer) write(q request, body []byte, now time.Time) []byte {
	if s := now.Unix(); s != a.second {
		a.second = s
		a.date = now.UTC().AppendFormat(a.date[:0], "Mon, 02 Jan 2006 15:04:05 GMT")
	}
	b := append(a.text[:0], "HTTP/1.1 "...)
	if q.matches {
		b = append(b, "304 Not Modified\r\n"...)
	} else {
		b = append(b, "200 OK\r\nContent-Type: application/json\r\nContent-Length: "...)
		b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n"...)
	}
	b = append(append(b, "Date: "...), a.date...)
	b = appendTag(append(b, "\r\nETag: "...), q.url)
	b = append(b, "\r\n\r\n"...)
	if !q.matches {
		b = append(b, body...)
	}
	a.text = b
	return b
}
