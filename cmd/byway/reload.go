package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/local"
)

func reloadCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "reload [-c FILE | --control SOCKET]",
		Short: "Have a running byway read its configuration again",
		Long: "Have a running byway read its configuration file again. What is the same in it is not\n" +
			"touched: open ports, chains with what they keep ready, lists. Live tunnels go on as they\n" +
			"began. A file with a mistake changes nothing: the mistake is told here, with its place,\n" +
			"and byway runs on. SIGHUP does the same, and tells in the log.",
		Args: cobra.NoArgs,
	}
	ask := controlFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		said, err := ask(c.Context(), "reload")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), said)
		return err
	}
	return c
}

// reloads has s read file again when it is asked to, by SIGHUP or by the control socket, and when
// the file changes, if it says so itself.
func reloads(ctx context.Context, s *local.Server, first *configs.Client, file string, log *slog.Logger) (stop func()) {
	files := make(chan []string, 1) // to watch from now on
	load := func() (*configs.Client, error) {
		cfg, err := configs.LoadClient(file)
		if err == nil {
			watched(files, cfg)
		}
		return cfg, err
	}
	s.LoadFrom(load)
	watched(files, first)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer signal.Stop(hangups)
		changes := make(chan struct{})
		go func() {
			defer close(changes)
			watch(ctx, files, func() { changes <- struct{}{} })
		}()
		for {
			select {
			case <-hangups:
			case _, ok := <-changes:
				if !ok {
					return
				}
				log.Info("a file has changed")
			}
			_, _ = s.ReloadFrom(ctx, load) // which logs
		}
	}()
	return func() { cancel(); <-done }
}

// watched puts the files of cfg into files, in place of those that are there.
func watched(files chan []string, cfg *configs.Client) {
	var all []string
	if cfg.Reload.Watch {
		all = cfg.Files()
	}
	select {
	case <-files:
	default:
	}
	select {
	case files <- all:
	default: // somebody else was faster, with a later one
	}
}

// look is how often files are looked at. What is changed twice within it, as an editor
// does that truncates a file first, is one change.
const look = time.Second

// watch calls changed when one of files was changed, and then was left alone for a while, until
// ctx ends. It looks at them itself: a file may be a link that is moved, or on a system that tells
// nobody of changes.
func watch(ctx context.Context, files <-chan []string, changed func()) {
	var all, before, seen []string
	tick := time.NewTicker(look)
	defer tick.Stop()
	tick.Stop() // while there is nothing to look at
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-files:
			if !slices.Equal(now, all) {
				all = now
				before = states(all)
				seen = before
			}
			if tick.Stop(); len(all) > 0 {
				tick.Reset(look)
			}
		case <-tick.C:
			now := states(all)
			settled := slices.Equal(now, seen)
			seen = now
			if !settled || slices.Equal(now, before) {
				continue
			}
			before = now
			select {
			case <-ctx.Done():
				return
			default:
				changed()
			}
		}
	}
}

// states tells what files are like, to be compared.
func states(files []string) []string {
	all := make([]string, len(files))
	for i, path := range files {
		info, err := os.Stat(path)
		if err != nil {
			all[i] = "none"
			continue
		}
		all[i] = fmt.Sprint(info.Size(), info.ModTime().UnixNano(), info.Mode())
	}
	return all
}
