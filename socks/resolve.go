package socks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/byway-proxy/byway/chain"
)

const (
	// askAgain is after what time a hop that does not know a command is asked again.
	askAgain = time.Hour

	// hungUp is that time where it just hung up: dante has no other answer, but it
	// may have had another reason.
	hungUp = time.Minute
)

var (
	errResolve = unsupportedError("the hop resolves no names")
	errNoName  = errors.New("not what was asked for: the far end's answer")
)

// Resolve asks the hop by Tor's RESOLVE or RESOLVE_PTR. That it does not know the
// command is remembered. It is of [chain.Resolver].
func (d *dialer5) Resolve(ctx context.Context, host string) (string, error) {
	t, command := target{name: host}, byte(commandResolve)
	if ip, err := netip.ParseAddr(host); err == nil {
		t, command = target{ip: ip.Unmap()}, commandResolvePTR
	} else if err := checkName(host); err != nil {
		return "", chain.Fail(chain.PhaseConnect, fmt.Errorf("socks: %w", err))
	}
	if d.learnt.mute.is() {
		return "", chain.Fail(chain.PhaseConnect, errResolve)
	}
	conn, bound, err := d.command(ctx, command, t)
	switch {
	case errors.Is(err, badCommand):
		d.learnt.mute.begin(askAgain)
		return "", chain.Fail(chain.PhaseConnect, errResolve)
	case isHangUp(err):
		d.learnt.mute.begin(hungUp)
		return "", chain.Fail(chain.PhaseConnect, errResolve)
	case err != nil:
		return "", err
	}
	_ = conn.Close()
	if bound.ip.IsValid() {
		return bound.ip.String(), nil
	}
	return bound.name, nil
}

// A muteness is for how long a hop is not asked for what it does not know.
type muteness struct{ until atomic.Pointer[time.Time] }

func (m *muteness) begin(lasts time.Duration) {
	until := time.Now().Add(lasts)
	m.until.Store(&until)
}

func (m *muteness) is() bool {
	until := m.until.Load()
	return until != nil && time.Now().Before(*until)
}

// isHangUp reports whether the hop ended the conn in place of a reply.
func isHangUp(err error) bool {
	var e *chain.Error
	return errors.As(err, &e) && e.Phase == chain.PhaseConnect && e.Hop == 0 && chain.Errno(err) == syscall.ECONNRESET
}

// resolve answers p, a RESOLVE or RESOLVE_PTR, as the far end does. An address needs
// nobody to be resolved.
func (s *Server) resolve(ctx context.Context, p *pending) error {
	host, _, err := net.SplitHostPort(p.request.Addr)
	if err != nil {
		return errors.Join(err, p.Reject(err))
	}
	ip, err := netip.ParseAddr(host)
	isAddr := err == nil
	if p.command == commandResolvePTR && !isAddr {
		err := fmt.Errorf("%w: not an address", errTarget)
		return errors.Join(err, p.Reject(err))
	}
	t := target{ip: ip.Unmap()}
	if p.command == commandResolvePTR || !isAddr {
		got, err := s.Relay.Resolve(ctx, p.request, host)
		if err == nil {
			t, err = resolved(p.command, got)
		}
		if err != nil {
			return errors.Join(err, p.Reject(err))
		}
	}
	err = p.say(succeeded.appendBound(nil, t))
	_, raw := chain.Raw(p.conn)
	if err != nil {
		_ = raw.Close()
		return err
	}
	hangUp(ctx, raw, p.limit)
	return nil
}

// resolved makes sure that the far end's answer is what command asks for.
func resolved(command byte, got string) (target, error) {
	ip, err := netip.ParseAddr(got)
	switch name := strings.TrimSuffix(got, "."); {
	case command == commandResolve && err == nil && ip.Zone() == "":
		return target{ip: ip.Unmap()}, nil
	case command == commandResolvePTR && err != nil && checkName(name) == nil:
		return target{name: name}, nil
	}
	return target{}, errNoName
}
