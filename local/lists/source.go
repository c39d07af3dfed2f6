package lists

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/route"
)

// A Source is a list at a URL. Its fields must not change once it is used.
type Source struct {
	List    *route.List // gets the contents
	Options route.ListOptions

	URL    string       // http or https
	Dialer chain.Dialer // reaches the URL's host, redirects included; required
	File   string       // where the last good version is kept; its folder is made

	// Every is how often a new version is asked for; 0 means once a day. After a
	// failure that is after a minute, then two, four, and so on; a list that was never
	// fetched begins with a second, and is asked for every five minutes at least.
	Every time.Duration

	SHA256 []byte // of the list; nil for any
	Key    *Key   // has signed it: the signature is at URL + ".minisig"; nil for none

	// MaxShrink is the share of its entries that a list may lose from one version to
	// the next, from 0 to 1.
	MaxShrink float64

	// Limit bounds a fetch; 0 means 5 minutes.
	Limit time.Duration

	etag, modified string // of the version that is in use, if this process fetched it
}

// maxSize bounds a list, in bytes.
const maxSize = 256 << 20

// A Trace is told what becomes of lists. Any of its functions may be nil.
type Trace struct {
	// Fetched is called when a new version is in use.
	Fetched func(list string, c *route.Contents)

	// Failed is called when there is none, or when it can't be kept on disk. The
	// error names neither URL nor host. Metrics count these.
	Failed func(list string, err error)
}

func (t *Trace) fetched(list string, c *route.Contents) {
	if t != nil && t.Fetched != nil {
		t.Fetched(list, c)
	}
}

func (t *Trace) failed(list string, err error) {
	if t != nil && t.Failed != nil {
		t.Failed(list, err)
	}
}

// Load reads what is on disk. That nothing is there is no error: the list has no
// contents then.
func (s *Source) Load() error {
	data, err := os.ReadFile(s.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	c, err := s.parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", s.File, err)
	}
	s.List.Set(c)
	return nil
}

func (s *Source) parse(data []byte) (*route.Contents, error) {
	c, err := route.ParseList(data, s.Options)
	if err == nil && c.Len() == 0 {
		err = errors.New("it has no names and no addresses")
	}
	return c, err
}

// keep writes data to the file, which has it whole or not at all.
func (s *Source) keep(data []byte) error {
	dir := filepath.Dir(s.File)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".list-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), s.File)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// Run keeps the list fresh until ctx ends.
func (s *Source) Run(ctx context.Context, trace *Trace) {
	wait, failures := s.first(), 0
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		err := s.Refresh(ctx, trace)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failures, wait = 0, s.every()
		default:
			wait = s.retry(failures)
			failures++
		}
	}
}

func (s *Source) every() time.Duration {
	if s.Every > 0 {
		return s.Every
	}
	return 24 * time.Hour
}

// first is how long the version on disk is good for.
func (s *Source) first() time.Duration {
	info, err := os.Stat(s.File)
	if err != nil || s.List.Contents() == nil {
		return 0
	}
	return min(max(0, time.Until(info.ModTime().Add(s.every()))), s.every())
}

// retry is how long to wait after so many failures before this one.
func (s *Source) retry(failures int) time.Duration {
	from, to := time.Minute, s.every()
	if s.List.Contents() == nil {
		from, to = time.Second, min(5*time.Minute, s.every())
	}
	return min(from<<min(failures, 20), max(from, to))
}
