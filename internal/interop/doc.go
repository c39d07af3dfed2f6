// Package interop tests byway with software that its authors did not write: through
// other makers' proxies, for other makers' clients, in front of another's website.
//
//	go test -tags interop -timeout 10m ./internal/interop
//
// builds the command, runs it as a user would, and starts the peers on loopback ports
// of their own, as whatever user runs the tests. Nothing leaves the machine. A peer
// that is not installed skips its tests, and fails them where CI is set in the
// environment. On Debian they are:
//
//	apt install dante-server microsocks squid tinyproxy haproxy testssl.sh openssh-server openssh-client \
//	    nginx-light nghttp2-proxy curl wget git netcat-openbsd nodejs npm chromium \
//	    webext-ublock-origin-firefox python3 python3-requests python3-socks \
//	    python3-python-socks python3-async-timeout torsocks proxychains4 ncat socat \
//	    default-jdk-headless
//	go install github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9
//	go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible
//	npm ci --prefix internal/interop/testdata/node
//
// TestClients is the matrix of docs/clients.md: all clients, in all their ways.
//
// TestCamouflage holds the egress' website to Caddy's, probe by probe; docs/camouflage-report.md
// is what it saw. TestConformance has h2spec and testssl compare the two.
//
// The command is built with the race detector, unless BYWAY_INTEROP_RACE=0;
// BYWAY_INTEROP_BINARY names one that exists to be tested instead.
//
// # What the peers do alone
//
// A tunnel has two directions, and each ends by itself. Not every proxy keeps to
// that, so each peer is first measured without byway, in the same run, and a chain
// is held to what its peers do alone: no more, and no less. Seen with Debian 12's
// (TestControl logs what the run at hand sees):
//
//	peer             after the client's   after the target's   target
//	                 end, the target's    end, the client's    by name
//	                 bytes go on          bytes go on
//
//	dante 1.4.2      yes                  yes                  yes; by SOCKS4a no
//	OpenSSH 9.2 -D   yes                  yes                  yes
//	armon/go-socks5  yes                  yes                  yes
//	byway egress     yes                  yes                  yes
//	squid 5.7        no                   no                   yes
//	tinyproxy 1.11   no                   no                   yes
//	microsocks       no                   no                   yes
//
// Those that say no close both directions at the first end of either, after they
// have delivered what was sent before it. A tunnel that is a stream of an HTTP/2
// session (an https hop) is spared that by the hops before it: they carry the
// session, whose end is not the tunnel's. So squid, egress passes half-closes on;
// egress, squid does not.
//
// nghttpx 1.52 before squid keeps a client's END_STREAM to itself, for net/http's client
// as for byway (TestNghttpxControl): all bytes come, but the target waits for the end. The
// target's end closes both directions, as squid does it.
package interop
