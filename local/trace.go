package local

import (
	"errors"
	"log/slog"
	"time"

	"github.com/byway-proxy/byway/chain"
	"github.com/byway-proxy/byway/local/names"
	"github.com/byway-proxy/byway/relay"
	"github.com/byway-proxy/byway/route"
)

// Trace writes what a relay does to log. It never tells targets, users or clients:
// a failure is told by hop, phase and cause, which is what helps. A fault of byway itself
// is told with the stack, to be reported.
func Trace(log *slog.Logger) *relay.Trace {
	return &relay.Trace{
		Opened: func(_ relay.Request, d relay.Decision, took time.Duration) {
			log.Debug("opened", "via", d.Via, "took", took.Round(time.Microsecond))
		},
		Failed: func(r relay.Request, d relay.Decision, err error) {
			if errors.Is(err, relay.ErrBlocked) && d.Rule != route.NoRule {
				log.Debug("blocked", "listener", r.Listener, "rule", d.Rule) // as it was asked for
				return
			}
			log.Warn("failed", "listener", r.Listener, "via", d.Via, "error", chain.Reason(err))
			fault(log, err)
		},
		Closed: func(_ relay.Request, d relay.Decision, s relay.Stats) {
			attrs := []any{"via", d.Via, "up", s.Up, "down", s.Down, "lasted", s.Lasted.Round(time.Millisecond)}
			if s.Err != nil {
				attrs = append(attrs, "error", chain.Reason(s.Err))
			}
			log.Debug("closed", attrs...)
			fault(log, s.Err)
		},
		BadClient: func(listener string, err error) {
			log.Debug("bad client", "listener", listener, "error", chain.Reason(err))
			fault(log, err)
		},
	}
}

// fault tells of err if it is a panic.
func fault(log *slog.Logger, err error) {
	var p *chain.PanicError
	if errors.As(err, &p) {
		log.Error("one tunnel was cut, the others go on; please report this", "error", p.Error(), "stack", string(p.Stack))
	}
}

// dnsTrace writes how the servers of a DNS listener fare to log.
func dnsTrace(log *slog.Logger, listener string) *names.Trace {
	return &names.Trace{
		Failed: func(server string, err error) {
			log.Warn("DNS server fails", "listener", listener, "server", server, "error", chain.Reason(err))
		},
		Works: func(server string) { log.Info("DNS server works again", "listener", listener, "server", server) },
	}
}
