package kafkacluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Brokers need their ports before they start, and again after they were killed, so that the system's choice (port 0)
// will not do. Each cluster takes a block of ports outside of the ranges from which systems choose (from 32768 on
// Linux, from 49152 elsewhere), and listens on the block's last port as long as it lives: two clusters never share one.
const (
	firstBlock = 20000
	lastBlock  = 32000
	blockSize  = 64
	guardPort  = blockSize - 1
	blockTries = 100
)

// takeBlock finds a block that is free, and holds it.
func (c *Cluster) takeBlock() error {
	var err error
	for range blockTries {
		c.port = firstBlock + rand.IntN((lastBlock-firstBlock)/blockSize)*blockSize
		if err = c.holdBlock(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("no free block of ports: %w", err)
}

// holdBlock takes the block that begins with c.port, if all ports that the cluster will use are free.
func (c *Cluster) holdBlock() error {
	guard, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", c.port+guardPort))
	if err != nil {
		return err
	}
	for _, at := range c.listening() {
		for _, address := range c.addresses(at) {
			probe, err := net.Listen("tcp", address)
			if err == nil {
				err = probe.Close()
			}
			if err != nil {
				return errors.Join(err, guard.Close())
			}
		}
	}
	c.guard = guard
	return nil
}
