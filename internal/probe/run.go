package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Target is a server to look at.
type Target struct {
	Vars  map[string]string // what the table may name in braces
	Quiet time.Duration     // without a byte, after which an answer is taken to be whole
}

// endLimit is for a server to end a conn after we have.
const endLimit = 5 * time.Second

// Run sends a probe on c, records what comes, and closes c.
func Run(c *net.TCPConn, target Target, p Probe) Record {
	s := &session{target: target, probe: p, raw: &tap{TCPConn: c}}
	s.conn = s.raw
	defer func() { _ = s.raw.Close() }()
	for _, step := range p.Steps {
		rest, err := expand(step.Rest, p.vars, target.Vars)
		if err == nil {
			err = s.do(step.Verb, rest)
		}
		if err != nil {
			s.rec.Failed = fmt.Sprintf("line %d: %v", step.Line, err)
			return s.rec
		}
		if s.reset {
			s.rec.End = "reset by us"
			return s.rec
		}
	}
	s.finish()
	return s.rec
}

type session struct {
	target Target
	probe  Probe
	raw    *tap
	conn   net.Conn // raw, or the TLS conn on it
	in     *inbox   // nil until something was sent
	h2     bool
	broken bool // TLS failed
	reset  bool
	rec    Record
}

func (s *session) begin() {
	if s.in == nil {
		s.in = read(s.conn)
	}
}

// send writes as long as the server listens: that it does not is seen in what it sends.
func (s *session) send(b []byte) error {
	s.begin()
	if !s.in.over() {
		_ = s.conn.SetWriteDeadline(time.Now().Add(endLimit))
		_, _ = s.conn.Write(b)
	}
	return nil
}

func (s *session) do(verb, rest string) error {
	if s.broken {
		return nil
	}
	switch verb {
	case "tls":
		return s.handshake(rest)
	case "send":
		return s.send([]byte(rest))
	case "drip":
		for i := range len(rest) {
			_ = s.send([]byte{rest[i]})
			time.Sleep(3 * time.Millisecond)
		}
	case "noise":
		n, err := strconv.ParseUint(rest, 10, 16)
		if err != nil {
			return err
		}
		return s.send(noise(int(n)))
	case "pause":
		s.begin()
		s.in.quiet(s.target.Quiet)
	case "wait":
		n, err := strconv.ParseUint(rest, 10, 10)
		if err != nil {
			return err
		}
		s.begin()
		select {
		case <-s.in.ended:
		case <-time.After(time.Duration(n) * time.Second):
		}
	case "fin":
		s.begin()
		s.closeWrite()
	case "rst":
		s.reset = true
		return s.raw.SetLinger(0)
	default:
		return s.doFrame(verb, rest)
	}
	return nil
}

// closeWrite ends our direction: of TLS, or of TCP.
func (s *session) closeWrite() {
	if t, ok := s.conn.(*tls.Conn); ok {
		_ = t.CloseWrite()
	}
	_ = s.raw.CloseWrite()
}

// noise is as good as random, and the same each time.
func noise(n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

// finish waits for the answer to be whole, ends the conn, and notes how that went.
func (s *session) finish() {
	s.begin()
	if s.in.quiet(s.target.Quiet) {
		s.closeWrite()
		select {
		case <-s.in.ended:
		case <-time.After(endLimit):
		}
		s.rec.End = "open; after our end " + s.raw.drain(endLimit)
	} else {
		s.rec.End = "closed by " + s.raw.drain(endLimit)
	}
	_ = s.raw.Close()
	<-s.in.ended
	switch got := s.in.bytes(); {
	case s.broken:
	case s.h2:
		s.rec.Answer = settled(describe(got), strings.HasPrefix(s.rec.End, "closed"))
	default:
		s.rec.Answer = lines(got)
	}
	if _, ok := s.conn.(*tls.Conn); ok && !s.h2 {
		s.rec.Sizes = s.raw.sizes()
	}
}

// settled leaves out what may or may not have been written when a server gave a session up, since
// goroutines of its write: the greeting, if there was a GOAWAY or the preface was none.
func settled(answer []string, closed bool) []string {
	if closed && len(answer) == 1 {
		return nil
	}
	failed := slices.ContainsFunc(answer, func(l string) bool {
		return strings.HasPrefix(l, "[0] GOAWAY") && !strings.Contains(l, "code=0 ")
	})
	if !failed {
		return answer
	}
	return slices.DeleteFunc(answer, func(l string) bool {
		return l == "[0] SETTINGS ack" || strings.HasPrefix(l, "[0] WINDOW_UPDATE")
	})
}

func (s *session) handshake(options string) error {
	cfg := &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // it looks at servers, and believes none
		ServerName:         s.target.Vars["site"],
		// What is sent at once has to be read at once: a server that closes over the
		// first of two records resets the connection, or not, as the second comes.
		DynamicRecordSizingDisabled: true,
	}
	for _, option := range strings.Fields(options) {
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "alpn":
			cfg.NextProtos = strings.Split(value, ",")
		case "sni":
			cfg.ServerName = strings.TrimPrefix(value, "-")
		case "max", "min":
			v := map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[value]
			if key == "max" {
				cfg.MaxVersion, cfg.MinVersion = v, min(v, tls.VersionTLS10)
			} else {
				cfg.MinVersion = v
			}
		case "curves":
			for _, name := range strings.Split(value, ",") {
				cfg.CurvePreferences = append(cfg.CurvePreferences, curves[name])
			}
		case "ciphers":
			for _, name := range strings.Split(value, ",") {
				cfg.CipherSuites = append(cfg.CipherSuites, suite(name))
			}
		default:
			return fmt.Errorf("tls has no option %q", option)
		}
	}
	t := tls.Client(s.raw, cfg)
	_ = s.raw.SetDeadline(time.Now().Add(endLimit))
	err := t.HandshakeContext(context.Background()) // the deadline bounds it
	_ = s.raw.SetDeadline(time.Time{})
	s.conn = t
	if err != nil {
		s.broken = true
		s.rec.TLS = "error: " + err.Error()
		s.in = read(eof{})
		return nil //nolint:nilerr // it is what the server did
	}
	cs := t.ConnectionState()
	s.h2 = cs.NegotiatedProtocol == "h2"
	s.rec.TLS = fmt.Sprintf("%s %s %s alpn=%q", tls.VersionName(cs.Version), tls.CipherSuiteName(cs.CipherSuite), cs.CurveID, cs.NegotiatedProtocol)
	return nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

var curves = map[string]tls.CurveID{
	"P256": tls.CurveP256, "P384": tls.CurveP384, "P521": tls.CurveP521,
	"X25519": tls.X25519, "X25519MLKEM768": tls.X25519MLKEM768,
}

func suite(name string) uint16 {
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if s.Name == name {
			return s.ID
		}
	}
	return 0
}
