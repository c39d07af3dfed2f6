package local

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-proxy/byway/internal/testnet"
)

func TestSniffGivesUpAtItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := testnet.Pipe(0)
		began := time.Now()
		_, _, err := sniff(a, 10*time.Second)
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		_ = a.Close()
		_ = b.Close()
	})
}

// FuzzSniff checks that sniffing loses nothing and leaves no deadline behind.
func FuzzSniff(f *testing.F) {
	for _, s := range []string{"", "\x04\x01", "\x05\x01\x00", "GET / HTTP/1.1\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\n\r\n", "\x16\x03\x01", "\x00"} {
		f.Add([]byte(s))
	}
	f.Add(bytes.Repeat([]byte{5}, 3*sniffed))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, b := testnet.Pipe(0)
		defer a.Close()
		if len(data) > 100<<10 {
			return
		}
		if _, err := b.Write(data); err != nil {
			t.Fatal(err)
		}
		_ = b.Close()
		speaks, c, err := sniff(a, time.Minute)
		if len(data) == 0 {
			if err == nil {
				t.Error("nothing was sniffed, and no error")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if isSOCKS := data[0] == 4 || data[0] == 5; isSOCKS != (speaks == speaksSOCKS) {
			t.Errorf("first byte %#x: protocol %d", data[0], speaks)
		}
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
			t.Errorf("read %d of %d bytes, %v", len(got), len(data), err)
		}
	})
}
