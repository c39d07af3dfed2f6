package main

import (
	"log/slog"

	"github.com/byway-proxy/byway/internal/sockets"
)

// unclaimed closes the sockets that a service manager has opened at addresses of nobody, and says so.
func unclaimed(a *sockets.Activated, log *slog.Logger) {
	for _, address := range a.Left() {
		log.Warn("a socket that was handed over is at no address of the configuration, and closed", "address", address)
	}
	a.Close()
}
