package egress

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// ECHKeys are the keys by which clients hide the name that they ask for (Encrypted Client
// Hello, RFC 9849). They are kept in a folder, a file for each in the form of RFC 9934, and
// made anew from time to time; clients that know an older one are served for echKept times that, and
// told the newest. It is safe for concurrent use.
type ECHKeys struct {
	dir, name string
	every     time.Duration
	now       func() time.Time

	mu   sync.Mutex
	keys []echKey // that to be told first, which is the newest for the name
}

// echKept is how many keys are kept.
const echKept = 12

// An echKey is one of them.
type echKey struct {
	made    time.Time
	config  []byte // an ECHConfig
	private []byte
}

func (k echKey) isFor(name string) bool { return bytes.HasSuffix(k.config, echTail(name)) }

// OpenECH returns the keys kept in dir for the public name, which those on the way see; without any
// that is younger than every it makes one.
func OpenECH(dir, name string, every time.Duration) (*ECHKeys, error) {
	return openECH(dir, name, every, time.Now)
}

func openECH(dir, name string, every time.Duration, now func() time.Time) (*ECHKeys, error) {
	if name == "" || len(name) > 255 || every <= 0 {
		return nil, errors.New("egress: ECH wants a public name, and a time after which keys are made anew")
	}
	e := &ECHKeys{dir: dir, name: name, every: every, now: now}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		k, err := readECHKey(file)
		if err != nil {
			return nil, fmt.Errorf("%s is no key of ECH: %w; remove it", file, err)
		}
		e.keys = append(e.keys, k)
	}
	slices.SortFunc(e.keys, func(a, b echKey) int {
		if x, y := a.isFor(name), b.isFor(name); x != y {
			if x {
				return -1
			}
			return 1
		}
		return b.made.Compare(a.made)
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	return e, e.rotate()
}

// List returns the ECHConfigList to publish: that of the newest key.
func (e *ECHKeys) List() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return listOf(e.keys[0].config)
}

// Get is for [tls.Config.GetEncryptedClientHelloKeys].
func (e *ECHKeys) Get(*tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_ = e.rotate() // what cannot be kept is not used; the old ones are as good
	var all []tls.EncryptedClientHelloKey
	for i, k := range e.keys {
		all = append(all, tls.EncryptedClientHelloKey{Config: k.config, PrivateKey: k.private, SendAsRetry: i == 0})
	}
	return all, nil
}

// rotate makes a key if the newest is old, or for another name; mu is held.
func (e *ECHKeys) rotate() error {
	if len(e.keys) > 0 && e.now().Sub(e.keys[0].made) < e.every && e.keys[0].isFor(e.name) {
		return nil
	}
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	k := echKey{e.now().UTC().Truncate(time.Second), echConfig(e.freeID(), key.PublicKey().Bytes(), e.name), key.Bytes()}
	if err := k.write(e.file(k)); err != nil {
		return err
	}
	e.keys = slices.Insert(e.keys, 0, k)
	for len(e.keys) > echKept {
		last := len(e.keys) - 1
		_ = os.Remove(e.file(e.keys[last]))
		e.keys = e.keys[:last]
	}
	return nil
}

// freeID returns a number that none of the keys has.
func (e *ECHKeys) freeID() byte {
	var id [1]byte
	for {
		_, _ = rand.Read(id[:])
		if !slices.ContainsFunc(e.keys, func(k echKey) bool { return k.config[4] == id[0] }) {
			return id[0]
		}
	}
}

const echTime = "20060102T150405Z"

// file is named by the time and the key's number: two may be made in one second.
func (e *ECHKeys) file(k echKey) string {
	return filepath.Join(e.dir, fmt.Sprintf("%s-%02x.pem", k.made.Format(echTime), k.config[4]))
}

func (k echKey) write(file string) error {
	key, err := ecdh.X25519().NewPrivateKey(k.private)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "ECHCONFIG", Bytes: listOf(k.config)})...)
	// A file that is there in part would be none: it appears as a whole.
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

func readECHKey(file string) (k echKey, err error) {
	made, _, _ := strings.Cut(filepath.Base(file), "-")
	if k.made, err = time.Parse(echTime, made); err != nil {
		return k, errors.New("its name is no time")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return k, err
	}
	first, rest := pem.Decode(text)
	if first == nil {
		return k, errors.New("it is no PEM")
	}
	second, _ := pem.Decode(rest)
	if first.Type != "PRIVATE KEY" || second == nil || second.Type != "ECHCONFIG" {
		return k, errors.New("it has not the two parts of RFC 9934")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(first.Bytes)
	if err != nil {
		return k, err
	}
	key, ok := parsed.(*ecdh.PrivateKey)
	list := second.Bytes
	if !ok || len(list) < 2+echFixed || int(binary.BigEndian.Uint16(list)) != len(list)-2 || !bytes.Contains(list, key.PublicKey().Bytes()) {
		return k, errors.New("its parts do not belong together")
	}
	k.private, k.config = key.Bytes(), list[2:]
	return k, nil
}

// echFixed is the least length of an ECHConfig that we make.
const echFixed = 4 + 1 + 2 + 2 + 32 + 2 + 8 + 1 + 1

// echConfig encodes an ECHConfig (RFC 9849 §4) of DHKEM(X25519), HKDF-SHA256, and AES-128-GCM or
// ChaCha20-Poly1305.
func echConfig(id byte, public []byte, name string) []byte {
	b := []byte{id}
	b = binary.BigEndian.AppendUint16(b, 0x0020)
	b = binary.BigEndian.AppendUint16(b, uint16(len(public)))
	b = append(b, public...)
	b = append(b, 0, 8, 0, 1, 0, 1, 0, 1, 0, 3)
	b = append(b, echTail(name)...)
	head := binary.BigEndian.AppendUint16(nil, 0xfe0d)
	return append(binary.BigEndian.AppendUint16(head, uint16(len(b))), b...)
}

// echTail is the end of an ECHConfig: how long names may be without being told by the length, the
// public name, and no extensions.
func echTail(name string) []byte {
	b := append([]byte{0, byte(len(name))}, name...)
	return append(b, 0, 0)
}

func listOf(config []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(config))), config...)
}
