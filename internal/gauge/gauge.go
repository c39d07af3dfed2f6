// Package gauge measures how fast bytes move between a client and an egress, over a conn
// that leads to [Exit].
//
// The client's first byte says which way: 'd' has the egress send until the client has enough,
// and 'u' has it take pieces of 64 KiB up to one that begins with 1 (the others with 0), and
// answer with how many bytes these were, as eight bytes, big-endian.
package gauge

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// Exit is the address by which an egress of byway is asked, by those who hold a credential.
// No other proxy can know it (RFC 6761 §6.4).
const Exit = "gauge.byway.invalid:9"

// limit bounds a measurement at the egress, and answerLimit the wait for its count.
const (
	limit       = time.Minute
	answerLimit = 30 * time.Second
)

const piece = 64 << 10

// block returns a piece that nothing on the way could make smaller.
func block() []byte {
	b := make([]byte, piece)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // never fails
	b[0] = 0
	return b
}

// Answer serves one measurement, and closes conn.
func Answer(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(limit))
	var way [1]byte
	if _, err := io.ReadFull(conn, way[:]); err != nil {
		return
	}
	switch way[0] {
	case 'd':
		for b := block(); ; {
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
	case 'u':
		b, n := make([]byte, piece), uint64(0)
		for b[0] != 1 {
			if _, err := io.ReadFull(conn, b); err != nil {
				return
			}
			n += piece
		}
		_, _ = conn.Write(binary.BigEndian.AppendUint64(nil, n))
	}
}

// Down reads from conn for as long as during, and returns how many bytes a second came.
// conn is of no use afterwards.
func Down(ctx context.Context, conn net.Conn, during time.Duration) (perSecond float64, err error) {
	err = chain.Handshake(ctx, conn, during+answerLimit, func() error {
		if _, err := conn.Write([]byte{'d'}); err != nil {
			return err
		}
		b := make([]byte, piece)
		_, err := conn.Read(b) // what comes first has waited for the way there and back
		began, total := time.Now(), 0
		for err == nil && time.Since(began) < during {
			var n int
			n, err = conn.Read(b)
			total += n
		}
		perSecond = rate(total, time.Since(began))
		return err
	})
	return perSecond, err
}

// Up writes to conn for as long as during, and returns how many bytes a second arrived.
// conn is of no use afterwards.
func Up(ctx context.Context, conn net.Conn, during time.Duration) (perSecond float64, err error) {
	err = chain.Handshake(ctx, conn, during+answerLimit, func() error {
		if _, err := conn.Write([]byte{'u'}); err != nil {
			return err
		}
		b, began, total := block(), time.Now(), 0
		for b[0] == 0 {
			if time.Since(began) >= during {
				b[0] = 1
			}
			n, err := conn.Write(b)
			if total += n; err != nil {
				return err
			}
		}
		var count [8]byte
		if _, err := io.ReadFull(conn, count[:]); err != nil {
			return err
		}
		perSecond = rate(total, time.Since(began))              // what was under way has arrived
		if binary.BigEndian.Uint64(count[:]) != uint64(total) { //nolint:gosec // not negative
			return errors.New("bytes were lost on the way")
		}
		return nil
	})
	return perSecond, err
}

func rate(n int, took time.Duration) float64 {
	if took <= 0 {
		return 0
	}
	return float64(n) / took.Seconds()
}
