package mockbus

import (
	"encoding/binary"
	"io"
	"net"
	"syscall"
)

// client is one open descriptor of the node, in whatever program. The preload library sends each of its ioctls as three words (command,
// request, argument) and then lets its memory be read and written, in as many steps as wanted, until it is told the result.
type client struct {
	d    *Dev
	c    net.Conn
	done []*urb // to be reaped; guarded by d.mu
}

// The commands of umockdev's private protocol (ioctl_client of its version 0.17).
const (
	cmdIoctl = 1
	cmdDone  = 3
	cmdRead  = 5
	cmdWrite = 6
)

// accept ends with the socket.
func (d *Dev) accept() {
	defer d.work.Done()
	for {
		c, err := d.socket.Accept()
		if err != nil {
			return
		}
		cl := &client{d: d, c: c}
		d.mu.Lock()
		d.clients[cl] = true
		d.mu.Unlock()
		go cl.serve() // ends when the program closes the descriptor
	}
}

func (cl *client) serve() {
	defer cl.close()
	var message [24]byte
	for {
		if _, err := io.ReadFull(cl.c, message[:]); err != nil {
			return
		}
		command, request, argument := binary.LittleEndian.Uint64(message[0:]), uint32(binary.LittleEndian.Uint64(message[8:])), binary.LittleEndian.Uint64(message[16:])
		result, errno := 0, syscall.EINVAL // of read and write, which usbfs does not have
		cl.d.serves(1)
		if command == cmdIoctl {
			result, errno = cl.ioctl(request, argument)
		}
		if errno != 0 {
			cl.send(cmdDone, ^uint64(0), uint64(errno))
		} else {
			cl.send(cmdDone, uint64(result), 0)
		}
		cl.d.serves(-1)
	}
}

func (d *Dev) serves(more int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.serving += more
}

// close is close(2) of the descriptor.
func (cl *client) close() {
	d := cl.d
	cl.c.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.clients, cl)
	for _, queue := range d.queues {
		for _, u := range queue {
			if u.cl == cl {
				u.cancel()
			}
		}
	}
	for iface, owner := range d.claimed {
		if owner == cl {
			delete(d.claimed, iface)
			d.linkDriver(iface)
		}
	}
	d.update()
	d.closeNode()
}

// send, peek and poke find out that the program has gone when serve reads again.
func (cl *client) send(command, a, b uint64) {
	message := binary.LittleEndian.AppendUint64(nil, command)
	message = binary.LittleEndian.AppendUint64(message, a)
	_, _ = cl.c.Write(binary.LittleEndian.AppendUint64(message, b))
}

// peek reads the program's memory.
func (cl *client) peek(address uint64, n int) []byte {
	b := make([]byte, n)
	if n > 0 {
		cl.send(cmdRead, address, uint64(n))
		_, _ = io.ReadFull(cl.c, b)
	}
	return b
}

// poke writes it.
func (cl *client) poke(address uint64, b []byte) {
	if len(b) > 0 {
		cl.send(cmdWrite, address, uint64(len(b)))
		_, _ = cl.c.Write(b)
	}
}

func (cl *client) peek32(address uint64) uint32 {
	return binary.LittleEndian.Uint32(cl.peek(address, 4))
}

func (cl *client) poke32(address uint64, n uint32) {
	cl.poke(address, binary.LittleEndian.AppendUint32(nil, n))
}
