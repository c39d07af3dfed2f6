//go:build peers

package bench

import (
	"bytes"
	"debug/buildinfo"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	startLimit = 20 * time.Second
	stopLimit  = 5 * time.Second
)

// find returns the path of a program, or "". Servers often are in folders that are
// not in a user's PATH.
func find(name string) string {
	for _, at := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if path, err := exec.LookPath(at); err == nil {
			return path
		}
	}
	return ""
}

// start runs a program until the test ends, in a process group of its own. The kernel
// ends it if the test dies.
func start(t testing.TB, argv []string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "GOST_LOGGER_LEVEL=error") // it logs each tunnel else
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// The kernel takes the end of this thread for the test's, and netlab ends threads.
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(stopLimit):
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // its children, too
		<-ended
		if out, _ := os.ReadFile(log.Name()); t.Failed() && len(out) > 0 {
			t.Logf("%s: %s", filepath.Base(argv[0]), out[:min(len(out), 2000)])
		}
	})
	return cmd
}

// listening waits until something takes connections at addr.
func listening(t testing.TB, dial func() (net.Conn, error), what string) {
	t.Helper()
	var err error
	for end := time.Now().Add(startLimit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var c net.Conn
		if c, err = dial(); err == nil {
			_ = c.Close()
			return
		}
	}
	t.Fatalf("%s does not listen: %v", what, err)
}

// usage is what process groups use, and have used.
type usage struct {
	cpu time.Duration // with children that have ended
	kib float64       // proportional set size
	fds int
}

// tick is the unit of /proc/PID/stat: 1/100 s on every Linux.
const tick = 10 * time.Millisecond

// used reads the usage of the groups that the processes lead.
func used(t testing.TB, leaders []*exec.Cmd) (u usage) {
	t.Helper()
	groups := make(map[string]bool)
	for _, c := range leaders {
		groups[strconv.Itoa(c.Process.Pid)] = true
	}
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range all {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from field 3, the state
		if !groups[f[2]] {
			continue
		}
		found++
		for _, ticks := range f[11:15] {
			n, err := strconv.Atoi(ticks)
			if err != nil {
				t.Fatal(file, err)
			}
			u.cpu += time.Duration(n) * tick
		}
		kib, fds, err := memory(filepath.Dir(file))
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
		u.kib, u.fds = u.kib+kib, u.fds+fds
	}
	if found < len(leaders) {
		t.Fatalf("%d of %d processes are gone", len(leaders)-found, len(leaders))
	}
	return u
}

func memory(proc string) (kib float64, fds int, err error) {
	rollup, err := os.ReadFile(proc + "/smaps_rollup")
	if err != nil {
		return 0, 0, err
	}
	_, rest, ok := strings.Cut(string(rollup), "\nPss:")
	if !ok {
		return 0, 0, fmt.Errorf("%s/smaps_rollup tells no Pss", proc)
	}
	if kib, err = strconv.ParseFloat(strings.Fields(rest)[0], 64); err != nil {
		return 0, 0, err
	}
	open, err := os.ReadDir(proc + "/fd")
	return kib, len(open), err
}

// version returns what a program says of itself, if it is Go's, or its package does.
func version(path string) string {
	if info, err := buildinfo.ReadFile(path); err == nil && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	out, err := exec.Command("dpkg-query", "-S", path).Output()
	if name, _, ok := strings.Cut(string(out), ":"); err == nil && ok {
		if v, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", name).Output(); err == nil {
			return string(v)
		}
	}
	return "of a version that it does not tell"
}
