package local

import (
	"runtime"
	"time"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/local/users"
	"github.com/byway-proxy/byway/socks"
)

// newQueue is for all passwords that are hashed at all listeners: on half of the
// processors, as the tunnels want the others.
func newQueue() *users.Queue { return users.NewQueue(runtime.GOMAXPROCS(0) / 2) }

// usersOf returns who may use a listener, or nil where no credentials are asked for.
// Hashes wait for their turn in queue no longer than limit.
func usersOf(c *configs.Listener, queue *users.Queue, limit time.Duration) (users.Plain, error) {
	if len(c.Users) == 0 {
		return nil, nil
	}
	passwords, hashes := make(map[string]string), make(map[string]users.Hash)
	var others []string
	for _, u := range c.Users {
		if u.PasswordHash != nil {
			hashes[u.Name] = users.Hash(*u.PasswordHash)
			continue
		}
		passwords[u.Name] = u.Secret.Reveal()
		others = append(others, u.Name)
	}
	plain, err := socks.NewUsers(passwords)
	switch {
	case err != nil:
		return nil, err
	case len(hashes) == 0:
		return plain, nil
	case len(passwords) == 0:
		return users.New(hashes, queue, limit, nil), nil
	}
	return mixed{users.New(hashes, queue, limit, plain, others...), plain}, nil
}

// mixed is of users some of whose passwords are known, which may be Bearer tokens.
type mixed struct {
	*users.Set
	plain *socks.StaticUsers
}

func (m mixed) UserOf(token string) (user string, ok bool) { return m.plain.UserOf(token) }
