package names

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	mediaType = "application/dns-message" // RFC 8484 §6
	idleConn  = 30 * time.Second          // before a conn without a question is closed
)

// https asks by DNS over HTTPS (RFC 8484).
type https struct {
	url       string
	transport *http.Transport
}

func newHTTPS(u *url.URL, dial dialer, config *tls.Config) *https {
	return &https{url: u.String(), transport: &http.Transport{
		Proxy:               nil, // not even that of the environment
		DialContext:         dial,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true,
		IdleConnTimeout:     idleConn,
		MaxConnsPerHost:     8, // of HTTP/1.1; one is enough for HTTP/2
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 2 * time.Second, PingTimeout: 2 * time.Second},

		MaxResponseHeaderBytes: 64 << 10,
	}}
}

func (h *https) ask(ctx context.Context, k key) (*answer, error) {
	query, err := k.query(0, true) // ID 0 for caches on the way: RFC 8484 §4.1
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(query))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", mediaType)
	r.Header.Set("Accept", mediaType)
	r.Header.Set("User-Agent", "")           // none is sent (RFC 8484 §8.2)
	r.Header["Idempotency-Key"] = []string{} // not sent: it lets a conn that died be replaced
	resp, err := h.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read, or of no interest
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != mediaType {
		return nil, errors.New("the answer is no DNS message")
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, dns.MaxMsgSize+1))
	if err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		return nil, err
	}
	if !k.answers(m) {
		return nil, errAnswer
	}
	return answerOf(m, true, ageOf(resp.Header)), nil
}

var errAnswer = errors.New("the answer is to another question")

// ageOf returns for how many seconds an answer was kept on the way (RFC 8484 §5.1).
func ageOf(h http.Header) uint32 {
	text := strings.TrimSpace(h.Get("Age"))
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if errors.Is(err, strconv.ErrRange) {
		return 1<<32 - 1
	}
	return uint32(n) //nolint:gosec // of 32 bits, and 0 if there is an error
}

func (h *https) close() { h.transport.CloseIdleConnections() }
