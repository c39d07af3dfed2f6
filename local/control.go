package local

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/internal/control"
)

// Control listens at path for what the server is told while it serves. It is for a path
// that the configuration does not give, and comes before [Server.Serve].
func (s *Server) Control(ctx context.Context, path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listenControl(ctx, path)
}

func (s *Server) listenControl(ctx context.Context, path string) error {
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

// moveControl listens where p says, unless that is done. A socket that the
// configuration did not ask for stays. s.mu is held.
func (s *Server) moveControl(ctx context.Context, p *plan) error {
	c := &p.config.Control
	if s.control != nil && c.Serve && (c.Socket == "" || c.Socket == s.control.Addr().String()) {
		return nil
	}
	before := s.control
	if c.Serve && c.Socket != "" {
		if err := s.listenControl(ctx, c.Socket); err != nil {
			return p.config.Errorf("control.socket", "%w", err)
		}
		if run, l := s.serving, s.control; run != nil {
			run.accept(func() { s.serveControl(run.ctx, l) })
		}
	} else {
		s.control = nil
	}
	if before != nil {
		_ = before.Close()
	}
	return nil
}

// serveControl does what it is told until the listener is closed.
func (s *Server) serveControl(ctx context.Context, l net.Listener) {
	commands := map[string]control.Command{"newid": s.newIdentity, "reload": s.reload}
	for name, do := range s.commands {
		commands[name] = do
	}
	(&control.Server{Commands: commands}).Serve(ctx, l)
}

// Handle has do answer a further command of the control socket. It comes before [Server.Serve].
func (s *Server) Handle(command string, do func(ctx context.Context, args []string) (said string, err error)) {
	if s.commands == nil {
		s.commands = make(map[string]control.Command)
	}
	s.commands[command] = do
}

// LoadFrom says where the configuration is read from when "reload" is asked for by the
// control socket. It comes before [Server.Serve].
func (s *Server) LoadFrom(load func() (*configs.Client, error)) { s.load = load }

func (s *Server) reload(ctx context.Context, args []string) (string, error) {
	switch {
	case len(args) > 0:
		return "", errors.New("reload takes no arguments")
	case s.load == nil:
		return "", errors.New("this byway has no configuration file")
	}
	d, err := s.ReloadFrom(ctx, s.load)
	if err != nil {
		return "", err
	}
	return d.String(), nil
}

// ReloadFrom is [Server.Reload] with what load returns. Failures are logged.
func (s *Server) ReloadFrom(ctx context.Context, load func() (*configs.Client, error)) (Difference, error) {
	c, err := load()
	var d Difference
	if err == nil {
		d, err = s.Reload(ctx, c)
	}
	if err != nil {
		s.log.Error("not reloaded: all is as it was", "error", err)
	}
	if s.watcher.Reloaded != nil {
		s.watcher.Reloaded(err)
	}
	return d, err
}

func (s *Server) newIdentity(_ context.Context, args []string) (string, error) {
	if len(args) > 0 {
		return "", errors.New("newid takes no arguments")
	}
	return s.NewIdentity(), nil
}

// NewIdentity makes strangers of the tunnels to come and those before, and says so to people.
func (s *Server) NewIdentity() string {
	s.relay.NewIdentity()
	s.mu.Lock()
	names := s.in.names
	s.mu.Unlock()
	for _, n := range names {
		n.Forget()
	}
	if d, ok := s.now().direct.(*direct); ok {
		d.names.Forget()
	}
	live := s.relay.Live()
	s.log.Info("new identity", "tunnels", live)
	return fmt.Sprintf("tunnels from now on share nothing with those before, of which %d are open", live)
}
