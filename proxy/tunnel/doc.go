// Package tunnel moves the bytes of CONNECT tunnels and knows every tunnel that is open.
//
// Each direction is one goroutine that waits for its source to be readable holding neither buffer nor pipe, so an idle
// tunnel costs two descriptors and two small stacks. What is there is then moved: a little through a pooled buffer, more
// by splice(2) from kernel to kernel through a pipe of a bounded pool. The pool is our own because Go's takes a pipe for
// every waiting direction and asks for 1 MiB each, of which an unprivileged user gets 64 (fs.pipe-user-pages-soft).
//
// Each direction ends by itself: an end of stream is passed on as one, the other direction goes on. A tunnel is cut, with
// a Reason, when neither direction moved for its idle time, when one direction has ended and the other does not move,
// when a reader takes nothing, when its turn to move does not come, when its first bytes are refused, or by drain.
// Reading errors are passed on as a reset, so that neither side takes a broken transfer for a whole one.
package tunnel
