package status

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"strings"
	"time"
)

//go:embed page
var page embed.FS

// A Server serves the metrics, and a page to those who hold the token.
type Server struct {
	Board *Board

	// Token is asked for by the page, not by the metrics. "" asks for none, which is for a unix
	// socket that has a mode.
	Token string

	// Hosts are by what names it is called: a page of another name, whose name was made to lead here
	// (DNS rebinding), gets nothing. Nil takes all, which is for a unix socket.
	Hosts []string

	// Actions are what the page may have done, by name: an argument in, a text for people out.
	Actions map[string]func(ctx context.Context, arg string) (string, error)
}

// NewToken returns a fresh token.
func NewToken() string { return rand.Text() }

const cookie = "byway_status"

// Serve serves l until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	h := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(io.Discard, "", 0),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = h.Close() })
	defer stop()
	if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Handler returns all that is served.
func (s *Server) Handler() http.Handler {
	files, _ := fs.Sub(page, "page") // it is there: it was embedded
	static := http.FileServerFS(files)
	m := http.NewServeMux()
	m.Handle("GET /metrics", s.Board.Metrics())
	m.HandleFunc("GET /{$}", static.ServeHTTP)
	for _, name := range []string{"app.js", "style.css", "icon.svg"} {
		m.Handle("GET /"+name, static)
	}
	m.HandleFunc("POST /login", s.login)
	m.HandleFunc("GET /events", s.events)
	m.HandleFunc("GET /snapshot", s.snapshot)
	m.HandleFunc("POST /do/{action}", s.do)
	// A page of another origin neither reads nor posts anything here.
	return s.called(headers(http.NewCrossOriginProtection().Handler(m)))
}

// called refuses requests that call the server by another name.
func (s *Server) called(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, h := range s.Hosts {
			if strings.EqualFold(h, r.Host) {
				next.ServeHTTP(w, r)
				return
			}
		}
		if s.Hosts != nil {
			http.Error(w, "this is the status page of byway, and not "+r.Host, http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
			"base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// good compares in constant time.
func (s *Server) good(token string) bool {
	a, b := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.Token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// admitted reports whether r comes with the token, or answers it.
func (s *Server) admitted(w http.ResponseWriter, r *http.Request) bool {
	if s.Token == "" {
		return true
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if c, err := r.Cookie(cookie); !ok && err == nil {
		token = c.Value
	}
	if token != "" && s.good(token) {
		return true
	}
	http.Error(w, "the token is missing or wrong", http.StatusUnauthorized)
	return false
}

// login takes the token, and gives a cookie that no script can read and no other site can send.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<10))
	if err != nil || s.Token != "" && !s.good(strings.TrimSpace(string(b))) {
		http.Error(w, "the token is wrong", http.StatusUnauthorized)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookie, Value: s.Token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, //nolint:gosec // not Secure: it is plain HTTP on loopback
	})
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) snapshot(w http.ResponseWriter, r *http.Request) {
	if !s.admitted(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.Board.Snapshot(true))
}

// events sends a snapshot each second, as server-sent events.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	if !s.admitted(w, r) {
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	c := http.NewResponseController(w)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for first := true; ; first = false {
		b, err := json.Marshal(s.Board.Snapshot(first))
		if err != nil {
			return
		}
		_ = c.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if _, err := fmt.Fprintf(w, "data: %s\n\n", b); err != nil || c.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// do has something done.
func (s *Server) do(w http.ResponseWriter, r *http.Request) {
	if !s.admitted(w, r) {
		return
	}
	act := s.Actions[r.PathValue("action")]
	if act == nil {
		http.Error(w, "there is no such action", http.StatusNotFound)
		return
	}
	arg, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<10))
	if err != nil {
		http.Error(w, "that is too much", http.StatusBadRequest)
		return
	}
	said, err := act(r.Context(), string(arg))
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, said)
}
