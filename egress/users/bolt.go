package users

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// A Bolt is a [Store] in one file, which one process at a time has open.
type Bolt struct {
	db *bbolt.DB

	writing sync.Mutex // held over changes and their news, so that these come in order

	mu       sync.Mutex
	queue    []*change
	watchers map[*watcher]struct{}
}

var bucket = []byte("kv") // key to revision (8 bytes, the highest first) and value

// ErrInUse is the error of a file that another process has open.
var ErrInUse = errors.New("another process has it open")

// OpenBolt opens the file at path, and makes it, with the last folder of the path, if it
// is not there. Nobody else can read it.
func OpenBolt(path string) (*Bolt, error) {
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		err = ErrInUse
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	return &Bolt{db: db, watchers: make(map[*watcher]struct{})}, nil
}

// Get implements [Store].
func (b *Bolt) Get(key string) (e Entry, err error) {
	err = b.db.View(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucket).Get([]byte(key))
		if v == nil {
			return ErrMissing
		}
		e = entry([]byte(key), v)
		return nil
	})
	return e, err
}

// List implements [Store].
func (b *Bolt) List(prefix string) (all []Entry, err error) {
	err = b.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucket).Cursor()
		for k, v := c.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
			all = append(all, entry(k, v))
		}
		return nil
	})
	return all, err
}

// entry copies what bbolt owns.
func entry(k, v []byte) Entry {
	return Entry{Key: string(k), Value: bytes.Clone(v[8:]), Revision: binary.BigEndian.Uint64(v)}
}

// Put implements [Store]. Several at a time go to disk together.
func (b *Bolt) Put(key string, value []byte, revision uint64) (uint64, error) {
	if value == nil {
		value = []byte{} // nil is for what was deleted
	}
	return b.change(key, bytes.Clone(value), revision)
}

// Delete implements [Store].
func (b *Bolt) Delete(key string, revision uint64) error {
	_, err := b.change(key, nil, revision)
	return err
}

// A change is one that waits for its turn.
type change struct {
	Entry // Revision is the one it is based on
	done  bool
	now   uint64
	err   error
}

// change makes a change, together with all others that wait: to be on disk takes as long for many.
func (b *Bolt) change(key string, value []byte, revision uint64) (uint64, error) {
	c := &change{Entry: Entry{key, value, revision}}
	b.mu.Lock()
	b.queue = append(b.queue, c)
	b.mu.Unlock()
	b.writing.Lock()
	defer b.writing.Unlock()
	if c.done {
		return c.now, c.err
	}
	b.mu.Lock()
	all := b.queue
	b.queue = nil
	b.mu.Unlock()
	err := b.db.Update(func(tx *bbolt.Tx) error {
		for _, c := range all {
			if err := c.make(tx.Bucket(bucket)); err != nil {
				return err
			}
		}
		return nil
	})
	for _, c := range all {
		c.done = true
		if err != nil {
			c.now, c.err = 0, err
		}
		if c.err == nil {
			b.tell(Entry{c.Key, c.Value, c.now})
		}
	}
	return c.now, c.err
}

// make makes c if it is based on what is there. The error is one of the store.
func (c *change) make(kv *bbolt.Bucket) (err error) {
	var last uint64
	if v := kv.Get([]byte(c.Key)); v != nil {
		last = binary.BigEndian.Uint64(v)
	}
	if last != c.Revision {
		c.err = ErrConflict
		return nil
	}
	if c.now, err = kv.NextSequence(); err != nil {
		return err
	}
	if c.Value == nil {
		return kv.Delete([]byte(c.Key))
	}
	return kv.Put([]byte(c.Key), append(binary.BigEndian.AppendUint64(nil, c.now), c.Value...))
}

// tell is called in the order of the changes.
func (b *Bolt) tell(e Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for w := range b.watchers {
		if strings.HasPrefix(e.Key, w.prefix) {
			w.add(Entry{e.Key, bytes.Clone(e.Value), e.Revision})
		}
	}
}

// Watch implements [Store].
func (b *Bolt) Watch(ctx context.Context, prefix string) <-chan Entry {
	w := &watcher{prefix: prefix, news: make(chan struct{}, 1)}
	b.mu.Lock()
	b.watchers[w] = struct{}{}
	b.mu.Unlock()
	out := make(chan Entry)
	go func() {
		defer close(out)
		defer func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			delete(b.watchers, w)
		}()
		w.forward(ctx, out)
	}()
	return out
}

// Close closes the file.
func (b *Bolt) Close() error { return b.db.Close() }

// watcher queues what is to be told.
type watcher struct {
	prefix string
	news   chan struct{}

	mu    sync.Mutex
	queue []Entry
}

func (w *watcher) add(e Entry) {
	w.mu.Lock()
	w.queue = append(w.queue, e)
	w.mu.Unlock()
	select {
	case w.news <- struct{}{}:
	default:
	}
}

func (w *watcher) forward(ctx context.Context, out chan<- Entry) {
	for {
		select {
		case <-w.news:
		case <-ctx.Done():
			return
		}
		w.mu.Lock()
		queue := w.queue
		w.queue = nil
		w.mu.Unlock()
		for _, e := range queue {
			select {
			case out <- e:
			case <-ctx.Done():
				return
			}
		}
	}
}
