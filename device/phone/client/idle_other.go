//go:build !unix

package client

import "net"

// quiet cannot look here.
func quiet(net.Conn) bool { return true }
