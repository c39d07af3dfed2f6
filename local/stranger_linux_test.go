package local

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/byway-proxy/byway/internal/testnet"
)

// nobody is a user that this process is not.
const nobody = 65534

// strangerSocket names, in the environment, the socket at which TestStranger connects.
const strangerSocket = "BYWAY_STRANGER_SOCKET"

// TestStranger is the program of another user: it asks at a socket for a tunnel, and
// prints the answer.
func TestStranger(t *testing.T) {
	path := os.Getenv(strangerSocket)
	if path == "" {
		t.Skip("is run by TestSocketOfStranger")
	}
	fmt.Printf("uid=%d\n", os.Geteuid())
	c, err := net.Dial("unix", path)
	if err != nil {
		fmt.Printf("error=%v\n", err)
		return
	}
	defer c.Close()
	_, _ = io.WriteString(c, socksRequest)
	got := make([]byte, 12)
	n, _ := io.ReadFull(c, got)
	fmt.Printf("answer=%x\n", got[:n])
}

// TestSocketOfStranger has another user connect to a socket, by a process of its own.
func TestSocketOfStranger(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("needs root, for a process of another user")
		}
		t.Skip("needs root, for a process of another user")
	}
	const (
		granted = "answer=050005000001000000000000"
		unheard = "answer="
		noEntry = "error=dial unix PATH: connect: permission denied"
	)
	for more, want := range map[string]string{
		"":                                       noEntry,
		fmt.Sprintf("allow_uids = [%d]", nobody): noEntry, // the mode stays the owner's
		"mode = \"0666\"\nallow_uids = [0]":      unheard,
		fmt.Sprintf("mode = \"0666\"\nallow_uids = [%d]", nobody-1):     unheard,
		fmt.Sprintf("mode = \"0666\"\nallow_uids = [%d]", nobody):       granted,
		fmt.Sprintf("mode = \"0666\"\nallow_uids = [1000, %d]", nobody): granted,
		"mode = \"0666\"\nopen = true":                                  granted,
	} {
		dir := t.TempDir()
		for _, d := range []string{dir, filepath.Dir(dir)} {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, "x.sock")
		hop := socksServer(t, echo(t))
		base := testnet.NoDial(t)
		if want == granted {
			base = testnet.Only(t, &net.Dialer{}, hop)
		}
		serve(t, atSocket(hop, path, more), base)
		out := asNobody(t, path)
		for _, line := range []string{"uid=" + strconv.Itoa(nobody), strings.Replace(want, "PATH", path, 1)} {
			if !bytes.Contains(out, []byte(line+"\n")) {
				t.Errorf("%q: %q is not in what the stranger says: %s", more, line, out)
			}
		}
	}
}

// asNobody runs TestStranger as nobody, who may not pass the folders of the test
// binary, and need not to run it again.
func asNobody(t *testing.T, socket string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestStranger$")
	cmd.Dir = "/"
	// With the race detector it would else wait for a second at its end.
	cmd.Env = []string{strangerSocket + "=" + socket, "GORACE=atexit_sleep_ms=10"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return out
}
