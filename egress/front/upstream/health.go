package upstream

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Health says how servers are checked when no request tells how they are. One that is down gets
// requests only if no other is left.
type Health struct {
	// URL is the path and query of a GET for which a server is asked; nil for just a connection.
	URL    *url.URL
	Host   string // of the GET; the server's if empty
	Status int    // that it must answer; 0 for 200 to 399
	Body   string // what the first 64 KiB of the answer must have in them

	Interval time.Duration // from one check to the next, ±10 %; 0 for no checks
	Timeout  time.Duration // of a check
	Rise     int           // how many must go well in a row for a server that is down to be up; 0 means 1
	Fall     int           // how many must fail in a row for the reverse; 0 means 1

	Dial Dial // for just a connection
}

// checkedBody is how much of a check's answer is looked at, in bytes.
const checkedBody = 64 << 10

// lookAfter checks s until ctx ends. The first check decides by itself.
func (p *Pool) lookAfter(ctx context.Context, s *Server) {
	h := &p.set.Health
	good, bad := max(h.Rise, 1)-1, max(h.Fall, 1)-1
	for {
		err := p.check(ctx, s)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			good, bad = good+1, 0
		} else {
			good, bad = 0, bad+1
		}
		if err == nil && good >= h.Rise || err != nil && bad >= h.Fall {
			p.setDown(s, err)
		}
		// Checks of many servers, or from many fronts, must not fall into step.
		wait := time.Duration(float64(h.Interval) * (0.9 + 0.2*rand.Float64()))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// setDown takes s for down if err is not nil, else for up.
func (p *Pool) setDown(s *Server, err error) {
	down := err != nil
	p.mu.Lock()
	changed := s.down != down
	s.down = down
	if changed && !down {
		s.since = time.Now()
		s.ejected, s.trial, s.failures, s.ejections = false, false, 0, 0
	}
	if changed {
		p.wake()
	}
	p.mu.Unlock()
	if t := p.set.Trace; changed && t != nil && t.Health != nil {
		t.Health(s, !down, err)
	}
}

// check asks s once how it is.
func (p *Pool) check(ctx context.Context, s *Server) error {
	h := &p.set.Health
	if h.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.Timeout)
		defer cancel()
	}
	if h.URL == nil {
		return connect(ctx, h.Dial, s.URL)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://check/", nil)
	if err != nil {
		return err
	}
	r.URL = &url.URL{Path: h.URL.Path, RawPath: h.URL.RawPath, RawQuery: h.URL.RawQuery}
	r.Host = cmp.Or(h.Host, s.URL.Host, "localhost")
	r.Header.Set("User-Agent", "byway")
	resp, err := s.Client.Do(r, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, checkedBody))
	_ = resp.Body.Close()
	switch {
	case h.Status != 0 && resp.StatusCode != h.Status, h.Status == 0 && (resp.StatusCode < 200 || resp.StatusCode > 399):
		return fmt.Errorf("it answers with status %d", resp.StatusCode)
	case err != nil:
		return err
	case !bytes.Contains(body, []byte(h.Body)):
		return errors.New("its answer has not the text that it should have")
	}
	return nil
}

// connect opens a connection to the server at u, and closes it.
func connect(ctx context.Context, dial Dial, u *url.URL) error {
	t, err := parse(u)
	if err != nil {
		return err
	}
	var c net.Conn
	if c, err = dial(ctx, t.network, t.addr); err != nil {
		return err
	}
	return c.Close()
}
