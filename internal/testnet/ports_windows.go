package testnet

import "syscall"

// sharesBound is for systems on which SO_REUSEADDR does not take a port from its owner.
const sharesBound = false

var closeSocket = syscall.Closesocket
