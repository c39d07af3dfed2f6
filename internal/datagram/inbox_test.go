package datagram_test

import (
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/byway-proxy/byway/internal/datagram"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func read(t *testing.T, i *datagram.Inbox, size int) (string, net.Addr, error) {
	t.Helper()
	p := make([]byte, size)
	n, from, err := i.ReadFrom(p)
	return string(p[:n]), from, err
}

func TestInOrderAndWhole(t *testing.T) {
	var i datagram.Inbox
	from := &net.UDPAddr{Port: 7}
	b := []byte("one")
	i.Put(b, from)
	b[0] = 'x' // the inbox has its own copy
	i.Put(nil, nil)
	i.Fail(os.ErrExist)
	i.Fail(os.ErrExist) // told once
	i.Put([]byte("three"), nil)
	for n, want := range []struct {
		data string
		from net.Addr
		err  error
	}{{"one", from, nil}, {"", nil, nil}, {"", nil, os.ErrExist}, {"thr", nil, nil}} {
		if data, from, err := read(t, &i, 3); data != want.data || from != want.from || err != want.err {
			t.Errorf("read %d: %q from %v, %v", n, data, from, err)
		}
	}
}

func TestLimit(t *testing.T) {
	i := datagram.Inbox{Limit: 1000}
	kept := 0
	for range 100 {
		if i.Put(make([]byte, 36), nil) {
			kept++
		}
	}
	if kept != 10 {
		t.Errorf("kept %d", kept)
	}
	_, _, _ = read(t, &i, 100)
	if !i.Put(make([]byte, 36), nil) || i.Put(nil, nil) {
		t.Error("a datagram that was read does not make room for one more")
	}
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var i datagram.Inbox
		began := time.Now()
		_ = i.SetReadDeadline(began.Add(time.Second))
		if _, _, err := read(t, &i, 1); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		i.Put([]byte("x"), nil)
		if _, _, err := read(t, &i, 1); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read after the deadline: %v", err)
		}
		_ = i.SetReadDeadline(time.Time{})
		if got, _, err := read(t, &i, 1); got != "x" || err != nil {
			t.Errorf("after the deadline was taken back: %q, %v", got, err)
		}
		_ = i.SetReadDeadline(time.Now().Add(time.Hour))
		i.Close(net.ErrClosed)
	})
}

func TestCloseWakesEveryReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var i datagram.Inbox
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, _, err := read(t, &i, 1); !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if !i.Close(net.ErrClosed) || i.Close(os.ErrExist) || i.Put([]byte("x"), nil) || i.Err() != net.ErrClosed {
			t.Error("closed twice, or took a datagram when closed")
		}
		wg.Wait()
	})
}

func TestConcurrentReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var i datagram.Inbox
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, _, err := read(t, &i, 1); err != nil {
					t.Error(err)
				}
			})
		}
		for range 50 {
			wg.Go(func() { i.Put([]byte("x"), nil) })
		}
		wg.Wait()
	})
}

// TestAwait: it returns when there is a datagram, a failure, a deadline that has passed, or an end,
// and takes none of them.
func TestAwait(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(*datagram.Inbox)
		want error
	}{
		"datagram": {func(i *datagram.Inbox) { i.Put([]byte("x"), nil) }, nil},
		"failure":  {func(i *datagram.Inbox) { i.Fail(os.ErrExist) }, os.ErrExist},
		"deadline": {func(i *datagram.Inbox) { _ = i.SetReadDeadline(time.Now()) }, os.ErrDeadlineExceeded},
		"end":      {func(i *datagram.Inbox) { i.Close(net.ErrClosed) }, net.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var i datagram.Inbox
				began := time.Now()
				time.AfterFunc(time.Second, func() { test.do(&i) })
				for range 2 {
					i.Await()
				}
				if took := time.Since(began); took != time.Second {
					t.Errorf("after %v", took)
				}
				if _, _, err := read(t, &i, 1); !errors.Is(err, test.want) {
					t.Errorf("then %v, want %v", err, test.want)
				}
			})
		})
	}
}
