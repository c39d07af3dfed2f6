package users

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
)

func openBolt(t testing.TB, path string) *Bolt {
	t.Helper()
	b, err := OpenBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBolt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "users.db")
	b := openBolt(t, path)
	changes := b.Watch(t.Context(), "a/")
	r1, err := b.Put("a/x", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put("a/x", []byte("2"), 0); err != ErrConflict {
		t.Errorf("made twice: %v", err)
	}
	if _, err := b.Put("a/none", []byte("2"), 7); err != ErrConflict {
		t.Errorf("changed what is not there: %v", err)
	}
	r2, err := b.Put("a/x", []byte("2"), r1)
	if err != nil || r2 <= r1 {
		t.Fatal(r1, r2, err)
	}
	if err := b.Delete("a/x", r1); err != ErrConflict {
		t.Errorf("deleted by an old revision: %v", err)
	}
	if e, err := b.Get("a/x"); err != nil || string(e.Value) != "2" || e.Revision != r2 {
		t.Errorf("got %+v, %v", e, err)
	}
	for _, key := range []string{"b/x", "a/y", "a"} {
		if _, err := b.Put(key, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Delete("a/x", r2); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Get("a/x"); err != ErrMissing {
		t.Error(err)
	}
	if list, err := b.List("a/"); err != nil || len(list) != 1 || list[0].Key != "a/y" || list[0].Value == nil {
		t.Errorf("listed %+v, %v", list, err)
	}
	for i, want := range []string{"a/x=1", "a/x=2", "a/y=", "a/x deleted"} {
		e := <-changes
		got := e.Key + "=" + string(e.Value)
		if e.Value == nil {
			got = e.Key + " deleted"
		}
		if got != want {
			t.Errorf("change %d is %s, want %s", i, got, want)
		}
	}
	if _, err := OpenBolt(path); !errors.Is(err, ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = openBolt(t, path)
	defer b.Close()
	if r, err := b.Put("a/x", []byte("3"), 0); err != nil || r <= r2 {
		t.Errorf("revisions go back over a restart: %d after %d, %v", r, r2, err)
	}
}

// TestBoltAtOnce has many change the same and other keys: of those based on one revision exactly
// one passes, and a watcher sees all changes in the order of their revisions.
func TestBoltAtOnce(t *testing.T) {
	b := openBolt(t, filepath.Join(t.TempDir(), "users.db"))
	defer b.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changes := b.Watch(ctx, "")
	var wg sync.WaitGroup
	won := make(chan bool, 64)
	for i := range 64 {
		wg.Go(func() {
			_, err := b.Put("same", []byte(fmt.Sprint(i)), 0)
			won <- err == nil
			if _, err := b.Put(fmt.Sprint("own", i), []byte("x"), 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := 0
	for range 64 {
		if <-won {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d passed", n)
	}
	last := uint64(0)
	for range 65 {
		e := <-changes
		if e.Revision <= last {
			t.Errorf("revision %d after %d", e.Revision, last)
		}
		last = e.Revision
	}
}
