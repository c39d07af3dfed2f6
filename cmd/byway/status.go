package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/internal/doctor"
	"github.com/byway-proxy/byway/internal/sockets"
	"github.com/byway-proxy/byway/internal/status"
	"github.com/byway-proxy/byway/local"
)

// showStatus tells what s does, by its control socket, and as cfg says by metrics and a page, until
// stop is called.
func showStatus(ctx context.Context, s *local.Server, cfg *configs.Client, log *slog.Logger) (stop func(), err error) {
	board := status.New(s, versionText())
	s.Watch(local.Watcher{Trace: board.Trace(), Reloaded: board.Reloaded, Fetched: board.Fetched})
	act := actions(s)
	s.Handle("pause", one("pause", act["pause"]))
	s.Handle("resume", one("resume", act["resume"]))
	s.Handle("snapshot", func(context.Context, []string) (string, error) {
		b, err := json.Marshal(board.Snapshot(false))
		return string(b), err
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // tunnels that drain are to be seen
	var wg sync.WaitGroup
	stop = func() { cancel(); wg.Wait() }
	wg.Go(func() { board.Run(ctx) })
	if cfg.Status.Listen == "" {
		return stop, nil
	}
	l, err := listenStatus(ctx, cfg)
	if err != nil {
		stop()
		return nil, err
	}
	web := &status.Server{Board: board, Actions: act}
	if _, unix := cfg.Status.Socket(); unix {
		log.Info("status", "socket", l.Addr().String())
	} else {
		web.Hosts = hostsOf(l.Addr())
		if web.Token = cfg.Status.Token.Reveal(); web.Token == "" {
			web.Token = status.NewToken()
			log.Info("status", "page", fmt.Sprintf("http://%s/#token=%s", l.Addr(), web.Token))
		} else {
			log.Info("status", "page", fmt.Sprintf("http://%s/", l.Addr()))
		}
	}
	wg.Go(func() {
		if err := web.Serve(ctx, l); err != nil {
			log.Error("the status page has ended", "error", err)
		}
	})
	return stop, nil
}

// one makes a command of an action that takes one argument.
func one(name string, act func(context.Context, string) (string, error)) func(context.Context, []string) (string, error) {
	return func(ctx context.Context, args []string) (string, error) {
		if len(args) != 1 {
			return "", fmt.Errorf("%s takes the name of a hop", name)
		}
		return act(ctx, args[0])
	}
}

// listenStatus listens where cfg says, which is this machine alone.
func listenStatus(ctx context.Context, cfg *configs.Client) (net.Listener, error) {
	var l net.Listener
	var err error
	if path, ok := cfg.Status.Socket(); ok {
		l, err = sockets.Listen(ctx, path, 0o600)
	} else {
		l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Status.Listen)
		if err == nil && !l.Addr().(*net.TCPAddr).IP.IsLoopback() { // "localhost" is what this system says it is
			_ = l.Close()
			err = fmt.Errorf("%v can be reached by other machines", l.Addr())
		}
	}
	if err != nil {
		return nil, cfg.Errorf("status.listen", "cannot be listened on: %w", err)
	}
	return l, nil
}

// hostsOf returns the names that the page at a is called by.
func hostsOf(a net.Addr) []string {
	_, port, _ := net.SplitHostPort(a.String())
	return []string{a.String(), "localhost:" + port, "127.0.0.1:" + port, "[::1]:" + port}
}

// actions are what the page may have done.
func actions(s *local.Server) map[string]func(context.Context, string) (string, error) {
	return map[string]func(context.Context, string) (string, error){
		"newid": func(context.Context, string) (string, error) { return s.NewIdentity(), nil },
		"pause": func(_ context.Context, hop string) (string, error) {
			return hop + " is paused: no more tunnels go through it", s.Pause(hop, true)
		},
		"resume": func(_ context.Context, hop string) (string, error) {
			return "tunnels go through " + hop + " again", s.Pause(hop, false)
		},
		"probe": func(ctx context.Context, name string) (string, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			courses, err := s.Courses(name)
			if err != nil {
				return "", err
			}
			var b strings.Builder
			err = examine(ctx, &b, io.Discard, courses, doctor.Options{Limit: 10 * time.Second}, false)
			if err != nil && !errors.Is(err, errUnwell) {
				return "", err
			}
			return b.String(), nil
		},
	}
}
