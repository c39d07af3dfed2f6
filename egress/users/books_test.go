package users

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// faulty is a store that takes its time, or fails.
type faulty struct {
	Store
	takes time.Duration
	fails atomic.Bool
	puts  atomic.Int64
}

func (f *faulty) Put(key string, value []byte, revision uint64) (uint64, error) {
	if strings.HasPrefix(key, usagePrefix) {
		f.puts.Add(1)
		time.Sleep(f.takes)
		if f.fails.Load() {
			return 0, errors.New("the disk is full")
		}
	}
	return f.Store.Put(key, value, revision)
}

func storedUsage(t *testing.T, s Store, name string) (u Usage) {
	t.Helper()
	e, err := s.Get(usagePrefix + name)
	if err == nil {
		err = json.Unmarshal(e.Value, &u)
	}
	if err != nil && err != ErrMissing {
		t.Fatal(err)
	}
	return u
}

// TestNothingIsLost: whenever the power goes, what is stored is within 1 % of what has moved on
// that day, or a MiB, also while the disk is slow and a user moves as much as is let through.
func TestNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &faulty{Store: openBolt(t, filepath.Join(t.TempDir(), "users.db")), takes: 50 * time.Millisecond}
		s, err := OpenStore(nil, f)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		mustAdd(t, s, User{Name: "alice"})
		var moved atomic.Int64
		tn, _ := live(t, s, "alice")
		for range 4 {
			go func() {
				for tn.Pass(false, 16<<10) == nil {
					moved.Add(16 << 10)
					time.Sleep(100 * time.Microsecond) // 600 MiB a second in all
				}
			}()
		}
		for range 300 {
			time.Sleep(33 * time.Millisecond)
			stored, have := storedUsage(t, f, "alice"), moved.Load()
			if lost := have - stored.Today; lost > max(have/100, 1<<20) {
				t.Fatalf("%d of %d would be lost", lost, have)
			}
		}
		if moved.Load() < 64<<20 {
			t.Errorf("no more than %d moved", moved.Load())
		}
		tn.cancel()
		synctest.Wait()
		// What moves little is stored once a second.
		before, was := f.puts.Load(), storedUsage(t, f, "alice")
		tn, _ = live(t, s, "alice")
		for range 1000 {
			_ = tn.Pass(true, 10)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		if n := f.puts.Load() - before; n > 15 {
			t.Errorf("stored %d times in 10 s", n)
		}
		if now := storedUsage(t, f, "alice"); now.Up-was.Up < 10000 || now.Today != now.Up+now.Down {
			t.Errorf("stored %+v after %+v", now, was)
		}
	})
}

// TestStoreFails: while usage can't be stored, it is told, tunnels run on, and nothing is forgotten.
func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &faulty{Store: openBolt(t, filepath.Join(t.TempDir(), "users.db"))}
		told := make(chan error, 100)
		s, err := Open([]User{{Name: "alice"}}, Options{Store: f, Failed: func(err error) { told <- err }})
		if err != nil {
			t.Fatal(err)
		}
		f.fails.Store(true)
		tn, _ := live(t, s, "alice")
		for range 100 {
			if err := tn.Pass(true, 1<<20); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if err := <-told; !strings.Contains(err.Error(), "full") {
			t.Error(err)
		}
		f.fails.Store(false)
		time.Sleep(3 * time.Second)
		if u := storedUsage(t, f, "alice"); u.Up != 100<<20 {
			t.Errorf("stored %+v", u)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestUsageOfSeveral: what another egress stores of a user is added, here and there.
func TestUsageOfSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openBolt(t, filepath.Join(t.TempDir(), "users.db"))
		s, err := OpenStore(nil, b)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		mustAdd(t, s, User{Name: "alice"})
		tn, _ := live(t, s, "alice")
		_ = tn.Pass(true, 1000)
		time.Sleep(2 * time.Second)
		e, err := b.Get(usagePrefix + "alice")
		if err != nil {
			t.Fatal(err)
		}
		u := storedUsage(t, b, "alice")
		u = u.plus(Usage{}, Usage{Up: 500, Today: 500, Month: 500, Date: u.Date})
		value, _ := json.Marshal(u)
		if _, err := b.Put(e.Key, value, e.Revision); err != nil {
			t.Fatal(err)
		}
		_ = tn.Pass(false, 7)
		time.Sleep(2 * time.Second)
		want := Usage{Up: 1500, Down: 7, Today: 1507, Month: 1507, Date: u.Date}
		if got := storedUsage(t, b, "alice"); got != want {
			t.Errorf("stored %+v", got)
		}
		if got := s.List()[0].Usage; got != want {
			t.Errorf("known %+v", got)
		}
	})
}

func TestUsageAt(t *testing.T) {
	u := Usage{Up: 1, Down: 2, Today: 3, Month: 4, Date: "2027-01-31"}
	for date, want := range map[string]Usage{
		"2027-01-31": u,
		"2027-01-30": {1, 2, 0, 4, "2027-01-30"},
		"2027-02-01": {1, 2, 0, 0, "2027-02-01"},
		"2028-01-31": {1, 2, 0, 0, "2028-01-31"},
	} {
		if got := u.at(date); got != want {
			t.Errorf("%s: %+v", date, got)
		}
	}
	if got := (Usage{}).at("2027-01-31"); got.Date != "2027-01-31" {
		t.Errorf("%+v", got)
	}
}
