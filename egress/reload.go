package egress

import (
	"log/slog"
	"net/http"
	"reflect"
	"sync"

	"github.com/byway-proxy/byway/configs"
)

// Reload has s, which [FromConfig] built of before, serve the sites of after, and look at its certificate
// now. Requests under way end at the sites where they began; ports and tunnels are not touched. It
// returns the tables of the file that have changed and that only the next start takes. With an error, nothing has changed.
func (s *Server) Reload(before, after *configs.Egress, log *slog.Logger) (later []string, err error) {
	live, ok := s.Site.(*liveSite)
	if !ok {
		return nil, http.ErrNotSupported
	}
	site, err := NewWebsite(after, live.way, UpstreamTrace(log))
	if err != nil {
		return nil, err
	}
	live.swap(site)
	if s.files != nil {
		s.files.Look()
	}
	return startOnly(before, after), nil
}

// startOnly returns the tables that differ and are no site.
func startOnly(before, after *configs.Egress) (tables []string) {
	a, b := reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem()
	for i := range a.NumField() {
		f := a.Type().Field(i)
		if name := f.Tag.Get("toml"); f.IsExported() && f.Name != "Sites" && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			tables = append(tables, tableOf(name))
		}
	}
	return tables
}

// tableOf is the name in a tag.
func tableOf(tag string) string {
	for i := range tag {
		if tag[i] == ',' {
			return tag[:i]
		}
	}
	return tag
}

// A liveSite is a [Website], with the way to what is behind it, that another can take the place of while requests are under way.
type liveSite struct {
	way WayBehind

	mu     sync.Mutex
	now    *generation
	older  map[*generation]bool // with requests under way
	closed bool
}

type generation struct {
	*Website
	requests int
}

func newLiveSite(w *Website, way WayBehind) *liveSite {
	return &liveSite{way: way, now: &generation{Website: w}, older: make(map[*generation]bool)}
}

func (l *liveSite) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	g := l.now
	g.requests++
	l.mu.Unlock()
	defer l.done(g)
	g.ServeHTTP(w, r)
}

// done ends a request at g, and g with its last one, if it is of the past.
func (l *liveSite) done(g *generation) {
	l.mu.Lock()
	g.requests--
	last := g.requests == 0 && l.older[g]
	if last {
		delete(l.older, g)
	}
	l.mu.Unlock()
	if last {
		g.Close()
	}
}

func (l *liveSite) swap(w *Website) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		w.Close()
		return
	}
	g := l.now
	l.now = &generation{Website: w}
	if g.requests == 0 {
		g.Close()
		return
	}
	l.older[g] = true
}

// Close closes all.
func (l *liveSite) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.now.Close()
	for g := range l.older {
		delete(l.older, g)
		g.Close()
	}
}
