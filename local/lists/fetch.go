package lists

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/route"
)

var (
	errNoDialer  = errors.New("no dialer")
	errTooLong   = fmt.Errorf("it is longer than %d MB", maxSize>>20)
	errRedirects = errors.New("redirected too often")
	errInClear   = errors.New("redirected from https to http")
	errSum       = errors.New("its SHA-256 is not the one that it has to have")
)

// Refresh asks for a new version once, and puts it into use.
func (s *Source) Refresh(ctx context.Context, trace *Trace) error {
	c, data, err := s.fetch(ctx)
	switch {
	case err != nil:
		trace.failed(s.List.Name(), err)
		return err
	case c == nil: // as it was
		now := time.Now()
		_ = os.Chtimes(s.File, now, now)
		return nil
	}
	s.List.Set(c)
	trace.fetched(s.List.Name(), c)
	if err := s.keep(data); err != nil {
		trace.failed(s.List.Name(), fmt.Errorf("it is in use, but can't be kept: %w", err))
	}
	return nil
}

// fetch returns a new version that is good, or nil if there is none.
func (s *Source) fetch(ctx context.Context) (*route.Contents, []byte, error) {
	if s.Dialer == nil {
		return nil, nil, errNoDialer
	}
	limit := s.Limit
	if limit <= 0 {
		limit = 5 * time.Minute
	}
	// Nothing that is kept between dials is shared with a client's.
	ctx = chain.WithIdentity(ctx, chain.Identity{Key: "list\x00" + s.List.Name()})
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	client := s.client()
	defer client.CloseIdleConnections()
	got, err := s.get(ctx, client, s.URL, s.etag, s.modified)
	switch {
	case err != nil:
		return nil, nil, err
	case got.status == http.StatusNotModified && s.List.Contents() != nil:
		return nil, nil, nil
	case got.status != http.StatusOK:
		return nil, nil, got.unexpected()
	}
	if err := s.verify(ctx, client, got.data); err != nil {
		return nil, nil, err
	}
	c, err := s.parse(got.data)
	if err != nil {
		return nil, nil, err
	}
	if old := s.List.Contents(); old != nil {
		if least := float64(old.Len()) * (1 - s.MaxShrink); float64(c.Len()) < least {
			return nil, nil, fmt.Errorf("it shrank from %d entries to %d, and max_shrink allows no fewer than %.0f", old.Len(), c.Len(), least)
		}
	}
	s.etag, s.modified = got.fields.Get("ETag"), got.fields.Get("Last-Modified")
	return c, got.data, nil
}

// verify checks that data is what was promised.
func (s *Source) verify(ctx context.Context, client *http.Client, data []byte) error {
	if s.SHA256 != nil {
		if sum := sha256.Sum256(data); !bytes.Equal(sum[:], s.SHA256) {
			return errSum
		}
	}
	if s.Key == nil {
		return nil
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return err
	}
	u.Path, u.RawPath = u.Path+".minisig", ""
	signature, err := s.get(ctx, client, u.String(), "", "")
	if err == nil && signature.status != http.StatusOK {
		err = signature.unexpected()
	}
	if err == nil {
		err = s.Key.Verify(data, signature.data)
	}
	if err != nil {
		return fmt.Errorf("its signature: %w", err)
	}
	return nil
}

// client is one for a single fetch. It has no proxy but the dialer.
func (s *Source) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				return s.Dialer.DialContext(ctx, "tcp", addr)
			},
			ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			switch {
			case len(via) >= 10:
				return errRedirects
			case via[0].URL.Scheme == "https" && r.URL.Scheme != "https":
				return errInClear
			}
			return nil
		},
	}
}

// An answer is a response that was read to its end.
type answer struct {
	status int
	fields http.Header
	data   []byte
}

func (a answer) unexpected() error {
	return fmt.Errorf("the server answered %d %s", a.status, http.StatusText(a.status))
}

// get returns the answer to one request. What ends before its time is an error.
func (s *Source) get(ctx context.Context, client *http.Client, from, etag, modified string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, http.NoBody)
	if err != nil {
		return answer{}, withoutURL(err)
	}
	r.Header.Set("User-Agent", "Mozilla/5.0") // some servers refuse an empty one; byway's would tell of it
	if etag != "" {
		r.Header.Set("If-None-Match", etag)
	} else if modified != "" {
		r.Header.Set("If-Modified-Since", modified)
	}
	resp, err := client.Do(r)
	if err != nil {
		return answer{}, withoutURL(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read, or is given up
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxSize+1))
	switch {
	case err != nil:
		return answer{}, fmt.Errorf("it did not come whole: %w", err)
	case len(data) > maxSize:
		return answer{}, errTooLong
	}
	return answer{resp.StatusCode, resp.Header, data}, nil
}

// withoutURL takes the URL out of err.
func withoutURL(err error) error {
	var wrong *url.Error
	if errors.As(err, &wrong) {
		return wrong.Err
	}
	return err
}
