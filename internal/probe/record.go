package probe

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"
)

// A Record is what a server did on one connection.
type Record struct {
	TLS    string   // what was agreed upon, or why nothing was; "" without a handshake
	Answer []string // text by line, or frames; Date is "*"
	Sizes  string   // of the TLS records that came, but on HTTP/2
	End    string   // how and when the connection ended
	Failed string   // what kept the probe from being sent, which is no answer
}

// String is all of it, as it is compared.
func (r Record) String() string {
	var b strings.Builder
	for _, part := range []struct{ name, text string }{{"failed", r.Failed}, {"tls", r.TLS}, {"sizes", r.Sizes}, {"end", r.End}} {
		if part.text != "" {
			fmt.Fprintf(&b, "%s: %s\n", part.name, part.text)
		}
	}
	for _, line := range r.Answer {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	return b.String()
}

// Summary is the answer in a few words.
func (r Record) Summary() string {
	var words []string
	for _, line := range r.Answer {
		if m := status.FindStringSubmatch(line); m != nil {
			words = append(words, m[1]+m[2])
		} else if m := control.FindString(line); m != "" {
			words = append(words, m)
		}
	}
	if len(words) == 0 && strings.Contains(r.TLS, "error") {
		words = append(words, r.TLS)
	}
	if len(words) == 0 && len(r.Answer) > 0 {
		words = append(words, fmt.Sprintf("%d bytes or frames", len(r.Answer)))
	}
	if len(words) == 0 {
		words = append(words, "nothing")
	}
	return strings.Join(append(words, r.End), ", ")
}

var (
	status  = regexp.MustCompile(`^HTTP/1\.[01] (\d\d\d)|:status="(\d\d\d)"`)
	control = regexp.MustCompile(`RST_STREAM \d+|GOAWAY last=\d+ code=\d+`)
	random  = regexp.MustCompile(`[0-9a-f]{60}`) // net/http's boundary of several ranges
	port    = regexp.MustCompile(`h3=":\d+"`)    // where a server has HTTP/3
	date    = regexp.MustCompile(`(?m)^Date: [^\r\n]+`)
)

// lines tells a text by line, without what differs by the hour.
func lines(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	b = port.ReplaceAll(b, []byte(`h3=":*"`))
	b = random.ReplaceAll(date.ReplaceAll(b, []byte("Date: *")), []byte("*"))
	head, body := b, []byte(nil)
	if i := strings.Index(string(b), "\r\n\r\n"); i >= 0 && len(b) > 4096 {
		head, body = b[:i+4], b[i+4:]
	}
	var all []string
	for _, line := range strings.SplitAfter(string(head), "\n") {
		if line != "" {
			all = append(all, strings.Trim(fmt.Sprintf("%q", line), `"`))
		}
	}
	if body != nil {
		all = append(all, fmt.Sprintf("%d bytes %s", len(body), excerpt(body)))
	}
	return all
}

// Excerpt tells a frame's bytes.
func Excerpt(frame string, b []byte) string {
	return fmt.Sprintf("%s %d %s", frame, len(b), excerpt(b))
}

// excerpt tells bytes: themselves if they are few, or else by their hash.
func excerpt(b []byte) string {
	if len(b) <= 256 {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("sha256 %x", sha256.Sum256(b))
}
