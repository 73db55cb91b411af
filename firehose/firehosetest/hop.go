package firehosetest

import (
	"net/url"
	"strconv"
)

// A redirect announces a hop: the next request for its target belongs to the
// request that was redirected. Such a request may come without validators or
// with those of the redirected resource (RFC 9110, 15.4), and does not make
// its target a resource that is polled.

// hopKey is the target of a redirect.
type hopKey struct {
	origin string
	key    resourceKey
}

// hop is what is announced for a target.
type hop struct {
	from  *resource // redirected most recently; the first of a chain
	count int
}

// mostHops bounds the announcements that nobody followed.
const mostHops = 1024

// announce expects a hop to where an answer redirects.
func (o *oracle) announce(f *flight, l *lesson) {
	if l.target == nil {
		return
	}
	if len(o.hops) >= mostHops {
		clear(o.hops)
	}
	k := hopKey{l.away, *l.target}
	h := o.hops[k]
	if h == nil {
		h = &hop{}
		o.hops[k] = h
	}
	h.count++
	if h.from = f.from; h.from == nil {
		h.from = f.res
	}
}

// hopTo returns the resource from which a request for r was redirected.
func (o *oracle) hopTo(r *resource) *resource {
	if h := o.hops[hopKey{r.scope.origin.name, r.key}]; h != nil {
		return h.from
	}
	return nil
}

// follow takes the announcement.
func (o *oracle) follow(r *resource) (from *resource) {
	k := hopKey{r.scope.origin.name, r.key}
	h := o.hops[k]
	if h == nil {
		return nil
	}
	if h.count--; h.count == 0 {
		delete(o.hops, k)
	}
	return h.from
}

// keyOf is the resource or child that a URL names, and its query without page.
func keyOf(u *url.URL) (resourceKey, url.Values) {
	key := resourceKey{target: u.EscapedPath(), page: 1}
	if u.RawQuery == "" {
		return key, nil
	}
	query := u.Query()
	if n, err := strconv.Atoi(query.Get("page")); err == nil && n > 1 {
		key.page = n
	}
	if query.Del("page"); len(query) > 0 {
		key.target += "?" + query.Encode()
	}
	return key, query
}
