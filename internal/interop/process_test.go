//go:build interop

package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/byway-proxy/byway/internal/testnet"
)

const (
	startLimit = 20 * time.Second // for a server to come up
	stopLimit  = 10 * time.Second // for a child to end after SIGTERM
	runLimit   = 60 * time.Second // for a client to do its work
)

// process is a child that runs in the foreground until stop.
type process struct {
	cmd  *exec.Cmd
	out  output
	done chan struct{} // closed when it has ended
	err  error         // of Wait; read after done
}

// output keeps what a child writes, for failure messages.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// launch starts a program. The caller stops it.
func launch(path string, arg ...string) (*process, error) {
	p := &process{cmd: exec.Command(path, arg...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	// A command with the race detector would else wait for a second at its end.
	p.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=10")
	p.cmd.WaitDelay = time.Second // its children may hold the pipe
	p.cmd.SysProcAttr = childAttr()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// stop asks the child to end, and kills it with its own children if it does not.
// It returns the child's error.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopLimit):
		killGroup(p.cmd.Process.Pid)
		<-p.done
		return errors.Join(fmt.Errorf("did not end within %v of SIGTERM", stopLimit), p.err)
	}
	killGroup(p.cmd.Process.Pid) // stragglers, of dante for one
	return p.err
}

// listening waits until addr, which is reserved for the child, takes connections.
func (p *process) listening(addr string) error {
	return p.until(fmt.Sprintf("does not listen on %s", addr), func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// said waits until the child has written what re matches, and returns the match
// and its groups.
func (p *process) said(re *regexp.Regexp) (match []string, err error) {
	err = p.until(fmt.Sprintf("does not say %s", re), func() bool {
		match = re.FindStringSubmatch(p.out.String())
		return match != nil
	})
	return match, err
}

// until polls ok, as long as the child runs, for the start limit.
func (p *process) until(what string, ok func() bool) error {
	limit := time.After(startLimit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-p.done:
			if ok() {
				return nil
			}
			return fmt.Errorf("%s %s and has ended: %w: %s", p.cmd.Path, what, orStatus0(p.err), p.out.String())
		case <-limit:
			return fmt.Errorf("%s %s: %s", p.cmd.Path, what, p.out.String())
		case <-tick.C:
		}
	}
	return nil
}

func orStatus0(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// missing is the error of a peer that is not installed.
type missing struct{ program string }

func (m missing) Error() string { return m.program + " is not installed" }

// find returns the path of the first of the names that is installed. Servers often
// are in folders that are not in a user's PATH.
func find(names ...string) (string, error) {
	for _, name := range names {
		for _, path := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
			if found, err := exec.LookPath(path); err == nil {
				return found, nil
			}
		}
	}
	return "", missing{names[0]}
}

// need fails the test on an error. A program that is missing fails it in CI, and
// skips it elsewhere.
func need[T any](t *testing.T, v T, err error) T {
	t.Helper()
	var m missing
	switch {
	case errors.As(err, &m) && os.Getenv("CI") == "":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	return v
}

// must fails the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// reserved returns a loopback address for a server that is told its port, and the
// port. They are its own until all tests are done.
func reserved() (addr, port string, err error) {
	addr, release, err := testnet.Reserve()
	if err != nil {
		return "", "", err
	}
	lab.keep(release)
	_, port, err = net.SplitHostPort(addr)
	return addr, port, err
}

// result is what a client that ran to its end came to.
type result struct {
	stdout []byte
	stderr string
	code   int
}

// client runs a program to its end. Its environment says nothing of proxies, and
// its home is a folder of the test.
func client(t *testing.T, stdin []byte, env []string, name string, arg ...string) result {
	t.Helper()
	path, err := find(name)
	need(t, path, err)
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, arg...)
	home := t.TempDir()
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1"}, env...)
	cmd.Dir = home
	cmd.SysProcAttr = childAttr()
	cmd.Cancel = func() error { killGroup(cmd.Process.Pid); return os.ErrProcessDone }
	cmd.WaitDelay = time.Second
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		t.Fatalf("%s: %v", name, err)
	}
	if ctx.Err() != nil {
		t.Errorf("%s did not end within %v", name, runLimit)
	}
	return result{stdout.Bytes(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// runQuiet runs a program that prepares something.
func runQuiet(name string, arg ...string) error {
	path, err := find(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), runLimit)
	defer cancel()
	if out, err := exec.CommandContext(ctx, path, arg...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}
