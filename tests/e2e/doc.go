// Package e2e shows what the relay promises from outside: the real binary, real clients, real peers.
//
// Each test starts a gateway of its own with package rig and stays on the loopback. What needs a program of the machine
// says so by package need, and skips by name where it is missing.
package e2e
