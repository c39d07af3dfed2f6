//go:build interop

package interop

import "syscall"

// childAttr puts a child into a group of its own, and has the kernel end it if
// the test dies without a chance to clean up, as at its time limit.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// killGroup ends the group that the child pid leads.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
