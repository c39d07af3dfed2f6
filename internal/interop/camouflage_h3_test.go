//go:build interop

package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/qlog"
	"github.com/quic-go/quic-go/qlogwriter"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/byway-proxy/byway/internal/probe"
)

// A quicLook is a connection of QUIC on which a probe's steps are done.
type quicLook struct {
	vars    map[string]string
	conn    *quic.Conn
	streams map[uint64]*quic.Stream // requests, by the number of the table

	wg    sync.WaitGroup
	mu    sync.Mutex
	lines map[uint64][]string // what came, by the number of the table, or own and a type
	set   string              // the server's transport parameters

	greet   sync.Once
	greeted chan struct{} // closed when the server has sent its SETTINGS
}

// own and its type stand for a stream that a server has opened.
const own = 1 << 32

// lookQUIC does a probe's steps on HTTP/3 and records what came.
func lookQUIC(ctx context.Context, addr string, vars map[string]string, p probe.Probe) probe.Record {
	steps, err := p.Expanded(vars)
	if err != nil {
		return probe.Record{Failed: err.Error()}
	}
	q := &quicLook{vars: vars, streams: make(map[uint64]*quic.Stream), lines: make(map[uint64][]string), greeted: make(chan struct{})}
	var rec probe.Record
	for _, s := range steps {
		if s.Verb != "tls" && q.conn == nil {
			break // there was no handshake
		}
		if err := q.do(ctx, addr, s); err != nil {
			var refused *handshakeError
			if errors.As(err, &refused) {
				rec.TLS, rec.End = "error: "+refused.Error(), "closed"
				return rec
			}
			return probe.Record{Failed: fmt.Sprintf("line %d: %v", s.Line, err)}
		}
	}
	select {
	case <-q.conn.Context().Done():
		rec.End = "closed: " + context.Cause(q.conn.Context()).Error()
	case <-time.After(quiet):
		rec.End = "open"
	}
	cs := q.conn.ConnectionState()
	_ = q.conn.CloseWithError(0x100, "")
	q.wg.Wait()
	rec.TLS = fmt.Sprintf("%s alpn=%q %s", cs.Version, cs.TLS.NegotiatedProtocol, q.set)
	var ids []uint64
	for id := range q.lines {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		for _, l := range q.lines[id] {
			name := fmt.Sprint(id)
			if id >= own {
				name = fmt.Sprintf("own %d", id-own)
			}
			rec.Answer = append(rec.Answer, fmt.Sprintf("[%s] %s", name, l))
		}
	}
	return rec
}

// A handshakeError is the server's answer, too.
type handshakeError struct{ error }

func (q *quicLook) do(ctx context.Context, addr string, s probe.Step) error {
	word, rest, _ := strings.Cut(s.Rest, " ")
	id, _ := strconv.ParseUint(word, 10, 16)
	switch s.Verb {
	case "tls":
		return q.handshake(ctx, addr, s.Rest)
	case "pause":
		select {
		case <-q.conn.Context().Done():
		case <-time.After(quiet / 3):
		}
	case "h3":
		var b []byte
		for pair := range strings.FieldsSeq(s.Rest) {
			key, value, _ := strings.Cut(pair, "=")
			k, _ := strconv.ParseUint(key, 10, 32)
			v, _ := strconv.ParseUint(value, 10, 32)
			b = quicvarint.Append(quicvarint.Append(b, k), v)
		}
		return q.uni(append([]byte{0}, frame3(4, b)...))
	case "uni":
		b, err := hex.DecodeString(s.Rest)
		if err != nil {
			return err
		}
		return q.uni(b)
	case "raw":
		b, err := hex.DecodeString(rest)
		if err != nil {
			return err
		}
		return q.send(id, b, false)
	case "stop":
		if code, err := strconv.ParseUint(rest, 10, 32); err == nil {
			q.streams[id].CancelWrite(quic.StreamErrorCode(code))
			return nil
		}
		return q.send(id, nil, true)
	case "data":
		text, end := strings.CutPrefix(rest, "end ")
		return q.send(id, frame3(0, []byte(text)), end)
	case "headers":
		text, end := strings.CutPrefix(rest, "end ")
		return q.send(id, frame3(1, fields3(text)), end)
	case "frame":
		words := append(strings.Fields(s.Rest), "")
		b, err := hex.DecodeString(strings.Join(words[3:], ""))
		if err != nil {
			return err
		}
		id, _ = strconv.ParseUint(words[2], 10, 16)
		kind, _ := strconv.ParseUint(words[0], 10, 16)
		return q.send(id, frame3(kind, b), false)
	default:
		return fmt.Errorf("%s is no step of QUIC", s.Verb)
	}
	return nil
}

func (q *quicLook) handshake(ctx context.Context, addr, options string) error {
	cfg := &tls.Config{InsecureSkipVerify: true, ServerName: q.vars["site"]} //nolint:gosec // it believes nobody
	for option := range strings.FieldsSeq(options) {
		switch key, value, _ := strings.Cut(option, "="); key {
		case "alpn":
			cfg.NextProtos = strings.Split(value, ",")
		case "sni":
			cfg.ServerName = strings.TrimPrefix(value, "-")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := quic.DialAddr(ctx, addr, cfg, &quic.Config{
		Tracer: func(context.Context, bool, quic.ConnectionID) qlogwriter.Trace { return (*parameters)(q) },
	})
	if err != nil {
		return &handshakeError{err}
	}
	q.conn = conn
	q.wg.Go(func() {
		for {
			s, err := conn.AcceptUniStream(context.Background())
			if err != nil {
				return
			}
			q.wg.Go(func() { q.read(0, s, true) })
		}
	})
	// What closes the connection would else race with the server's SETTINGS.
	select {
	case <-q.greeted:
	case <-conn.Context().Done():
	}
	return nil
}

func (q *quicLook) uni(b []byte) error {
	s, err := q.conn.OpenUniStream()
	if err == nil {
		_, _ = s.Write(b)
	}
	return nil
}

// send writes to a request's stream, as long as the server takes it.
func (q *quicLook) send(id uint64, b []byte, end bool) error {
	s := q.streams[id]
	if s == nil {
		var err error
		if s, err = q.conn.OpenStream(); err != nil {
			return nil //nolint:nilerr // that it has closed is told at the end
		}
		q.streams[id] = s
		q.wg.Go(func() { q.read(id, s, false) })
	}
	_ = s.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, _ = s.Write(b)
	if end {
		_ = s.Close()
	}
	return nil
}

// read reads a stream to its end, and notes its frames.
func (q *quicLook) read(id uint64, r io.Reader, uni bool) {
	var got bytes.Buffer
	if _, err := io.CopyN(&got, r, 1); err == nil && uni {
		_, _ = io.CopyN(&got, r, 2) // the type, and the frame's type and length
		_, _ = io.CopyN(&got, r, int64(got.Bytes()[got.Len()-1]))
		q.greet.Do(func() { close(q.greeted) })
	}
	_, err := io.Copy(&got, r)
	b := got.Bytes()
	q.mu.Lock()
	defer q.mu.Unlock()
	if uni {
		// Its type is its name: the server's streams have no order.
		kind, n, bad := quicvarint.Parse(b)
		if bad != nil {
			return
		}
		id, b = own+kind, b[n:]
	}
	q.lines[id] = append(q.lines[id], frames3(b)...)
	var reset *quic.StreamError
	switch {
	case err == nil:
		q.lines[id] = append(q.lines[id], "end")
	case errors.As(err, &reset):
		q.lines[id] = append(q.lines[id], fmt.Sprintf("reset %#x", uint64(reset.ErrorCode)))
	}
}

// parameters notes the transport parameters that a server sends, but for what is random.
type parameters quicLook

func (p *parameters) SupportsSchemas(string) bool      { return true }
func (p *parameters) AddProducer() qlogwriter.Recorder { return p }
func (p *parameters) Close() error                     { return nil }
func (p *parameters) RecordEvent(event qlogwriter.Event) {
	set, ok := event.(qlog.ParametersSet)
	if !ok || set.Initiator != qlog.InitiatorRemote {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set = fmt.Sprint(set.DisableActiveMigration, set.MaxIdleTimeout, set.MaxUDPPayloadSize, set.AckDelayExponent, set.MaxAckDelay, set.ActiveConnectionIDLimit,
		set.InitialMaxData, set.InitialMaxStreamDataBidiLocal, set.InitialMaxStreamDataBidiRemote, set.InitialMaxStreamDataUni,
		set.InitialMaxStreamsBidi, set.InitialMaxStreamsUni, set.MaxDatagramFrameSize, set.EnableResetStreamAt)
}
