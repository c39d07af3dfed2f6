package users

import (
	"context"
	"errors"
)

// A Store keeps values by key, each with a revision. It is what a bucket of NATS
// JetStream's key-value store is, so that several egresses may share one later;
// [Bolt] is a file. All methods are safe for concurrent use, and values are the
// receiver's own.
type Store interface {
	// Get returns what is kept by key, or [ErrMissing].
	Get(key string) (Entry, error)

	// Put keeps value if revision is that of what is kept by key now, 0 for nothing, and
	// returns its new revision. It is on disk then. Otherwise it returns [ErrConflict].
	Put(key string, value []byte, revision uint64) (uint64, error)

	// Delete deletes what is kept by key under the same condition.
	Delete(key string, revision uint64) error

	// List returns all entries whose keys begin with prefix, by key.
	List(prefix string) ([]Entry, error)

	// Watch yields the changes to keys that begin with prefix, from now on and in their
	// order, until ctx ends; then the channel is closed. None is left out, however
	// slowly they are taken.
	Watch(ctx context.Context, prefix string) <-chan Entry

	Close() error
}

// An Entry is one key's value. Value is nil when it was deleted.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64 // greater with each change in the store
}

var (
	// ErrMissing is the error of a key by which nothing is kept.
	ErrMissing = errors.New("there is nothing by that key")

	// ErrConflict is the error of a change based on a revision that is no longer the last.
	ErrConflict = errors.New("it was changed meanwhile")
)
