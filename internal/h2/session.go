package h2

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"
)

const (
	// initialWindow is what each stream may send us at once, in bytes, before its
	// window has grown; maxWindow is how far it may. The latter carries 500 Mbit/s
	// over a round trip of 200 ms (12.5 MB) and leaves room for one that grows.
	initialWindow = 256 << 10
	maxWindow     = 32 << 20

	// sessionWindow is never used up: see the package's doc.
	sessionWindow = 256 << 20

	// readFrame is the longest frame that we take. Their length costs no memory, since
	// DATA is not kept whole.
	readFrame = 256 << 10

	// maxHeaders bounds a response's header block, packed and unpacked.
	maxHeaders = 64 << 10

	// assumedStreams is how many streams the peer is taken to allow until it says so.
	assumedStreams = 100
)

// Options are those of a [Session].
type Options struct {
	// PingAfter is how long the peer may be silent before it is asked for a sign of
	// life, for which it has half of that again. It is required.
	PingAfter time.Duration

	// Budget bounds the growth of the streams' windows.
	Budget *Budget

	// Changed, unless nil, is called when the session has become free of streams, has
	// been given up or said goodbye to, has learnt the peer's settings, or has begun to
	// carry bulk. It must not block.
	Changed func(*Session)
}

// A Session is one HTTP/2 conn, at the client's end. It is safe for concurrent use.
type Session struct {
	conn          net.Conn
	o             Options
	local, remote net.Addr

	mu       sync.Mutex
	work     sync.Cond // the writer waits for frames
	control  []byte    // frames that may overtake the others
	out      []byte    // frames in their order
	last     *Stream   // of the last frame in out, if that is DATA and may get longer
	lastAt   int       // where in out that frame is
	swift    bool      // the writer wrote much, and the conn took it at once
	writing  bool      // the writer is at the conn
	batches  int       // that the writer has written
	streams  map[uint32]*Stream
	next     uint32 // stream to open
	reserved int
	resets   int   // streams reset since the last PING: the peer may not know yet
	window   int64 // what the peer takes, of all streams together
	widest   int64 // that window has been
	full     []*Stream
	peer     settings
	leaving  bool  // GOAWAY has come
	err      error // what the session ended with
	fields   *hpack.Encoder
	block    bytes.Buffer // that fields writes to

	health
	bulkUntil atomic.Int64 // in ns since began
	recv      receiver
}

// settings are the peer's.
type settings struct {
	known         bool
	streams       int
	initialWindow int64
	frame         int
}

// Start begins a session on conn, which it owns, and does not wait for the peer.
func Start(conn net.Conn, o Options) *Session {
	s := &Session{
		conn: conn, o: o, local: conn.LocalAddr(), remote: conn.RemoteAddr(),
		streams: make(map[uint32]*Stream), next: 1, window: baseWindow,
		peer: settings{streams: assumedStreams, initialWindow: baseWindow, frame: baseFrame},
	}
	s.work.L = &s.mu
	s.fields = hpack.NewEncoder(&s.block)
	s.recv.init(s)
	b := append(make([]byte, 0, 128), preface...)
	b = appendHead(b, 4*6, frameSettings, 0, 0)
	b = appendSetting(b, settingPush, 0)
	b = appendSetting(b, settingInitialWindow, initialWindow)
	b = appendSetting(b, settingFrameSize, readFrame)
	b = appendSetting(b, settingHeaderList, maxHeaders)
	s.out = appendWindow(b, 0, sessionWindow-baseWindow)
	s.health.start(s)
	go s.write()
	return s
}

// Reserve takes a slot for a stream, which Open or Release gives back, and
// reports whether there was one.
func (s *Session) Reserve() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.leaving || s.next > maxInt31-2 || s.busy() >= s.peer.streams {
		return false
	}
	s.reserved++
	return true
}

func (s *Session) busy() int { return len(s.streams) + s.reserved + s.resets }

// Release gives back a slot that is not needed.
func (s *Session) Release() {
	s.mu.Lock()
	s.reserved--
	idle := s.idle()
	s.mu.Unlock()
	s.changed(idle)
}

func (s *Session) idle() bool { return len(s.streams)+s.reserved == 0 }

func (s *Session) changed(really bool) {
	if really && s.o.Changed != nil {
		s.o.Changed(s)
	}
}

// A State is what a pool wants to know of a session.
type State struct {
	Ended   bool  // it takes no more streams, ever
	Streams int   // open, or reserved
	Bulk    bool  // a stream moved more than bulk within the last seconds, or holds up the others
	Doubt   bool  // the peer owes an answer
	Window  int64 // that the peer gives each stream; 0 if it is not known yet
}

// State returns the session's.
func (s *Session) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := State{
		Ended: s.err != nil || s.leaving || s.next > maxInt31-2, Streams: len(s.streams) + s.reserved,
		Bulk: s.bulkUntil.Load() > s.now() || s.window < s.widest/share, Doubt: s.doubt(),
	}
	if s.peer.known {
		state.Window = s.peer.initialWindow
	}
	return state
}

// Flows returns how many streams moved bulk lately.
func (s *Session) Flows() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, st := range s.streams {
		if st.bulkUntil.Load() > now {
			n++
		}
	}
	return n
}

// CloseIdle closes the session if no stream is open or reserved, and reports
// whether it is closed.
func (s *Session) CloseIdle() bool {
	s.mu.Lock()
	if s.err != nil || !s.idle() {
		defer s.mu.Unlock()
		return s.err != nil
	}
	s.err = &Error{Session: true, Unprocessed: true, Err: errIdle}
	s.stop()
	s.mu.Unlock()
	_ = s.conn.Close()
	return true
}

// stop ends what runs for the session; mu is held.
func (s *Session) stop() {
	s.health.stop()
	s.work.Signal()
}

// fail ends the session and all its streams with err.
func (s *Session) fail(err *Error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = err
	s.stop()
	for _, st := range s.streams {
		st.reset = err
		st.writable.Broadcast()
	}
	streams := s.streams
	s.streams = nil
	s.mu.Unlock()
	// The conn below a TLS conn is closed at once: to say goodbye may take time.
	if below, ok := s.conn.(interface{ NetConn() net.Conn }); ok {
		_ = below.NetConn().Close()
	}
	_ = s.conn.Close()
	for _, st := range streams {
		st.finish(err)
	}
	s.changed(true)
}
