package local

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/local/lists"
	"github.com/byway-proxy/byway/route"
)

// readLists makes the lists, with the contents that are on disk. One that is to be
// fetched may have none yet.
func (p *plan) readLists(c *configs.Client, reach map[string]Path, old *plan) error {
	p.lists = make(map[string]*route.List, len(c.Lists))
	for i := range c.Lists {
		l := &c.Lists[i]
		p.lists[l.Name] = route.NewList(l.Name)
		read := p.readFile
		if l.URL != "" {
			read = func(c *configs.Client, i int) error { return p.source(c, i, reach, old) }
		}
		if err := read(c, i); err != nil {
			return err
		}
	}
	return nil
}

// readFile reads list i, which is a file.
func (p *plan) readFile(c *configs.Client, i int) error {
	l, path := &c.Lists[i], fmt.Sprintf("list[%d].file", i)
	data, err := os.ReadFile(l.File)
	if err != nil {
		return c.Errorf(path, "cannot be read: %w", unwrapPath(err))
	}
	contents, err := route.ParseList(data, route.ListOptions{Subdomains: l.Subdomains})
	var wrong *route.ListError
	switch {
	case errors.As(err, &wrong):
		return c.Errorf(path, "%s:%d: %s; correct it, or give another list", l.File, wrong.Line, wrong.Why)
	case contents.Len() == 0:
		return c.Errorf(path, "%s has no names and no addresses; give another list", l.File)
	case contents.Bad > 0:
		p.note(fmt.Sprintf("list %q: %d of its lines are of no known format and left out; the first is %s:%d",
			l.Name, contents.Bad, l.File, contents.FirstBad))
	}
	p.lists[l.Name].Set(contents)
	return nil
}

// source prepares list i, which comes from a URL, with what was kept of it.
func (p *plan) source(c *configs.Client, i int, reach map[string]Path, old *plan) error {
	l, path := &c.Lists[i], fmt.Sprintf("list[%d]", i)
	s := &lists.Source{
		List: p.lists[l.Name], Options: route.ListOptions{Subdomains: l.Subdomains}, URL: string(l.URL), File: l.File,
		Every: l.Interval, SHA256: l.SHA256, MaxShrink: float64(l.MaxShrink),
	}
	var err error
	var way Path
	if s.Dialer, way, err = p.way(c, path, l.Via, reach); err != nil {
		return err
	}
	if l.Minisign != "" {
		if s.Key, err = lists.ParseKey(l.Minisign); err != nil {
			return c.Errorf(path+".minisign", "%w", err)
		}
	}
	if s.File == "" {
		if s.File, err = cacheFile(l); err != nil {
			return c.Errorf(path, "there is no folder to keep it in (%w); name a file", err)
		}
	}
	way.List = l
	p.asides = append(p.asides, way)
	if same := old.kept(l, s.Dialer); same != nil { // in use, and being kept fresh
		p.lists[l.Name], p.sources = same.List, append(p.sources, same)
		return nil
	}
	switch err := s.Load(); {
	case err != nil:
		p.note(fmt.Sprintf("list %q: what was kept of it is no good: %v", l.Name, err))
	case s.List.Contents() == nil:
		p.note(fmt.Sprintf("list %q: it was not fetched yet; until it is, what depends on it is blocked", l.Name))
	}
	p.sources = append(p.sources, s)
	return nil
}

// cacheFile is where a list from a URL is kept that names no file.
func cacheFile(l *configs.List) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(l.Name + "\x00" + string(l.URL)))
	return filepath.Join(dir, "byway", "lists", hex.EncodeToString(sum[:8])+".txt"), nil
}

func (s *Server) listTrace() *lists.Trace {
	return &lists.Trace{
		Fetched: func(list string, c *route.Contents) {
			s.fetched(list, c, nil)
			s.log.Info("list fetched", "list", list, "names", c.Names, "addresses", c.Addresses, "skipped", c.Skipped, "bad", c.Bad)
		},
		Failed: func(list string, err error) {
			s.fetched(list, nil, err)
			s.log.Warn("list not refreshed: the last good one stands", "list", list, "error", chain.Reason(err))
		},
	}
}
