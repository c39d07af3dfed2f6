// Package leaks proves that byway sends no packet by another way than the one
// configured: its test runs the real command on a host whose only way out is hop 1,
// and whose default route and resolver lead to a recorder. Whatever is asked of
// byway, the recorder must see nothing.
//
// It needs Linux, root, /dev/net/tun and iproute2; elsewhere it is skipped, and with
// CI set in the environment that is a failure.
package leaks
