package local

import (
	"context"
	"errors"
	"fmt"

	"github.com/byway-proxy/byway/internal/control"
)

// Control listens at path for what the server is told while it serves. It is for a path
// that the configuration does not give, and comes before [Server.Serve].
func (s *Server) Control(ctx context.Context, path string) error {
	l, err := control.Listen(ctx, path)
	if errors.Is(err, errors.ErrUnsupported) {
		err = errors.New("sockets have no mode on this system")
	}
	if err != nil {
		return fmt.Errorf("%s cannot be listened on: %w", path, err)
	}
	s.control = l
	return nil
}

// listenControl listens where the configuration says.
func (s *Server) listenControl(ctx context.Context) error {
	path := s.config.Control.Socket
	if path == "" || !s.config.Control.Serve {
		return nil
	}
	if err := s.Control(ctx, path); err != nil {
		return s.config.Errorf("control.socket", "%w", err)
	}
	return nil
}

// serveControl does what it is told until the listener is closed.
func (s *Server) serveControl(ctx context.Context) {
	c := &control.Server{Commands: map[string]control.Command{"newid": s.newIdentity}}
	c.Serve(ctx, s.control)
}

func (s *Server) newIdentity(_ context.Context, args []string) (string, error) {
	if len(args) > 0 {
		return "", errors.New("newid takes no arguments")
	}
	s.relay.NewIdentity()
	for _, n := range s.names {
		n.Forget()
	}
	live := s.relay.Live()
	s.log.Info("new identity", "tunnels", live)
	return fmt.Sprintf("tunnels from now on share nothing with those before, of which %d are open", live), nil
}
