package main

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestWatch: a change is told once, when it is over, whatever is done to the file.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	file, other := filepath.Join(dir, "byway.toml"), filepath.Join(dir, "other")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "a")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		files := make(chan []string)
		var told atomic.Int64
		go watch(ctx, files, func() { told.Add(1) })
		files <- []string{file}
		want := func(n int64, what string) {
			t.Helper()
			time.Sleep(10 * look)
			synctest.Wait()
			if told.Load() != n {
				t.Errorf("%s: told %d times, not %d", what, told.Load(), n)
			}
		}
		want(0, "nothing")
		write(file, "longer")
		want(1, "written")
		for i := range 9 {
			write(file, string(make([]byte, i)))
			time.Sleep(look / 2)
		}
		want(2, "written on and on")
		write(other, "replaced by another")
		if err := os.Rename(other, file); err != nil {
			t.Fatal(err)
		}
		want(3, "replaced")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		want(4, "removed")
		files <- []string{file} // the same: what is there now is known
		write(file, "again")
		want(5, "there again")
		files <- nil
		write(file, "nobody looks")
		want(5, "nothing to look at")
		cancel()
		synctest.Wait()
	})
}
