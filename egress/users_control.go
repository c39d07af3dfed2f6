package egress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/egress/users"
	"github.com/byway-proxy/byway/internal/control"
)

// A UserCommand is what a set of users is told, by the control socket of an egress that serves or,
// where none does, by whoever has opened the set.
type UserCommand struct {
	Do      string        `json:"do"` // add, list, enable, disable, rotate or remove
	User    users.User    `json:"user"`
	Overlap time.Duration `json:"overlap,omitempty"` // of rotate, in nanoseconds
	After   string        `json:"after,omitempty"`   // of list: it begins behind that name
}

// A UserReply answers a UserCommand.
type UserReply struct {
	Token string         `json:"token,omitempty"` // of add and rotate: it is not to be had again
	Users []users.Status `json:"users,omitempty"` // of list, without the tokens' hashes
	More  bool           `json:"more,omitempty"`  // of list: ask again, behind the last one
}

// perReply is how many users a reply lists: it has to fit into what the control socket carries.
const perReply = 32

// TellUsers does what is asked with set.
func TellUsers(set *users.Set, q UserCommand) (r UserReply, err error) {
	switch q.Do {
	case "add":
		if _, err := newDestinations(&q.User.Limits); err != nil {
			return r, err
		}
		if !q.User.Expires.IsZero() && !q.User.Expires.After(time.Now()) {
			return r, errors.New("the user would have expired already; give a time to come")
		}
		r.Token, err = set.Add(q.User)
	case "list":
		r.Users, r.More = listAfter(set, q.After)
	case "enable":
		err = set.SetDisabled(q.User.Name, false)
	case "disable":
		err = set.SetDisabled(q.User.Name, true)
	case "rotate":
		r.Token, err = set.Rotate(q.User.Name, q.Overlap)
	case "remove":
		err = set.Remove(q.User.Name)
	default:
		err = fmt.Errorf("%q is nothing that users can be told", q.Do)
	}
	return r, err
}

func listAfter(set *users.Set, after string) (list []users.Status, more bool) {
	for _, u := range set.List() {
		if u.Name <= after {
			continue
		}
		if len(list) == perReply {
			return list, true
		}
		for i := range u.Tokens {
			u.Tokens[i].Hash = users.Hash{}
		}
		list = append(list, u)
	}
	return list, false
}

// AskUsers has the egress whose control socket is at path do what is asked.
func AskUsers(ctx context.Context, path string, q UserCommand) (r UserReply, err error) {
	text, err := json.Marshal(q)
	if err != nil {
		return r, err
	}
	said, err := control.Ask(ctx, path, "user", string(text))
	if err == nil {
		err = json.Unmarshal([]byte(said), &r)
	}
	return r, err
}

// userCommand is TellUsers as the control socket has it.
func (s *Server) userCommand(_ context.Context, args []string) (string, error) {
	var q UserCommand
	if len(args) != 1 {
		return "", errors.New("user takes one argument")
	}
	if err := json.Unmarshal([]byte(args[0]), &q); err != nil {
		return "", errors.New("the argument of user makes no sense; is it a byway of this version?")
	}
	r, err := TellUsers(s.Users, q)
	if err != nil {
		return "", err
	}
	said, err := json.Marshal(r)
	return string(said), err
}

// control listens for what the server is told while it serves, if c says so. stop ends that.
func (s *Server) control(ctx context.Context, c *configs.Egress) (stop func(), err error) {
	if !c.Control.Serve || c.Control.Socket == "" {
		return func() {}, nil
	}
	var l net.Listener
	l, err = control.Listen(ctx, c.Control.Socket)
	if errors.Is(err, errors.ErrUnsupported) {
		return func() {}, nil // sockets have no mode on this system: nobody is told anything
	}
	if err != nil {
		return nil, c.Errorf("control.socket", "%s cannot be listened on: %w", c.Control.Socket, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		t := &control.Server{Commands: map[string]control.Command{"user": s.userCommand}}
		t.Serve(ctx, l)
	}()
	return func() {
		_ = l.Close()
		<-done
	}, nil
}
