package egress

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/egress/users"
	"github.com/byway-proxy/byway/relay"
)

// OpenUsers opens the users that c declares and those of its store, if it has one. It
// is for one process at a time: where an egress serves, it has them ([errors.Is]
// users.ErrInUse), and is told what to do by its control socket. Errors have their place in
// the file.
func OpenUsers(c *configs.Egress) (*users.Set, error) {
	declared, store, err := usersOf(c)
	if err != nil {
		return nil, err
	}
	if store == nil {
		return users.Open(declared, users.Options{})
	}
	set, err := users.OpenStore(declared, store)
	if err != nil {
		return nil, c.Errorf("user", "%w", err)
	}
	return set, nil
}

// servedUsers is OpenUsers for an egress that serves. There must be one user.
func servedUsers(c *configs.Egress, log *slog.Logger) (*users.Set, error) {
	declared, store, err := usersOf(c)
	if err != nil {
		return nil, err
	}
	o := users.Options{Failed: func(err error) { log.Error("usage cannot be stored", "error", err) }}
	if store != nil {
		o.Store = store
	}
	if c.Line.Rate > 0 {
		o.Line = users.NewLine(int64(c.Line.Rate))
	}
	set, err := users.Open(declared, o)
	if errors.Is(err, users.ErrNobody) {
		err = fmt.Errorf("%w; \"byway user add NAME\" makes one", err)
	}
	if err != nil {
		return nil, c.Errorf("user", "%w", err)
	}
	return set, nil
}

// usersOf returns the users that c declares, and its store, or nil.
func usersOf(c *configs.Egress) (declared []users.User, store *users.Bolt, err error) {
	for i := range c.Users {
		u := &c.Users[i]
		if err := users.CheckToken(u.Name, u.Secret.Reveal()); err != nil {
			return nil, nil, c.Errorf(at("user", i), "%w", err)
		}
		for list, all := range map[string][]string{"allow": u.Allow, "deny": u.Deny} {
			for j, text := range all {
				if _, err := parseDestination(text); err != nil {
					return nil, nil, c.Errorf(at(at("user", i)+"."+list, j), "%w", err)
				}
			}
		}
		declared = append(declared, users.User{
			Name:    u.Name,
			Expires: u.Expires,
			Tokens:  []users.Token{{Hash: users.HashOf(u.Secret.Reveal())}},
			Limits: users.Limits{
				Allow: u.Allow, Deny: u.Deny, Rate: int64(u.Rate), Day: int64(u.QuotaPerDay), Month: int64(u.QuotaPerMonth),
				Tunnels: int(u.Tunnels), Flows: int(u.UDPFlows),
			},
		})
	}
	if c.Store.File == "" {
		return declared, nil, nil
	}
	store, err = users.OpenBolt(c.Store.File)
	if err != nil {
		return nil, nil, c.Errorf("store.file", "%w", err)
	}
	return declared, store, nil
}

// account has a tunnel accounted for, by whatever protocol it was asked for.
func (s *Server) account(q relay.Request, end func()) (relay.Account, error) {
	t, err := s.Users.Begin(q.User, q.Network == "udp", end)
	if err != nil {
		return nil, err
	}
	return t, nil
}
