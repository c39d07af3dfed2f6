package netlab

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A Recorder is where all packets of a host go that no link leads elsewhere. It
// answers nothing.
type Recorder struct {
	host *Host

	mu      sync.Mutex
	packets []string // what came, in order
	noise   int      // the kernel's own packets to its link
}

// Record gives h a default route, for IPv4 and IPv6, that leads to a recorder, and an
// IPv6 address to send from. It is the way that a packet takes which goes astray.
func (l *Lab) Record(h *Host) *Recorder {
	l.t.Helper()
	const device = "astray"
	var f *os.File
	var err error
	if e := h.Do(func() { f, err = openTUN(device) }); e != nil || err != nil {
		l.t.Fatal(e, err)
	}
	l.ip("-n", h.ns, "link", "set", device, "up", "mtu", fmt.Sprint(mtu))
	l.ip("-n", h.ns, "addr", "add", "192.0.2.1/32", "dev", device)
	l.ip("-n", h.ns, "-6", "addr", "add", "2001:db8::1/128", "dev", device, "nodad")
	l.ip("-n", h.ns, "route", "add", "default", "dev", device, "src", "192.0.2.1")
	l.ip("-n", h.ns, "-6", "route", "add", "default", "dev", device)
	r := &Recorder{host: h}
	l.wg.Go(func() {
		for {
			buf := make([]byte, mtu)
			n, err := f.Read(buf)
			if err != nil {
				return
			}
			r.note(buf[:n])
		}
	})
	l.t.Cleanup(func() { _ = f.Close() })
	return r
}

// note tells the packets of programs from those that a kernel sends by itself when a
// device comes up (router solicitation, membership reports), to its own link.
func (r *Recorder) note(packet []byte) {
	text, link := describe(packet)
	r.mu.Lock()
	defer r.mu.Unlock()
	if link {
		r.noise++
		return
	}
	r.packets = append(r.packets, text)
}

// describe tells of a packet, and whether it is for the sender's own link only.
func describe(p []byte) (text string, link bool) {
	var (
		to    netip.Addr
		proto byte
		rest  []byte
	)
	switch {
	case len(p) >= 20 && p[0]>>4 == 4:
		to, proto, rest = netip.AddrFrom4([4]byte(p[16:20])), p[9], p[min(len(p), int(p[0]&15)*4):]
	case len(p) >= 40 && p[0]>>4 == 6:
		to, proto, rest = netip.AddrFrom16([16]byte(p[24:40])), p[6], p[40:]
	default:
		return fmt.Sprintf("%d bytes that are no IP packet", len(p)), false
	}
	name := map[byte]string{1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6"}[proto]
	if name == "" {
		name = fmt.Sprintf("protocol %d", proto)
	}
	if (proto == 6 || proto == 17) && len(rest) >= 4 {
		return fmt.Sprintf("%s to %s", name, netip.AddrPortFrom(to, binary.BigEndian.Uint16(rest[2:]))), false
	}
	return fmt.Sprintf("%s to %s", name, to), to.IsLinkLocalMulticast()
}

// Seen returns what has come so far, and how many packets more the kernel sent to its
// own link. What was sent before the call is in it.
func (r *Recorder) Seen() (packets []string, noise int) {
	r.host.lab.t.Helper()
	const mark = "udp to 203.0.113.255:9"
	count := func() (n int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, p := range r.packets {
			if p == mark {
				n++
			}
		}
		return n
	}
	before := count()
	conn, err := r.host.DialContext(r.host.lab.t.Context(), "udp", "203.0.113.255:9")
	if err == nil {
		_, err = conn.Write([]byte("mark"))
		_ = conn.Close()
	}
	if err != nil {
		r.host.lab.t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); count() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.host.lab.t.Fatal("the recorder records nothing")
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.packets {
		if p != mark {
			packets = append(packets, p)
		}
	}
	return packets, r.noise
}

// Etc has programs that "ip netns exec" runs on the host find text as /etc/name.
func (h *Host) Etc(name, text string) {
	h.lab.t.Helper()
	dir := filepath.Join("/etc/netns", h.ns)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		h.lab.t.Fatal(err)
	}
	h.lab.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil { //nolint:gosec // for programs that are not root's
		h.lab.t.Fatal(err)
	}
}

// Add gives the host another address.
func (h *Host) Add(addr string) {
	h.lab.t.Helper()
	h.lab.ip("-n", h.ns, "addr", "add", addr, "dev", "lo", "nodad")
}
