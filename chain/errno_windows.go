package chain

import "syscall"

// native maps the numbers of Winsock to the names used everywhere else.
func native(e syscall.Errno) syscall.Errno {
	switch e {
	case 10061:
		return syscall.ECONNREFUSED
	case 10051:
		return syscall.ENETUNREACH
	case 10065:
		return syscall.EHOSTUNREACH
	case 10060:
		return syscall.ETIMEDOUT
	case 10054, 10053:
		return syscall.ECONNRESET
	case 10013:
		return syscall.EACCES
	case 10047:
		return syscall.EAFNOSUPPORT
	case 10045:
		return syscall.EOPNOTSUPP
	case 10024:
		return syscall.EMFILE
	}
	return e
}
