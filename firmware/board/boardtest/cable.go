package boardtest

import (
	"net"
	"sync"
)

// Cable is a serial line with the room that a UART's driver has, and which can
// be cut.
type Cable struct {
	Host, Board net.Conn
	inner       [2]net.Conn
	wg          sync.WaitGroup

	mu    sync.Mutex
	quota int // bytes to the board until the cut; -1 for never
}

// NewCable lays one that is cut after so many bytes to the board; negative for
// never.
func NewCable(quota int) *Cable {
	c := &Cable{quota: quota}
	c.Host, c.inner[0] = net.Pipe()
	c.Board, c.inner[1] = net.Pipe()
	c.carry(c.inner[0], c.inner[1], true)
	c.carry(c.inner[1], c.inner[0], false)
	return c
}

func (c *Cable) carry(from, to net.Conn, counted bool) {
	queue := make(chan []byte, 4096)
	c.wg.Go(func() {
		defer close(queue)
		for {
			p := make([]byte, 4096)
			n, err := from.Read(p)
			if p = p[:n]; counted && n > 0 && c.spend(n) {
				c.cut()
				return
			}
			if n > 0 {
				queue <- p
			}
			if err != nil {
				return
			}
		}
	})
	c.wg.Go(func() {
		for p := range queue {
			_, _ = to.Write(p)
		}
		_ = to.Close()
	})
}

func (c *Cable) spend(n int) (over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quota < 0 {
		return false
	}
	c.quota = max(0, c.quota-n)
	return c.quota == 0
}

func (c *Cable) cut() {
	for _, e := range c.inner {
		_ = e.Close()
	}
}

// Close pulls the cable out at both ends and waits until nothing moves.
func (c *Cable) Close() {
	c.cut()
	_ = c.Host.Close()
	_ = c.Board.Close()
	c.wg.Wait()
}
