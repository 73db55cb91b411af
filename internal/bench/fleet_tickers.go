package main

import (
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/gocolly/colly/v2"
	"github.com/gregjones/httpcache"
	"github.com/hashicorp/go-retryablehttp"
)

// ticking has a goroutine with a ticker for each URL. newPoll makes what polls one.
func ticking(t *tour, newPoll func(i int) func(due time.Time) error, over func()) (func() error, error) {
	stop := make(chan struct{})
	var group sync.WaitGroup
	t.start = time.Now().Add(t.every / 20)
	for i := range t.n {
		poll := newPoll(i)
		group.Go(func() {
			select {
			case <-time.After(time.Until(t.at(i))):
			case <-stop:
				return
			}
			ticker := time.NewTicker(t.every)
			defer ticker.Stop()
			_ = poll(time.Now()) // one that fails is not done, as the origin sees
			for {
				select {
				case due := <-ticker.C:
					_ = poll(due)
				case <-stop:
					return
				}
			}
		})
	}
	return func() error {
		close(stop)
		group.Wait()
		over()
		return nil
	}, nil
}

// tickingHTTP is what most people write.
func tickingHTTP(t *tour) (func() error, error) {
	client := &http.Client{Transport: t.transport()}
	return ticking(t, func(i int) func(time.Time) error {
		p := page{uri: t.uri(i)}
		return func(due time.Time) error { return p.ask(client, due) }
	}, client.CloseIdleConnections)
}

// tickingColly has one collector, which has no validators of its own.
func tickingColly(t *tour) (func() error, error) {
	transport := t.transport()
	c := colly.NewCollector(colly.AllowURLRevisit(), colly.ParseHTTPErrorResponse())
	c.WithTransport(transport)
	c.OnResponse(func(r *colly.Response) {
		if r.StatusCode == http.StatusOK {
			*r.Ctx.GetAny("tag").(*[]string) = (*r.Headers)["Etag"]
		}
	})
	return ticking(t, func(i int) func(time.Time) error {
		uri, tag := t.uri(i), new([]string)
		return func(due time.Time) error {
			ctx, header := colly.NewContext(), http.Header{dueHeader: dueValue(due)}
			ctx.Put("tag", tag)
			if *tag != nil {
				header["If-None-Match"] = *tag
			}
			return c.Request(http.MethodGet, uri, nil, ctx, header)
		}
	}, transport.CloseIdleConnections)
}

// tickingCache has one client that retries, over a cache in memory, which knows
// the validators.
func tickingCache(t *tour) (func() error, error) {
	transport := t.transport()
	cache := httpcache.NewMemoryCacheTransport()
	cache.Transport = transport
	client := retryablehttp.NewClient()
	client.HTTPClient.Transport, client.Logger = cache, nil
	return ticking(t, func(i int) func(time.Time) error {
		uri := t.uri(i)
		return func(due time.Time) error {
			req, err := retryablehttp.NewRequest(http.MethodGet, uri, nil)
			if err != nil {
				return err
			}
			req.Header[dueHeader] = dueValue(due)
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			_, err = io.Copy(io.Discard, resp.Body)
			return err
		}
	}, transport.CloseIdleConnections)
}
