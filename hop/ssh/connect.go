package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/byway-proxy/byway/chain"
)

// connect makes a new connection.
func (d *dialer) connect(ctx context.Context) (*link, error) {
	w := new(watched)
	raw, err := d.reach(chain.WithLease(ctx, &w.lease)) // and not by that of the tunnel whose ctx it is
	if err != nil {
		w.lease.Release()
		return nil, err
	}
	w.Conn = raw
	var l *link
	err = chain.Handshake(ctx, raw, d.o.HandshakeLimit, func() error {
		l, err = d.login(ctx, w)
		return err
	})
	if err != nil {
		_ = w.Close()
		if l != nil {
			l.retire()
		}
		return nil, chain.Fail(chain.PhaseAuth, err)
	}
	go l.watch()
	return l, nil
}

// reach dials the server itself.
func (d *dialer) reach(ctx context.Context) (net.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, d.o.DialLimit)
	defer cancel()
	conn, err := d.next.DialContext(limited, "tcp", d.addr)
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		return nil, chain.Fail(chain.PhaseDial, err)
	}
	return conn, err
}

// watched is the conn to a server. It counts what comes, and knows when nothing more does.
type watched struct {
	net.Conn
	lease    chain.Lease // what groups before the server count the connection by
	received atomic.Int64
	broken   atomic.Bool
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.received.Add(int64(n))
	if err != nil {
		w.broken.Store(true)
	}
	return n, err
}

func (w *watched) Close() error {
	defer w.lease.Release()
	return w.Conn.Close()
}

// login does the key exchange, the check of the host key, and the authentication.
func (d *dialer) login(ctx context.Context, w *watched) (*link, error) {
	x, err := d.verifier.prepare()
	if err != nil {
		return nil, fmt.Errorf("known_hosts: %w", err)
	}
	auth, done, err := d.auth(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	conn, chans, reqs, err := ssh.NewClientConn(w, d.addr, &ssh.ClientConfig{
		User:              d.o.User,
		Auth:              auth,
		HostKeyCallback:   x.hostKey,
		HostKeyAlgorithms: x.algos,
	})
	if err != nil {
		if refused := x.refuse.Load(); refused != nil {
			return nil, *refused
		}
		return nil, loginError(err)
	}
	go ssh.DiscardRequests(reqs)
	go refuseAll(chans)
	return newLink(conn, w, &d.o), nil
}

// refuseAll opens nothing that the server asks for.
func refuseAll(chans <-chan ssh.NewChannel) {
	for c := range chans {
		_ = c.Reject(ssh.Prohibited, "not here")
	}
}

// loginError leaves out the prefixes that say nothing.
func loginError(err error) error {
	text := err.Error()
	for _, prefix := range []string{"ssh: handshake failed: ", "ssh: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return &worded{text, err}
}

// worded is an error in other words.
type worded struct {
	text string
	err  error
}

func (w *worded) Error() string { return w.text }
func (w *worded) Unwrap() error { return w.err }

// auth returns the methods to log in with, and what ends their use.
func (d *dialer) auth(ctx context.Context) (methods []ssh.AuthMethod, done func(), err error) {
	done = func() {}
	signers := func() ([]ssh.Signer, error) { return d.signers, nil }
	if d.o.Agent != nil {
		conn, err := d.o.Agent(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("the agent cannot be reached: %s", chain.Reason(err))
		}
		// It may wait for a person, but no longer than the server does.
		_ = conn.SetDeadline(time.Now().Add(d.o.HandshakeLimit))
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		done = func() {
			stop()
			_ = conn.Close()
		}
		signers = func() ([]ssh.Signer, error) {
			more, err := agent.NewClient(conn).Signers()
			if err != nil && len(d.signers) == 0 {
				return nil, fmt.Errorf("the agent gives no keys: %w", err)
			}
			return append(append([]ssh.Signer(nil), d.signers...), more...), nil
		}
	}
	if d.o.Agent != nil || len(d.signers) > 0 {
		methods = append(methods, ssh.PublicKeysCallback(signers))
	}
	if d.o.Password != "" {
		methods = append(methods, ssh.Password(d.o.Password), ssh.KeyboardInteractive(d.answer))
	}
	return methods, done, nil
}

// answer gives the password to the one question that hides what is typed.
func (d *dialer) answer(_, _ string, questions []string, echos []bool) ([]string, error) {
	switch {
	case len(questions) == 0:
		return nil, nil
	case len(questions) == 1 && !echos[0]:
		return []string{d.o.Password}, nil
	}
	return nil, errors.New("the server asks for more than a password")
}
