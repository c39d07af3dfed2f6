package httpproxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/byway-proxy/byway/chain"
)

// TestFirstDataIsRefused: a stream that the proxy says it did nothing about is asked for
// again, with its first data; one that it may have acted on is not (RFC 9113 §8.7).
func TestFirstDataIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		refuse func(f *http2.Framer, id uint32) error
		spent  bool
	}{
		"REFUSED_STREAM":   {func(f *http2.Framer, id uint32) error { return f.WriteRSTStream(id, http2.ErrCodeRefusedStream) }, false},
		"GOAWAY before it": {func(f *http2.Framer, _ uint32) error { return f.WriteGoAway(0, http2.ErrCodeNo, nil) }, false},
		"GOAWAY behind it": {func(f *http2.Framer, id uint32) error {
			return errors.Join(f.WriteGoAway(id, http2.ErrCodeNo, nil), io.EOF) // and the end of the conn
		}, true},
		"another reset": {func(f *http2.Framer, id uint32) error { return f.WriteRSTStream(id, http2.ErrCodeInternal) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, l, _ := world(t)
				var asked atomic.Int32
				go acceptRaw(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{testCert()}, NextProtos: []string{"h2"}}),
					func(f *http2.Framer, id uint32) error {
						if asked.Add(1) == 1 {
							return test.refuse(f, id)
						}
						var head bytes.Buffer
						_ = hpack.NewEncoder(&head).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
						err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: head.Bytes(), EndHeaders: true})
						return errors.Join(err, f.WriteData(id, false, []byte("hello")))
					})
				c, err := chain.New(client, HopTLS("hop1:443", HopOptions{TLS: trust(testCert())}))
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					_ = errors.Join(c.Close(), l.Close())
					time.Sleep(time.Minute) // for the goodbyes
				}()
				f := chain.NewFirstData(nil, []byte("hello"))
				sent, got, err := firstDial(t, c, f)
				switch {
				case f.Spent() != test.spent:
					t.Errorf("spent: %v, error %v", f.Spent(), err)
				case test.spent && (!errors.Is(err, syscall.ECONNRESET) || asked.Load() != 1):
					t.Errorf("error %v, asked %d times", err, asked.Load())
				case !test.spent && (err != nil || sent != 5 || got != "hello" || asked.Load() != 2):
					t.Errorf("%d went along, got %q, error %v, asked %d times", sent, got, err, asked.Load())
				}
			})
		})
	}
}

// acceptRaw serves HTTP/2 on the conns of l: answer is called for each stream when its
// data has come, and an error of it ends the conn.
func acceptRaw(l net.Listener, answer func(f *http2.Framer, id uint32) error) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
			f := http2.NewFramer(c, c)
			err := f.WriteSettings()
			for err == nil {
				var frame http2.Frame
				frame, err = f.ReadFrame()
				switch frame := frame.(type) {
				case *http2.SettingsFrame:
					if !frame.IsAck() {
						err = f.WriteSettingsAck()
					}
				case *http2.PingFrame:
					if !frame.IsAck() {
						err = f.WritePing(true, frame.Data)
					}
				case *http2.DataFrame:
					if len(frame.Data()) > 0 {
						err = answer(f, frame.StreamID)
					}
				}
			}
		}()
	}
}
