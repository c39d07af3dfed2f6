package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/byway-proxy/byway/internal/sockets"
)

const (
	longest = 64 << 10 // bytes of a request or a reply
	limit   = 10 * time.Second
)

// A Command does what it is asked with args. What it says is for people; so is its error.
type Command func(ctx context.Context, args []string) (said string, err error)

type request struct {
	Command string   `json:"command"`
	Args    []string `json:"args,omitempty"`
}

type reply struct {
	Said  string `json:"said,omitempty"`
	Error string `json:"error,omitempty"`
}

// DefaultPath returns where a user's byway has its socket, or "" if the user has no
// folder for such things (XDG_RUNTIME_DIR).
func DefaultPath() string {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(dir) {
		return ""
	}
	return filepath.Join(dir, "byway", "control.sock")
}

// Listen listens at path, for the own user alone. It makes the last folder of the
// path if that is missing.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	return sockets.Listen(ctx, path, 0o600)
}

// A Server does what it is asked.
type Server struct {
	Commands map[string]Command // by name
}

// Serve serves the conns of l until l is closed and the last command has ended. ctx is
// that of the commands, and ends them.
func (s *Server) Serve(ctx context.Context, l net.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, say
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		wg.Go(func() {
			defer c.Close() //nolint:errcheck // there is nobody to tell
			s.serve(ctx, c)
		})
	}
}

// serve reads a request from c and answers it, if c is of who may ask.
func (s *Server) serve(ctx context.Context, c net.Conn) {
	if trusted(c) == nil {
		s.answer(ctx, c)
	}
}

func (s *Server) answer(ctx context.Context, c net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = c.SetDeadline(time.Now().Add(limit))
	var r reply
	q, err := read(c)
	if err == nil {
		r.Said, err = s.do(ctx, q)
	}
	if err != nil {
		r = reply{Error: err.Error()}
	}
	_ = c.SetDeadline(time.Now().Add(limit))
	_ = json.NewEncoder(c).Encode(r)
}

func (s *Server) do(ctx context.Context, q request) (string, error) {
	do, ok := s.Commands[q.Command]
	if !ok {
		return "", fmt.Errorf("this byway has no command %q", q.Command)
	}
	return do(ctx, q.Args)
}

// read reads a request, strictly: a command that is not understood whole is not done.
func read(c io.Reader) (q request, err error) {
	line, err := readLine(c)
	if err != nil {
		return q, err
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		return request{}, errors.New("not a request")
	}
	if _, err := d.Token(); err != io.EOF {
		return request{}, errors.New("more than a request")
	}
	return q, nil
}

func readLine(r io.Reader) ([]byte, error) {
	line, err := bufio.NewReader(io.LimitReader(r, longest)).ReadBytes('\n')
	switch {
	case err == io.EOF && len(line) == longest:
		return nil, errors.New("too long")
	case err != nil:
		return nil, err
	}
	return line, nil
}

// trusted tells whether the other end of c is of the own user or root, as far as the
// system says who it is.
func trusted(c net.Conn) error {
	if !sockets.TellsPeer {
		return nil
	}
	uid, err := sockets.Peer(c)
	if err != nil {
		return err
	}
	if own := os.Geteuid(); int(uid) != own && uid != 0 && own != 0 {
		return fmt.Errorf("it is of another user (%v)", uid)
	}
	return nil
}
