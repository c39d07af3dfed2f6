package local

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// rules makes the table of the routes.
func (p *plan) rules(c *configs.Client, reach map[string]Path, old *plan, log *slog.Logger) error {
	if err := p.readLists(c, reach, old); err != nil {
		return err
	}
	countries, err := countriesOf(c)
	if err != nil {
		return err
	}
	for i := range c.Routes {
		r, table := &c.Routes[i], fmt.Sprintf("route[%d]", i)
		d, path, err := p.way(c, table, r.To, reach)
		if err != nil {
			return err
		}
		rule := route.Rule{To: d, Via: r.To, Place: path.From, Block: answers[r.Answer]}
		if rule.If, err = p.match(c, &r.Match, table, countries); err != nil {
			return err
		}
		if r.Lookup != "" {
			ch, ok := p.chains[r.Lookup]
			if !ok {
				return c.Errorf(table+".lookup", "chain %q is not defined", r.Lookup)
			}
			rule.Lookup = &route.Lookup{Via: r.Lookup, Dialer: p.lookup(r.Lookup, ch, log)}
			aside := reach[r.Lookup]
			aside.From, aside.Lookup = path.From, true
			p.asides = append(p.asides, aside)
		}
		for j := range r.Not {
			m, err := p.match(c, &r.Not[j], fmt.Sprintf("%s.not[%d]", table, j), countries)
			if err != nil {
				return err
			}
			rule.Not = append(rule.Not, m)
		}
		path.Always, path.UDP = rule.Always(), udpOf(&rule)
		p.table = append(p.table, rule)
		p.paths = append(p.paths, path)
	}
	return nil
}

var answers = map[configs.Answer]relay.Block{
	configs.AnswerRefuse: relay.Refuse, configs.AnswerDrop: relay.Drop, configs.AnswerPage: relay.Page,
}

// match makes the conditions at a path of the file.
func (p *plan) match(c *configs.Client, m *configs.Match, path string, countries *route.CountryDB) (route.Match, error) {
	out := route.Match{Network: string(m.Network), Listeners: m.Listeners, Users: m.Users}
	if m.Domains != nil {
		names, err := route.NewNames(m.Domains...)
		if wrong := (*route.PatternError)(nil); errors.As(err, &wrong) {
			return out, c.Errorf(fmt.Sprintf("%s.domain[%d]", path, wrong.Index), "%w", wrong.Err)
		}
		out.Names = names
	}
	for i, name := range m.Lists {
		l, ok := p.lists[name]
		if !ok {
			return out, c.Errorf(fmt.Sprintf("%s.list[%d]", path, i), "list %q is not defined", name)
		}
		out.Lists = append(out.Lists, l)
	}
	if m.CIDRs != nil {
		out.CIDRs = route.NewCIDRs(m.CIDRs...)
	}
	if m.Clients != nil {
		out.Clients = route.NewCIDRs(m.Clients...)
	}
	if m.Countries != nil {
		if countries == nil {
			return out, c.Errorf(path+".country", "there is no database of countries")
		}
		out.Countries = &route.Countries{DB: countries}
		for _, code := range m.Countries {
			out.Countries.Codes = append(out.Countries.Codes, string(code))
		}
	}
	for _, r := range m.Ports {
		out.Ports = append(out.Ports, route.Ports(r))
	}
	out.Hours = hoursOf(m)
	return out, nil
}

// hoursOf returns nil if m is about all times.
func hoursOf(m *configs.Match) *route.Hours {
	if m.Times == nil && m.Weekdays == nil {
		return nil
	}
	h := &route.Hours{Zone: m.Location()}
	for _, s := range m.Times {
		h.Spans = append(h.Spans, route.Span(s))
	}
	for day := time.Sunday; day <= time.Saturday; day++ {
		for _, days := range m.Weekdays {
			if days[day] {
				h.Days = append(h.Days, day)
				break
			}
		}
	}
	return h
}

// countriesOf reads the database of countries, if there is to be one.
func countriesOf(c *configs.Client) (*route.CountryDB, error) {
	if c.Geo.Database == "" {
		return nil, nil
	}
	data, err := os.ReadFile(c.Geo.Database)
	if err != nil {
		return nil, c.Errorf("geo.database", "cannot be read: %w", unwrapPath(err))
	}
	db, err := route.NewCountryDB(data)
	if err != nil {
		return nil, c.Errorf("geo.database", "%w; give one with country.iso_code or country_code, such as "+
			"npm's @ip-location-db/geo-whois-asn-country-mmdb", err)
	}
	return db, nil
}

// unwrapPath returns the cause in a *os.PathError, whose text has the path once more.
func unwrapPath(err error) error {
	var wrong *os.PathError
	if errors.As(err, &wrong) {
		return fmt.Errorf("%s: %w", wrong.Path, wrong.Err)
	}
	return err
}
