package local

import (
	"errors"
	"fmt"
	"os"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/route"
)

// readLists makes the lists.
func (p *plan) readLists(c *configs.Client) error {
	p.lists = make(map[string]*route.List, len(c.Lists))
	for i := range c.Lists {
		l := &c.Lists[i]
		made := route.NewList(l.Name)
		p.lists[l.Name] = made
		if l.URL != "" {
			return c.Errorf(fmt.Sprintf("list[%d].url", i), "is not fetched by this version; give a file")
		}
		path := fmt.Sprintf("list[%d].file", i)
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
		made.Set(contents)
	}
	return nil
}
