//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
)

// sizes of what goes up and down in one exchange. They differ, and are more than
// the buffers of all hops together hold.
const (
	upSize   = 4<<20 + 4321
	downSize = 3<<20 + 1234
)

// payloads returns pseudo-random bytes to send up and down, the same in each run.
var payloads = sync.OnceValues(func() (up, down []byte) {
	var seed [32]byte
	copy(seed[:], "byway interop")
	r := rand.NewChaCha8(seed)
	up, down = make([]byte, upSize), make([]byte, downSize)
	_, _ = r.Read(up)
	_, _ = r.Read(down)
	return up, down
})

// readAll reads r to its end, which must come after exactly the bytes wanted.
func readAll(r io.Reader, want []byte) error {
	if err := readPart(r, want); err != nil {
		return err
	}
	switch n, err := io.Copy(io.Discard, r); {
	case n > 0:
		return fmt.Errorf("%d bytes beyond the %d sent", n, len(want))
	case err != nil:
		return fmt.Errorf("all %d bytes came, but not the end: %w", len(want), err)
	}
	return nil
}

// readPart reads as many bytes as are wanted, which must be the bytes wanted.
func readPart(r io.Reader, want []byte) error {
	buf := make([]byte, 64<<10)
	for at := 0; at < len(want); {
		n, err := r.Read(buf[:min(len(buf), len(want)-at)])
		if !bytes.Equal(buf[:n], want[at:at+n]) {
			return fmt.Errorf("other bytes than sent at offset %d", at+differ(buf[:n], want[at:at+n]))
		}
		at += n
		if err != nil && at < len(want) {
			return fmt.Errorf("after %d of %d bytes: %w", at, len(want), err)
		}
	}
	return nil
}

// differ returns the first index at which a and b, of one length, differ.
func differ(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}

// same tells where got is not want, or nil.
func same(got, want []byte) error {
	if bytes.Equal(got, want) {
		return nil
	}
	n := min(len(got), len(want))
	return fmt.Errorf("%d bytes for %d, the same up to offset %d", len(got), len(want), differ(got[:n], want[:n]))
}
