//go:build tools

// Package tools names the program that the tests run as a peer.
package tools

import _ "github.com/ipfs/kubo/cmd/ipfs"
