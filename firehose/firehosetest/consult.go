package firehosetest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

var (
	errNoSuchQuestion = errors.New("the oracle knows GET /_oracle, POST /_oracle/killed, POST /_oracle/published and POST /_oracle/items")
	errInstant        = errors.New("at: must be a time as of RFC 3339")
)

// longestReport bounds one report of published ids.
const longestReport = 16 << 20

// oraclePath reports whether a request is for the oracle, and for what.
func oraclePath(r *http.Request) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(r.URL.Path, "/_oracle")
	return rest, ok && (rest == "" || rest[0] == '/')
}

// consult answers a request to the oracle.
func (o *Origin) consult(r *http.Request, rest string) (status int, body []byte) {
	var err error
	status = http.StatusBadRequest
	switch {
	case rest == "" && r.Method == http.MethodGet:
	case rest == "/killed" && r.Method == http.MethodPost:
		err = o.consultKilled(r.URL.Query().Get("at"))
	case rest == "/published" && r.Method == http.MethodPost:
		err = o.consultPublished(r.Body)
	case rest == "/items" && r.Method == http.MethodPost:
		var v ItemVerdict
		if v, err = o.consultItems(r.Body); err == nil {
			body, _ = json.Marshal(v) // numbers always encode
			return http.StatusOK, append(body, '\n')
		}
	default:
		status, err = http.StatusNotFound, errNoSuchQuestion
	}
	if err != nil {
		body, _ = json.Marshal(map[string]string{"error": err.Error()}) // strings always encode
		return status, append(body, '\n')
	}
	body, _ = json.Marshal(o.Verdict()) // numbers always encode
	return http.StatusOK, append(body, '\n')
}

func (o *Origin) consultKilled(text string) error {
	at := time.Now()
	if text != "" {
		given, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return fmt.Errorf("%w: %q", errInstant, text)
		}
		at = given
	}
	o.Killed(at)
	return nil
}

func (o *Origin) consultItems(body io.Reader) (ItemVerdict, error) {
	var report ItemReport
	if body != nil {
		err := json.NewDecoder(io.LimitReader(body, longestReport)).Decode(&report)
		if err != nil && !errors.Is(err, io.EOF) {
			return ItemVerdict{}, fmt.Errorf("items: read: %w", err)
		}
	}
	return o.Items(report), nil
}

func (o *Origin) consultPublished(body io.Reader) error {
	if body == nil {
		return nil
	}
	lines := bufio.NewScanner(io.LimitReader(body, longestReport))
	for lines.Scan() {
		if id := bytes.TrimSpace(lines.Bytes()); len(id) > 0 {
			o.Published(string(id))
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("published: read: %w", err)
	}
	return nil
}
