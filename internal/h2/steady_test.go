package h2

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestReadSteady: no deadline ends it, and an empty one waits, with nothing lost.
func TestReadSteady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := begin(t, 0, Options{})
		st := tunnel(t, s, p)
		_ = st.SetReadDeadline(time.Unix(1, 0))
		type result struct {
			got string
			err error
		}
		results := make(chan result, 1)
		buf := make([]byte, 8)
		read := func(p []byte) {
			go func() {
				n, err := st.ReadSteady(p)
				results <- result{string(p[:n]), err}
			}()
			synctest.Wait()
		}
		for _, empty := range []bool{true, false} {
			if empty {
				read(nil)
			} else {
				read(buf)
			}
			if len(results) > 0 {
				t.Fatalf("empty %t: it did not wait: %v", empty, <-results)
			}
			must(t, p.WriteData(1, false, []byte("data")))
			want := result{"data", nil}
			if empty {
				want.got = ""
			}
			if got := <-results; got != want {
				t.Errorf("empty %t: %v", empty, got)
			}
			if empty {
				read(buf)
				if got := <-results; got != (result{"data", nil}) {
					t.Errorf("after it: %v", got)
				}
			}
		}
		read(nil)
		must(t, p.WriteData(1, true, nil))
		if got := <-results; got.err != nil && got.err != io.EOF {
			t.Errorf("at the end: %v", got)
		}
		if n, err := st.ReadSteady(buf); n != 0 || err != io.EOF {
			t.Errorf("after the end: %d, %v", n, err)
		}
		other := open(t, s)
		go func() {
			_, err := other.ReadSteady(nil)
			results <- result{"", err}
		}()
		synctest.Wait()
		_ = other.Abort()
		if got := <-results; got.err == nil {
			t.Error("Abort did not end it")
		} else if _, ok := got.err.(*net.OpError); !ok {
			t.Errorf("error %v", got.err)
		}
	})
}
