package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/egress"
)

// reloadsEgress has s read file again on SIGHUP, until stop is called. A file with a mistake changes nothing.
func reloadsEgress(ctx context.Context, s *egress.Server, first *configs.Egress, file string, log *slog.Logger) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer signal.Stop(hangups)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
			}
			next, err := configs.LoadEgress(file)
			var later []string
			if err == nil {
				later, err = s.Reload(first, next, log)
			}
			switch {
			case err != nil:
				log.Error("not reloaded; what was served is served on", "error", err)
			case later != nil:
				log.Warn("reloaded: the website and the certificate; the next start takes the rest", "tables", later)
			default:
				log.Info("reloaded")
			}
		}
	}()
	return func() { cancel(); <-done }
}
