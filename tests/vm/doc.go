// Package vm boots systemd as PID 1 and runs the installed gateway under it, as a site's box does.
//
// It needs no virtual machine: new namespaces, over an overlay of this machine's own root that ends with the test. What a
// unit promises is enforced there as on a real machine (user, file system, system calls, devices, watchdog, sockets,
// credentials), but for udev and, where the machine's controllers are cgroup v1, the memory and task limits. The machine is
// not disturbed: every mount is private, the network is an empty one, the process tree ends with its PID 1, and the one
// cgroup made is removed.
//
// The test binary plays three parts: the test, which starts the second in the namespaces; the stage, which mounts the
// system and becomes systemd; and the checks, which systemd runs as a service.
package vm
