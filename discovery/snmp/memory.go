package snmp

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"github.com/gosnmp/gosnmp"
)

// knowledge is how an address wants to be asked.
type knowledge struct {
	way     int    // in Client.ways
	index   string // hrDeviceIndex of the printer; empty while it is not known
	fits    int    // variables that fit in one answer
	bulk    bool   // a GETBULK has been answered
	noBulk  bool   // and none ever is
	usm     *gosnmp.UsmSecurityParameters
	usmRead time.Time // when usm's engine time was right
}

// memory keeps the knowledge of the addresses used last.
type memory struct {
	mu    sync.Mutex
	limit int
	order *list.List // of *remembered, the last used first
	at    map[netip.Addr]*list.Element
}

type remembered struct {
	addr netip.Addr
	know knowledge
}

func newMemory(limit int) *memory {
	return &memory{limit: limit, order: list.New(), at: map[netip.Addr]*list.Element{}}
}

func (m *memory) get(addr netip.Addr) (knowledge, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.at[addr]
	if !ok {
		return knowledge{}, false
	}
	m.order.MoveToFront(e)
	return e.Value.(*remembered).know, true
}

func (m *memory) put(addr netip.Addr, know knowledge) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.at[addr]; ok {
		e.Value.(*remembered).know = know
		m.order.MoveToFront(e)
		return
	}
	m.at[addr] = m.order.PushFront(&remembered{addr, know})
	if m.order.Len() > m.limit {
		oldest := m.order.Back()
		delete(m.at, m.order.Remove(oldest).(*remembered).addr)
	}
}

func (m *memory) drop(addr netip.Addr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.at[addr]; ok {
		delete(m.at, m.order.Remove(e).(*remembered).addr)
	}
}
